"""SaliencyMix: CutMix's box, around the peak of each partner's spectral residual."""

import hashlib
import pickle

import numpy as np
import pytest
from scipy import ndimage, stats

import batchmix as bm
import oracle
from batchmix.pairing import Other, Reverse, Roll
from batchmix.policies import CutMix, PerBatch, Request, SaliencyMix, Sometimes, Switch, _saliency


def images(rows=6, size=(40, 56), seed=0):
    """Fine texture with one coarse spot in each; and where the spots are."""
    rng = np.random.default_rng(seed)
    x = rng.integers(90, 110, (rows, *size))
    spots = np.stack([rng.integers(4, n - 4, rows) for n in size], 1)
    for row, (top, left) in zip(x, spots):
        row[top - 3 : top + 3, left - 3 : left + 3] = 250
    return x.astype(np.uint8), spots


def draw(x, policy=SaliencyMix(), step=0, **more):  # noqa: B008  an immutable value
    size = dict(zip("HW", x.shape[1:3]))
    return bm.draw(policy, bm.Key(3, 0, step), len(x), size, hints={"image": x}, **more)


def published(image):
    """The spectral residual of one small grey image that fades at its sides, word by word."""
    faded = np.ones(image.shape)
    for axis, n in enumerate(image.shape):
        for k in range(n // 8):
            share = np.sin(np.pi / 2 * (k + 0.5) / (n // 8)) ** 2
            for place in (k, n - 1 - k):
                faded[(slice(None),) * axis + (place,)] *= share
    spectrum = np.fft.fft2((image - image.mean()) * faded)
    amplitude, phase = np.abs(spectrum), np.angle(spectrum)
    log = np.log(np.maximum(amplitude, 1e-6 * amplitude.max()))
    residual = log - ndimage.uniform_filter(log, 3, mode="wrap")
    found = np.abs(np.fft.ifft2(np.exp(residual + 1j * phase))) ** 2
    for axis, n in enumerate(found.shape):
        found = np.apply_along_axis(smoothed, axis, found, 2.5 / 64 * n)
    return found


def smoothed(line, sigma):
    places = np.arange(len(line))
    weights = [np.exp(-((places - k) ** 2) / (2 * sigma**2)) for k in places]
    return np.array([np.sum(w * line) / np.sum(w) for w in weights])


def coarse(image):
    """Means over blocks, of which a side has at most 32."""
    height, width = (-(-n // 32) for n in image.shape[:2])
    tops, lefts = range(0, image.shape[0], height), range(0, image.shape[1], width)
    grey = image.astype(float).reshape(*image.shape[:2], -1).mean(-1)
    blocks = [[grey[t : t + height, k : k + width].mean() for k in lefts] for t in tops]
    return np.array(blocks), (height, width)


@pytest.mark.parametrize(
    "size", [(32, 32), (40, 56), (7, 70), (97, 33), (1, 64), (5, 1), (224, 64)]
)
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_the_peak_is_that_of_the_published_formula(size, channels):
    x = np.random.default_rng(1).integers(0, 256, (4, *size, *channels)).astype(np.uint8)
    x[:, : size[0] // 2] //= 3
    centre, some = _saliency.peaks(x, np.arange(4))
    for row in range(4):
        blocks, cells = coarse(x[row])
        want = published(blocks)
        assert bool(some[row]) == (np.ptp(want) > 1e-6 * want.max())
        peak = np.unravel_index(np.argmax(np.rint(want / want.max() * 1e6)), want.shape)
        for axis in range(2):
            block = range(size[axis])[peak[axis] * cells[axis] :][: cells[axis]]
            assert centre[row, axis] == (block.start + block.stop) // 2


def test_a_spot_is_found():
    x, spots = images(60)
    centre, some = _saliency.peaks(x, np.arange(60))
    assert some.all()
    assert (np.abs(centre - spots) <= 4).all(1).mean() > 0.9


def test_the_box_is_cutmix_around_the_partners_peak():
    x, _ = images(size=(40, 56))
    partner = np.array([1, 2, 3, 4, 5, 0], np.int32)
    size, rows = {"H": 40, "W": 56}, {"image": x}
    rng = np.random.RandomState(8)
    paste = SaliencyMix(1.0).sample(Request(rng, bm.Key(0), partner, size, None, rows, rows))
    lam = np.random.RandomState(8).random_sample(6)
    centre, _ = _saliency.peaks(x, partner)
    for row in range(6):
        for axis, n in enumerate((40, 56)):
            side = int(n * np.sqrt(1 - lam[row]))
            low = centre[row, axis] - side // 2
            assert paste.box[row, axis].tolist() == [max(low, 0), min(low + side, n)]


def test_pixels_and_labels_are_those_of_the_oracle():
    x, _ = images()
    plan = draw(x, pairing=Roll(1))
    np.testing.assert_array_equal(bm.mix(x, plan, "NHW"), oracle.mix(x, plan, "NHW"))
    np.testing.assert_allclose(plan.lam, oracle.lam(plan), atol=1e-6)
    assert set(plan.opacity.tolist()) <= {0, 1}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int16", "int64"])
def test_dtypes_and_memory_make_no_difference(dtype):
    x, _ = images()
    want = draw(x).box
    np.testing.assert_array_equal(draw(x.astype(dtype)).box, want)
    np.testing.assert_array_equal(draw(np.asfortranarray(x)).box, want)
    np.testing.assert_array_equal(draw(x[..., None].repeat(3, -1)).box, want)


def test_scale_and_offset_make_no_difference():
    x, _ = images()
    want = draw(x).box
    for scaled in (x / 255, x * 1e-30, x * 1e30 - 5, -x.astype(float)):
        np.testing.assert_array_equal(draw(scaled).box, want)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, np.nan, np.inf, -np.inf, 1e308])
def test_where_nothing_is_salient_the_centre_is_anywhere(value):
    x = np.full((2, 8, 16), value)
    x[1, 3, 3] = np.nan
    boxes = np.concatenate([draw(x, SaliencyMix(1e9), step, pairing=Reverse()).box
                            for step in range(1500)])  # fmt: skip
    side = (5, 11)  # of 8 and 16 cells, at lam one half
    for axis, n in enumerate((8, 16)):
        low, high = boxes[:, axis].T
        whole = high - low == side[axis]
        counts = np.bincount(low[whole & (low > 0) & (high < n)])
        assert stats.chisquare(counts[counts > 0]).pvalue > 1e-4
        assert (counts > 0).sum() == n - side[axis] - 1


@pytest.mark.parametrize("value", [0, 255, 1e308, np.inf])
def test_large_flat_images(value):
    x = np.full((3, 70, 40, 3), value, np.uint8 if value in (0, 255) else np.float64)
    assert not _saliency.peaks(x, np.arange(3))[1].any()


def test_a_bad_image_does_not_reach_others():
    x = images()[0].astype(float)
    bad = x.copy()
    bad[2] = np.nan
    bad[3, 0, 0] = np.inf
    want, got = draw(x, pairing=Roll(1)), draw(bad, pairing=Roll(1))
    others = ~np.isin(want.partner, [2, 3])
    np.testing.assert_array_equal(got.box[others], want.box[others])


def test_blocks_of_rows_are_drawn_as_one(monkeypatch):
    x, _ = images(9)
    want = draw(x).box
    monkeypatch.setattr(_saliency, "_AT_ONCE", x[0].size * 4)
    np.testing.assert_array_equal(draw(x).box, want)


def test_partners_from_another_batch():
    own, theirs = images(3)[0], images(5, seed=7)[0]
    plan = draw(own, SaliencyMix(1e9), other=Other(5, {"image": theirs}))
    centre, _ = _saliency.peaks(theirs, plan.partner)
    assert ((plan.box[..., 0] <= centre) & (centre < plan.box[..., 1])).all()


@pytest.mark.parametrize("batch", [0, 1])
def test_batches_of_no_row_and_of_one(batch):
    plan = draw(images(batch)[0])
    assert plan.lam.tolist() == [1] * batch


def test_within_other_policies():
    x, _ = images(40)
    policy = Switch([SaliencyMix(1e9), Sometimes(CutMix(), 0.5)])
    assert policy.reads == ("image",)
    plan = draw(x, policy)
    centre, _ = _saliency.peaks(x, plan.partner)
    salient = plan.kind == 0
    within = ((plan.box[..., 0] <= centre) & (centre < plan.box[..., 1])).all(1)
    assert within[salient].all()
    assert (draw(x, PerBatch(SaliencyMix())).box == draw(x, PerBatch(SaliencyMix())).box[0]).all()


@pytest.mark.parametrize(
    ("image", "size"),
    [
        (np.zeros((4, 8, 8)), {"T": 8}),
        (np.zeros((4, 8, 8)), {}),
        (np.zeros((4, 8, 8)), {"D": 8, "H": 8, "W": 8}),
        (np.zeros((4, 3, 8, 8)), {"H": 8, "W": 8}),
        (np.zeros((4, 8, 9)), {"H": 8, "W": 8}),
        (np.zeros((4, 8, 8, 3, 1)), {"H": 8, "W": 8}),
        (np.zeros((4, 8, 8, 0)), {"H": 8, "W": 8}),
        (np.zeros((4, 8, 8), complex), {"H": 8, "W": 8}),
        (np.full((4, 8, 8), "a"), {"H": 8, "W": 8}),
    ],
)
def test_hints_that_are_no_images(image, size):
    with pytest.raises(bm.MixError, match="SaliencyMix"):
        bm.draw(SaliencyMix(), bm.Key(0), 4, size, hints={"image": image})


def test_without_images():
    with pytest.raises(bm.MixError, match="reads 'image'"):
        bm.draw(SaliencyMix(), bm.Key(0), 4, {"H": 8, "W": 8})


@pytest.mark.parametrize("alpha", [0, -1, np.nan, "1", None])
def test_wrong_parameters(alpha):
    with pytest.raises(bm.MixError, match="SaliencyMix"):
        SaliencyMix(alpha)


def test_it_is_a_value():
    policy = SaliencyMix(0.2)
    assert pickle.loads(pickle.dumps(policy)) == policy == eval(repr(policy))
    assert hash(policy) == hash(SaliencyMix(0.2))


def test_the_stream_is_frozen():
    plan = draw(images(33)[0], step=3)
    data = plan.partner.tobytes() + plan.box.tobytes()
    assert hashlib.sha256(data).hexdigest()[:16] == "414ba6f737567007"


def test_a_seam_between_opposite_sides_is_nothing():
    """Light above and dark below: what stands out is the spot, and not the border."""
    x = np.broadcast_to(np.linspace(40, 200, 64)[:, None], (64, 64)).copy()
    x[28:33, 40:45] += 50
    plan = draw(np.stack([x, x]))
    assert (plan.box[:, 0, 0] <= 30).all()
    assert (plan.box[:, 0, 1] >= 30).all()
    middle = plan.box.mean(2)
    inside = (plan.box[:, :, 0] > 0).all(1) & (plan.box[:, :, 1] < 64).all(1)
    assert np.abs(middle - [30, 42])[inside].max(initial=0) <= 3
