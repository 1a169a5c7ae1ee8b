"""Policies by loudness, and bands: each against its formula, written out a second time."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import batchmix as bm
import oracle
from batchmix.fields import Audio, Image, Labels
from batchmix.pairing import Other, OtherClass, Reverse, Roll
from batchmix.policies import (
    SNR,
    BetweenClass,
    CutMix,
    Layers,
    MixUp,
    PerBatch,
    PerPair,
    ReMix,
    Request,
    Sometimes,
    SpecMix,
    Switch,
)

ROOT = Path(__file__).parents[2]
RATE, T = 16000, 5000
rng = np.random.default_rng(0)
# noises and tones, of levels that are 40 dB apart
WAVES = (rng.normal(size=(6, T)) * 10.0 ** np.linspace(-2.5, -0.5, 6)[:, None]).astype(np.float32)
WAVES[::2] = np.sin(np.arange(T) * np.linspace(0.02, 2, 3)[:, None]) * [[0.5], [0.05], [0.01]]
PARTNER = np.array([1, 2, 3, 4, 5, 0], np.int32)
LOUD = [SNR(-5, 20), BetweenClass(RATE), BetweenClass(8000, weighting=None)]


def draw(policy, x=WAVES, step=0, **more):
    more = {"pairing": Roll(1)} | more
    return bm.draw(policy, bm.Key(2, 0, step), len(x), {"T": x.shape[1]}, hints={"audio": x},
                   **more)  # fmt: skip


def level(wave):
    return np.sqrt(np.mean(np.asarray(wave, float) ** 2))


def loudness(wave, rate, weighting):
    """dB of the loudest window, one line of the spectrum after the other."""
    n = {16000: 2048, 8000: 1024}[rate]
    hann = [0.5 - 0.5 * np.cos(2 * np.pi * k / n) for k in range(n)]
    found = []
    for start in range(0, len(wave) - n + 1, n // 2):
        part = np.asarray(wave[start : start + n], float)
        if weighting is None:
            found.append(np.mean(part**2))
            continue
        power = np.abs(np.fft.rfft(part * hann)) ** 2
        total = 0.0
        for line, value in enumerate(power):
            f = max(1.0, line * rate / n)
            a = 12194**2 * f**4 / (f**2 + 12194**2) / (f**2 + 20.6**2)
            a /= ((f**2 + 107.7**2) * (f**2 + 737.9**2)) ** 0.5
            total += value * 10 ** (max(-80, 2 + 20 * np.log10(a)) / 10)
        found.append(total)
    return 10 * np.log10(max(max(found), 1e-8))


def test_the_partner_is_as_far_below_the_row_as_was_drawn():
    for low, high in ((0, 0), (-6, -6), (12.5, 12.5), (0, 5)):
        plan = draw(SNR(low, high))
        for row in range(6):
            a = float(plan.opacity[row])
            mine, theirs = (1 - a) * WAVES[row], a * WAVES[plan.partner[row]]
            ratio = 20 * np.log10(level(mine) / level(theirs))
            assert low - 0.3 <= ratio <= high + 0.3
            np.testing.assert_allclose(plan.lam[row], 1 - a, atol=1e-6)
        assert plan.label_lam is None


def test_ratios_are_uniform():
    x = np.tile([1.0, -1.0], (4000, 4)).astype(np.float32)
    a = draw(SNR(-3, 9), x).opacity.astype(float)
    ratio = np.sort(20 * np.log10((1 - a) / a))
    np.testing.assert_allclose(ratio, np.linspace(-3, 9, 4000), atol=0.5)


@pytest.mark.parametrize("weighting", ["A", None])
@pytest.mark.parametrize("rate", [16000, 8000])
def test_between_class_is_the_published_formula(rate, weighting):
    policy = BetweenClass(rate, weighting)
    rows = {"audio": WAVES}
    stream = np.random.RandomState(8)
    drawn = policy.sample(Request(stream, bm.Key(0), PARTNER, {"T": T}, None, rows, rows))
    ratio = np.random.RandomState(8).randint(1, 4096, 6) / 4096
    for row, r in enumerate(ratio):
        g, other = (loudness(WAVES[k], rate, weighting) for k in (row, PARTNER[row]))
        t = 1 / (1 + 10 ** ((g - other) / 20) * (1 - r) / r)
        assert drawn.opacity[row] == pytest.approx(1 - t, abs=1 / 8000)
        assert drawn.label_lam[row] == r


def test_labels_are_what_is_heard_and_not_the_opacity():
    """Of a loud row and a quiet partner at ratio r, the levels in the mix are as r to 1 - r."""
    x = np.stack([np.sin(np.arange(T) * 0.4) * 0.8, np.sin(np.arange(T) * 0.4) * 0.05])
    plan = draw(BetweenClass(RATE), x, pairing=Reverse())
    for row in range(2):
        a, r = float(plan.opacity[row]), float(plan.label_lam[row])
        mine, theirs = (1 - a) * level(x[row]), a * level(x[1 - row])
        assert mine / (mine + theirs) == pytest.approx(r, abs=0.01)
    assert np.abs(plan.lam - plan.label_lam).max() > 0.1
    soft = Labels(2)(np.array([0, 1]), plan)
    np.testing.assert_allclose(soft[[0, 1], [0, 1]], plan.label_lam, atol=1e-6)


@pytest.mark.parametrize("policy", LOUD, ids=repr)
@pytest.mark.parametrize("quiet", [0, np.nan, np.inf])
def test_who_is_silent_is_left_alone_and_pasted_on_nobody(policy, quiet):
    x = WAVES.copy()
    x[2] = quiet
    plan = draw(policy, x)
    alone = (np.arange(6) == 2) | (plan.partner == 2)
    assert (plan.lam[alone] == 1).all()
    assert (plan.kind[alone] == -1).all()
    assert ((plan.lam[~alone] < 1) & np.isfinite(plan.lam[~alone])).all()
    labels = bm.mix_labels(np.arange(6), plan, 6)
    np.testing.assert_array_equal(labels[alone], np.eye(6)[alone])
    mixed = bm.mix(x, plan, "NT")
    np.testing.assert_array_equal(mixed[alone], x[alone])


def test_a_sound_that_is_lost_in_another_has_no_label():
    """Opacities are multiples of 1/4096: what rounds to none of it is none of it."""
    x = np.stack([np.ones(T) * 0.9, np.full(T, 0.0003)]) * np.sin(np.arange(T))
    found = [draw(BetweenClass(RATE), x, step, pairing=Reverse()) for step in range(60)]
    hard = [(p.opacity[k], p.label_lam[k]) for p in found for k in (0, 1) if p.opacity[k] in (0, 1)]
    assert hard
    assert all(label == 1 - opacity for opacity, label in hard)


@pytest.mark.parametrize("policy", LOUD, ids=repr)
def test_integers_channels_and_memory_make_no_difference(policy):
    x = (np.clip(WAVES, -1, 1) * 20000).astype(np.int16)
    want = draw(policy, x / np.float64(32768))
    shifted = (x.astype(np.int32) + 32768).astype(np.uint16)
    for same in (x, shifted, np.asfortranarray(x), x[..., None], np.stack([x, x], -1)):
        got = draw(policy, same)
        np.testing.assert_array_equal(got.opacity, want.opacity)
        np.testing.assert_array_equal(got.label_weights, want.label_weights)


@pytest.mark.parametrize("policy", LOUD, ids=repr)
def test_scale_makes_no_difference(policy):
    want = draw(policy)
    np.testing.assert_array_equal(draw(policy, WAVES * 2).opacity, want.opacity)


@pytest.mark.parametrize("policy", LOUD, ids=repr)
@pytest.mark.parametrize("cells", [1, 7, 1500, 2048, 2049])
def test_short_clips(policy, cells):
    plan = draw(policy, WAVES[:, :cells] + np.float32(0.01))
    assert (plan.lam < 1).any()
    assert np.isfinite(plan.label_weights).all()


@pytest.mark.parametrize("policy", LOUD, ids=repr)
@pytest.mark.parametrize("layout", ["NT", "NCT", "NTC"])
@pytest.mark.parametrize("of", [np.asarray, torch.tensor])
def test_a_mixer_hands_over_the_waves(policy, layout, of):
    x = np.stack([WAVES, WAVES[::-1]], 2)  # N, T, C
    given = {"NT": WAVES, "NCT": x.transpose(0, 2, 1), "NTC": x}[layout]
    mixer = bm.Mixer(policy, {0: Audio(layout), 1: Labels(6)}, pairing=Roll(1), seed=2)
    plan = mixer.draw((of(np.ascontiguousarray(given)), of(np.arange(6))), step=0)
    want = draw(policy, WAVES if layout == "NT" else x)
    np.testing.assert_array_equal(plan.opacity, want.opacity)


@pytest.mark.parametrize("policy", LOUD, ids=repr)
def test_partners_of_another_batch_are_measured_there(policy):
    theirs = WAVES[:4] * np.float32(3)
    got = bm.draw(policy, bm.Key(2), 6, {"T": T}, hints={"audio": WAVES},
                  other=Other(4, {"audio": theirs}))  # fmt: skip
    both = np.concatenate([WAVES, theirs])
    one = {"audio": both}
    request = Request(bm._stream.stream(bm.Key(2), 0), bm.Key(2), got.partner + 6, {"T": T}, None,
                      {"audio": WAVES}, one)  # fmt: skip
    np.testing.assert_allclose(got.opacity, policy.sample(request).opacity, atol=1 / 8000)


@pytest.mark.parametrize("policy", LOUD, ids=repr)
def test_spectrograms_and_images_are_refused(policy):
    x = rng.random((4, 8, 20), np.float32)
    for field in (Audio("NHT"), Audio("NFT"), Image("NHW")):
        with pytest.raises(bm.MixError, match="spectrogram"):
            bm.Mixer(policy, {0: field, 1: Labels(3)})((x, np.arange(4) % 3))
    with pytest.raises(bm.MixError, match="lost what adds up"):
        bm.draw(policy, bm.Key(0), 4, {"H": 8, "T": 20}, hints={"audio": x})
    with pytest.raises(bm.MixError, match="hint 'audio' has shape"):
        bm.draw(policy, bm.Key(0), 4, {"T": 20}, hints={"audio": x[..., None, None]})
    with pytest.raises(bm.MixError, match="hint 'audio' has shape"):
        bm.draw(policy, bm.Key(0), 6, {"T": T}, hints={"audio": WAVES > 0})


@pytest.mark.parametrize("policy", LOUD, ids=repr)
def test_draws_of_others_are_not_shared(policy):
    for share in (PerBatch, PerPair):
        with pytest.raises(bm.MixError, match="of its own for each row"):
            draw(share(policy), pairing=Reverse())


@pytest.mark.parametrize("batch", [0, 1, 2])
@pytest.mark.parametrize("policy", [*LOUD, SpecMix()], ids=repr)
def test_batches_of_few_rows(policy, batch):
    plan = draw(policy, WAVES[:batch])
    assert len(plan) == batch
    if batch == 1:
        np.testing.assert_array_equal(bm.mix(WAVES[:1], plan, "NT"), WAVES[:1])


@pytest.mark.parametrize("policy", LOUD, ids=repr)
def test_in_other_policies(policy):
    wraps = (
        Sometimes(policy, 0.5), Switch([policy, CutMix(), MixUp(1.0)]), Layers([policy, CutMix()]),
        Layers([SNR(3, 3), policy]),
    )  # fmt: skip
    for wrap in wraps:
        plan = draw(wrap)
        np.testing.assert_allclose(bm.mix(WAVES, plan, "NT"), oracle.mix(WAVES, plan, "NT"),
                                   atol=1e-6)  # fmt: skip
        np.testing.assert_allclose(plan.weights, oracle.shares(plan), atol=1e-6)
        np.testing.assert_allclose(plan.label_weights.sum(1), 1, atol=1e-6)


def test_remix_of_sounds_and_partners_of_another_class():
    hints = {"audio": WAVES, "label": np.arange(6) % 2}
    policy = ReMix(SNR(), [900, 30])
    plan = bm.draw(policy, bm.Key(1), 6, {"T": T}, hints=hints, pairing=OtherClass())
    assert (hints["label"][plan.partner] != hints["label"]).all()
    assert np.isin(plan.label_lam, (0, 1)).any()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SNR(5, 0), "low <= high"), (lambda: SNR(0, 70), "60"),
        (lambda: SNR("a", 1), "low <= high"), (lambda: SNR(float("nan"), 1), "low <= high"),
        (lambda: BetweenClass(0), "100 or more"), (lambda: BetweenClass("16k"), "100 or more"),
        (lambda: BetweenClass(8000, "B"), "weighting"), (lambda: SpecMix(0), "1 to 64"),
        (lambda: SpecMix(3, 0), "above 0"), (lambda: SpecMix(1.5), "1 to 64"),
        (lambda: SpecMix(True), "1 to 64"), (lambda: SpecMix(2, 1.1), "width"),
        (lambda: bm.draw(SpecMix(), bm.Key(0), 2, {}), "no axes"),
    ],
)  # fmt: skip
def test_bad_parameters(make, words):
    with pytest.raises(bm.MixError, match=words):
        make()


def test_the_example_runs():
    words = [sys.executable, str(ROOT / "examples" / "sounds.py"), "--quick"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found = [float(line.split()[-1]) for line in done.stdout.splitlines()]
    assert len(found) == 2
    assert min(found) > 0.5


# --- SpecMix

SIZES = [{"H": 40, "T": 100}, {"F": 7, "T": 9}, {"T": 50}, {"H": 20, "W": 30, "T": 10}]


def bands(policy, size, stream, batch):
    """The cells in bands, cell by cell, from the same draws."""
    shape = tuple(size.values())
    found = np.zeros((batch, *shape), bool)
    for axis, n in enumerate(shape):
        width = max(1, int(policy.width * n))
        count = stream.randint(0, policy.bands + 1, batch)
        start = (stream.random_sample((batch, policy.bands)) * (n - width + 1)).astype(int)
        for row in range(batch):
            for k in range(count[row]):
                at = [slice(None)] * len(shape)
                at[axis] = slice(start[row, k], start[row, k] + width)
                found[(row, *at)] = True
    return found


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("policy", [SpecMix(), SpecMix(2, 0.3), SpecMix(1, 1.0)], ids=repr)
def test_bands_are_pasted_whole(policy, size):
    nobody = np.zeros(20, np.int32)
    drawn = policy.sample(Request(np.random.RandomState(3), bm.Key(0), nobody, size))
    want = bands(policy, size, np.random.RandomState(3), 20)
    np.testing.assert_array_equal(drawn.mask == 255, want)
    np.testing.assert_array_equal(drawn.mask > 0, want)


@given(st.integers(1, 5), st.floats(0.01, 1), st.integers(1, 30), st.integers(1, 30),
       st.integers(0, 99))  # fmt: skip
@settings(max_examples=60)
def test_labels_of_bands_are_the_counted_cells(count, width, height, frames, seed):
    policy, size = SpecMix(count, width), {"H": height, "T": frames}
    plan = bm.draw(policy, bm.Key(seed), 5, size)
    np.testing.assert_allclose(plan.lam, oracle.shares(plan)[:, 0], atol=1e-6)
    x = np.random.default_rng(seed).random((5, height, frames))
    mixed = bm.mix(x, plan, "NHT")
    theirs = (mixed == x[plan.partner]) & (mixed != x)
    np.testing.assert_allclose(theirs.mean((1, 2)), 1 - plan.lam, atol=1e-6)


def test_how_many_bands_and_where():
    plan = bm.draw(SpecMix(3, 0.1), bm.Key(0), 6000, {"T": 100})
    starts = np.diff(np.pad(plan.mask > 0, [(0, 0), (1, 0)]).astype(int), axis=1) == 1
    assert 0.22 < (starts.sum(1) == 0).mean() < 0.28  # none, one, two, three
    assert starts.sum(1).max() == 3
    assert starts.any(0)[:91].all()


@pytest.mark.parametrize("layout", ["NHT", "NCHT", "NTF", "NCFT", "NHTC"])
def test_spectrograms_of_any_layout(xp, layout):
    axes = "FT" if "F" in layout else "HT"
    shape = {"N": 4, "C": 2, "H": 12, "F": 12, "T": 20}
    x = rng.random([shape[a] for a in layout])
    mixer = bm.Mixer(SpecMix(), {0: Audio(layout), 1: Labels(4)}, axes=axes, seed=1)
    batch = xp.array(x, "float64"), xp.ids(np.arange(4))
    mixed, labels = mixer(batch, step=0)
    plan = mixer.draw(batch, step=0)
    np.testing.assert_array_equal(xp.numpy(mixed), oracle.mix(x, plan, layout))
    np.testing.assert_allclose(
        xp.numpy(labels)[np.arange(4), np.arange(4)], oracle.shares(plan)[:, 0], atol=1e-6
    )


def test_the_width_of_a_band_is_the_share_that_was_said():
    plan = bm.draw(SpecMix(1, 0.29), bm.Key(0), 20, {"T": 100})
    assert set(plan.mask.astype(bool).sum(1)) == {0, 29}
