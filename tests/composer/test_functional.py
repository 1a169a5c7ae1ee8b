"""Composer's functional forms: as Composer where it is right, and right where it is not."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

import batchmix as bm
from batchmix.adapters.composer_functional import CutMixBox, cutmix_batch, mixup_batch

with warnings.catch_warnings():
    # what Composer imports is older than what it runs with
    warnings.simplefilter("ignore")
    import composer.functional as theirs

B, H, W = 9, 6, 11
X = torch.tensor(np.random.default_rng(0).normal(size=(B, 3, H, W)), dtype=torch.float32)
Y = torch.arange(B)
PERM = torch.tensor([3, 1, 0, 2, 8, 7, 4, 5, 6])


@pytest.mark.parametrize("mixing", [0.0, 0.25, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("x", [X, X[:, 0, 0], X[:, 0], X[..., None]], ids=["4", "2", "3", "5"])
def test_mixup_is_composers(x, mixing):
    for y in (Y, torch.eye(B), torch.rand(B, 4, 4)):
        one = theirs.mixup_batch(x, y, mixing=mixing, indices=PERM)
        two = mixup_batch(x, y, mixing=mixing, indices=PERM)
        torch.testing.assert_close(two[0], one[0])
        assert torch.equal(two[1], one[1])
        assert two[2] == one[2] == mixing


@pytest.mark.parametrize("bbox", [(1, 2, 5, 9), (0, 0, 6, 11), (2, 3, 2, 7)])
@pytest.mark.parametrize("x", [X, (X * 50).to(torch.uint8), X.half()], ids=["f32", "u8", "f16"])
def test_cutmix_is_composers(x, bbox):
    one = theirs.cutmix_batch(x, Y, bbox=bbox, indices=PERM)
    two = cutmix_batch(x, Y, bbox=bbox, indices=PERM)
    assert torch.equal(two[0], one[0])
    assert torch.equal(two[1], one[1])
    assert two[2] == pytest.approx(one[2], abs=1e-12)
    assert two[3] == tuple(one[3]) == bbox
    assert [type(v) for v in two[2:]] == [float, tuple]


def test_the_weights_are_whose_they_say():
    ones = torch.eye(B)[:, :, None, None].expand(B, B, H, W).contiguous()
    x, y_perm, mixing = mixup_batch(ones, Y, alpha=1.0, key=bm.Key(3))
    others = torch.arange(B) != y_perm
    share = x.mean((2, 3))[others, y_perm[others]]
    torch.testing.assert_close(share, torch.full_like(share, mixing))  # the partner's
    x, y_perm, area, (x1, y1, x2, y2) = cutmix_batch(ones, Y, key=bm.Key(3))
    others = torch.arange(B) != y_perm
    share = x.mean((2, 3))[others, Y[others]]
    torch.testing.assert_close(share, torch.full_like(share, area))  # the row's own
    assert area == 1 - (x2 - x1) * (y2 - y1) / (H * W)
    assert 0 < area < 1


def test_draws_follow_torchs_generator_or_a_key():
    torch.manual_seed(0)
    first = [mixup_batch(X, Y)[0], cutmix_batch(X, Y)[0], mixup_batch(X, Y)[0]]
    torch.manual_seed(0)
    np.random.seed(7)
    again = [mixup_batch(X, Y)[0], cutmix_batch(X, Y)[0], mixup_batch(X, Y)[0]]
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], first[2])
    one, two = (cutmix_batch(X, Y, key=bm.Key(0, 1, 2)) for _ in range(2))
    assert torch.equal(one[0], two[0])
    assert one[3] == two[3]


def test_mixing_is_at_most_one_half():
    drawn = [mixup_batch(X, Y, alpha=1.0)[2] for _ in range(200)]
    assert max(drawn) <= 0.5
    assert 0.2 < np.mean(drawn) < 0.3


def boxes(count=4000, size=(64, 64), **options):
    """Corners [count, 4] of boxes, one plan for all."""
    policy = CutMixBox(**options)
    plan = bm.draw(policy, bm.Key(0), count, dict(zip("HW", size)))
    return plan.box


def test_length_is_a_side():
    """Composer 0.32.1 takes the rest: length 0.5 cuts up to three quarters of the area."""
    side = boxes(length=0.5, size=(64, 40))
    side = side[..., 1] - side[..., 0]
    assert side.max(0).tolist() == [32, 20]
    x = torch.zeros(4, 3, 64, 40)
    areas = [cutmix_batch(x, Y[:4], length=0.5)[2] for _ in range(100)]
    assert min(areas) >= 0.75
    assert min(theirs.cutmix_batch(x, Y[:4], length=0.5)[2] for _ in range(100)) < 0.5
    assert cutmix_batch(x, Y[:4], length=0.0)[2] == 1
    assert cutmix_batch(x, Y[:4], length=1.0, uniform_sampling=True)[2] < 1


@pytest.mark.parametrize("options", [{"length": 0.3}, {"length": 0.25}, {"alpha": 1.0}])
def test_uniform_sampling_is_uniform(options):
    covered = np.zeros((2, 16, 20))
    for uniform in (False, True):
        found = boxes(20000, (16, 20), uniform_sampling=uniform, **options)
        for (top, bottom), (left, right) in found:
            covered[int(uniform), top:bottom, left:right] += 1
    centred, even = covered / 20000
    assert centred.max() > 1.2 * centred.min()
    assert abs(even / even.mean() - 1).max() < 0.12
    if "length" in options:  # each pixel is in `side` of `size + side` positions, on both axes
        high, wide = int(16 * options["length"]), int(20 * options["length"])
        expected = high / (16 + high) * wide / (20 + wide)
        assert even.mean() == pytest.approx(expected, rel=0.05)


def test_without_options_a_box_is_cutmixs():
    one = boxes(64, alpha=0.7)
    plan = bm.draw(bm.policies.CutMix(0.7), bm.Key(0), 64, {"H": 64, "W": 64})
    assert np.array_equal(one, plan.box)


def test_alpha_zero_mixes_nothing():
    """Composer's CutMix then pastes the largest box there is."""
    for mixed in (mixup_batch(X, Y, alpha=0), cutmix_batch(X, Y, alpha=0)):
        assert torch.equal(mixed[0], X)
    assert mixup_batch(X, Y, alpha=0)[2] == 0
    assert cutmix_batch(X, Y, alpha=0)[2:] == (1, (0, 0, 0, 0))
    given = cutmix_batch(X, Y, alpha=0, bbox=(0, 0, 2, 2), indices=PERM)
    assert torch.equal(given[0][:, :, :2, :2], X[PERM][:, :, :2, :2])


def test_a_video_is_cut_in_space():
    """Composer takes time and height for height and width."""
    video = torch.eye(B)[:, :, None, None, None].expand(B, B, 4, H, W).contiguous()
    x, y_perm, area, (x1, y1, x2, y2) = cutmix_batch(video, Y, bbox=(1, 2, 4, 7), indices=PERM)
    assert torch.equal(x[0, y_perm[0], :, x1:x2, y1:y2], torch.ones(4, 3, 5))
    torch.testing.assert_close(x.mean((2, 3, 4)).diagonal()[0], torch.tensor(area))


def test_uint8_stays():
    x = torch.tensor([[0, 255], [255, 3]], dtype=torch.uint8)
    mixed = mixup_batch(x, Y[:2], mixing=0.5, indices=torch.tensor([1, 0]))[0]
    assert mixed.tolist() == [[128, 129], [128, 129]]
    assert mixed.dtype == torch.uint8


@pytest.mark.parametrize("rows", [0, 1])
def test_batches_of_none_and_one(rows):
    x, y = X[:rows], Y[:rows]
    assert torch.equal(mixup_batch(x, y)[0], x)
    mixed = cutmix_batch(x, y)
    assert torch.equal(mixed[0], x)
    assert torch.equal(mixed[1], y)


def test_inputs_are_not_written_to():
    x = X.clone()
    mixup_batch(x, Y)
    cutmix_batch(x, Y)
    assert torch.equal(x, X)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cutmix_batch(X, Y, length=0.5, bbox=(0, 0, 1, 1)), "Each of them"),
        (lambda: cutmix_batch(X, Y, length=1.5), "share of a side"),
        (lambda: cutmix_batch(X, Y, bbox=(0, 0, 99, 1)), "box"),
        (lambda: cutmix_batch(X[:, 0, 0], Y), "last two axes"),
        (lambda: mixup_batch(X, Y, mixing=1.5), "opacity"),
        (lambda: mixup_batch(X, Y, alpha=-1), "alpha"),
        (lambda: mixup_batch(X, Y, indices=PERM + 1), "partner"),
        (lambda: mixup_batch(Y[:, None], Y), "dtype"),
    ],
)
def test_what_does_not_fit_is_refused(call, words):
    with pytest.raises(bm.MixError, match=words):
        call()


def test_composer_is_not_needed():
    code = (
        "import sys; sys.modules['composer'] = None\n"
        "import torch\n"
        "from batchmix.adapters.composer_functional import cutmix_batch, mixup_batch\n"
        "cutmix_batch(torch.zeros(2, 3, 4, 4), torch.arange(2))\n"
        "print(len(mixup_batch(torch.zeros(2, 3), torch.arange(2))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "3\n", done.stderr
