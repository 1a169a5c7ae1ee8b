"""Other libraries' rules for sounds and series on the same draws, written from their formulas.

torch-audiomentations' Mix itself is compared in tests/hosts/test_torch_audiomentations.py, and
braindecode's mixup in tests/hosts/test_skorch.py.
"""

import numpy as np
import pytest

import batchmix as bm
from batchmix.fields import Audio, Labels
from batchmix.pairing import OtherClass, SameClass
from batchmix.policies import SNR, BetweenClass, CutMix, Layers, MixUp, PerBatch, SpecMix

RATE, T, B = 16000, 6000, 6
rng = np.random.default_rng(0)
X = (rng.normal(size=(B, T)) * rng.uniform(0.02, 0.5, (B, 1))).astype(np.float32)
Y = np.arange(B) % 3
WHOLE = [[[0, T]]] * B


def gain(sound):
    """BC learning: dB of the loudest window, as utils.py has it for 16 kHz."""
    n, found = 2048, []
    square = np.linspace(0, RATE // 2, n // 2 + 1) ** 2
    square[0] = 1
    weight = 2 + 20 * (2 * np.log10(12194) + 2 * np.log10(square) - np.log10(square + 12194**2)
                       - np.log10(square + 20.6**2) - 0.5 * np.log10(square + 107.7**2)
                       - 0.5 * np.log10(square + 737.9**2))  # fmt: skip
    weight = np.maximum(weight, -80)
    for start in range(0, len(sound) - n + 1, n // 2):
        power = np.abs(np.fft.rfft(np.hanning(n + 1)[:-1] * sound[start : start + n])) ** 2
        found.append((power * 10 ** (weight / 10)).sum())
    return 10 * np.log10(max(max(found), 1e-8))


def test_bc_learning():
    mixer = bm.Mixer(BetweenClass(RATE), {0: Audio("NT", keep_energy=True), 1: Labels(3)},
                     pairing=OtherClass(), seed=0)  # fmt: skip
    plan = mixer.draw((X, Y), step=0)
    mixed, labels = mixer((X, Y), step=0)
    assert (Y[plan.partner] != Y).all()
    for row in range(B):
        other, r = plan.partner[row], float(plan.label_lam[row])
        t = 1 / (1 + 10 ** ((gain(X[row]) - gain(X[other])) / 20) * (1 - r) / r)
        sound = (X[row] * t + X[other] * (1 - t)) / np.sqrt(t**2 + (1 - t) ** 2)
        # opacities are multiples of 1/4096
        np.testing.assert_allclose(mixed[row], sound, atol=2e-3 * np.abs(X).max())
        np.testing.assert_allclose(
            labels[row], r * np.eye(3)[Y[row]] + (1 - r) * np.eye(3)[Y[other]], atol=1e-6
        )


@pytest.mark.parametrize("draw", range(6))
def test_specmix_of_the_authors(draw):
    """Its mask, from its own draws, as a plan; and our draws, as its mask."""
    x = rng.random((2, 40, 50))
    stream = np.random.default_rng(draw)
    keep = np.ones((40, 50))
    for axis, n in enumerate(keep.shape):
        for _ in range(stream.integers(3)):
            start = stream.integers(int(0.9 * n))
            band = [slice(None), slice(None)]
            band[axis] = slice(start, start + int(n * 0.1))
            keep[tuple(band)] = 0
    theirs, share = keep * x[0] + (1 - keep) * x[1], keep.sum() / keep.size
    mask = np.stack([1 - keep, 0 * keep])
    plan = bm.Plan([1, 0], [[[0, 40], [0, 50]]] * 2, [1, 1], "HT", (40, 50), mask=mask)
    np.testing.assert_array_equal(bm.mix(x, plan, "NHT")[0], theirs)
    assert plan.lam[0] == pytest.approx(share, abs=1e-7)
    ours = bm.draw(SpecMix(2), bm.Key(draw), 64, {"H": 40, "T": 50})
    runs = np.diff(np.pad(ours.mask[:, :, :1] > 0, [(0, 0), (1, 0), (0, 0)]).astype(int), axis=1)
    assert (runs == 1).sum(1).max() <= 40
    assert ours.lam.min() >= 1 - (1 - 0.8 * 0.8) - 1e-6  # two bands of a tenth on each axis


@pytest.mark.parametrize("step", range(5))
def test_cutmix1d_of_tsai(step):
    """One cut for the batch: round(T (1 - lam)) cells, an odd one short by one, clipped."""
    stream = np.random.RandomState(step)
    lam, centre = stream.random_sample(), stream.randint(T)
    half = round(T * (1 - lam)) // 2
    low, high = max(centre - half, 0), min(centre + half, T)
    partner = stream.permutation(B)
    theirs = X.copy()
    theirs[:, low:high] = X[partner][:, low:high]
    plan = bm.Plan(partner, [[[low, high]]] * B, np.ones(B), "T", (T,))
    np.testing.assert_array_equal(bm.mix(X, plan, "NT"), theirs)
    other = partner != np.arange(B)
    np.testing.assert_allclose(plan.lam[other], 1 - (high - low) / T, atol=1e-6)
    drawn = bm.draw(PerBatch(CutMix(1.0)), bm.Key(step), B, {"T": T})
    assert (drawn.box == drawn.box[0]).all()


def test_intra_class_cutmix1d_of_tsai():
    mixer = bm.Mixer(PerBatch(CutMix(1.0)), {0: Audio("NT"), 1: Labels(3)}, pairing=SameClass(),
                     seed=0)  # fmt: skip
    plan = mixer.draw((X, Y), step=0)
    assert (Y[plan.partner] == Y).all()
    np.testing.assert_allclose(mixer((X, Y), step=0)[1], np.eye(3)[Y], atol=1e-6)


def test_multilabel_mix_of_birdset():
    """Two more sources, each at a ratio to what is there: up to the level, two layers of blends."""
    partners, ratios = np.array([[1, 2], [2, 3], [3, 4], [4, 5], [5, 0], [0, 1]]), (3.0, 8.0)
    level = np.sqrt((X.astype(float) ** 2).mean(1))
    theirs, factors = X.astype(float).copy(), np.zeros((B, 2))
    for k, ratio in enumerate(ratios):
        below = np.sqrt((theirs**2).mean(1))
        factors[:, k] = below / level[partners[:, k]] * 10 ** (-ratio / 20)
        theirs += factors[:, k, None] * X[partners[:, k]]
    first, total = 1 + factors[:, 0], 1 + factors.sum(1)
    layers = [
        bm.Plan(partners[:, 0], WHOLE, factors[:, 0] / first, "T", (T,)),
        bm.Plan(partners[:, 1], WHOLE, factors[:, 1] / total, "T", (T,)),
    ]
    plan = layers[0].then(layers[1])
    np.testing.assert_allclose(bm.mix(X, plan, "NT") * total[:, None], theirs, atol=1e-5)
    tags = np.float32(np.eye(B))
    union = bm.mix_labels(tags, plan, rule="union")
    np.testing.assert_array_equal(union, np.maximum(tags, tags[partners].max(1)))
    policy = Layers([SNR(3, 3), SNR(8, 8)])
    ours = bm.draw(policy, bm.Key(0), B, {"T": T}, hints={"audio": X})
    found = bm.mix_labels(tags, ours, rule="union")
    assert (found.sum(1) == 3).all()


def test_mixup_of_waves_is_its_formula():
    plan = bm.draw(MixUp(0.4), bm.Key(0), B, {"T": T})
    lam = plan.lam[:, None].astype(float)
    np.testing.assert_allclose(
        bm.mix(X, plan, "NT"), lam * X + (1 - lam) * X[plan.partner], atol=1e-6
    )
