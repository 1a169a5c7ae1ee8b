"""Each policy against its published formula, for its own draws, and the shares that it gives."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import batchmix as bm
from batchmix.fields import Features, Ids, Labels
from batchmix.policies import Columns, FMix, GridMix, Mosaic, Request, ResizeMix, SmoothMix
from batchmix.policies.fmix import four_bytes, spectrum, summed
from batchmix.policies.gridmix import highest

N = 20_000
HW = {"H": 32, "W": 32}


def rng(seed=0):
    """The stream that a test replays."""
    return np.random.RandomState(np.random.Philox(seed))


def sample(policy, batch, size, seed=0):
    """What a policy draws from that stream."""
    rows = np.zeros(batch, np.int32)
    return policy.sample(Request(rng(seed), bm.Key(0), rows, size, later=(rows, rows)))


def draw(policy, batch=N, size=HW, **more):
    return bm.draw(policy, bm.Key(11), batch, size, **more)


# --- ResizeMix


def test_resizemix_is_the_partner_at_the_drawn_scale():
    box = draw(ResizeMix((0.25, 0.75)), size={"H": 40, "W": 200}).box
    sides = box[:, :, 1] - box[:, :, 0]
    assert (sides[:, 0].min(), sides[:, 0].max()) == (10, 30)
    assert np.abs(5 * sides[:, 0] - sides[:, 1]).max() <= 3  # its shape is kept, to the cell
    assert stats.kstest(sides[:, 1] / 200, stats.uniform(0.25, 0.5).cdf).statistic < 0.015


def test_resizemix_lies_anywhere_inside():
    plan = draw(ResizeMix((0.4, 0.4)), size={"H": 5, "W": 10})
    assert set(map(tuple, plan.box[:, 0].tolist())) == {(k, k + 2) for k in range(4)}
    assert set(map(tuple, plan.box[:, 1].tolist())) == {(k, k + 4) for k in range(7)}
    assert (plan.source == [[0, 5], [0, 10]]).all()
    np.testing.assert_allclose(plan.lam, 1 - 8 / 50, atol=1e-7)


def test_resizemix_is_never_empty():
    assert (draw(ResizeMix((0, 0.1)), 99, {"H": 3, "W": 4}).lam == np.float32(1 - 1 / 12)).all()


# --- the cells with the highest values


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), max_size=4),
    st.lists(st.integers(0, 5), min_size=4, max_size=4),
)
def test_the_highest_values_and_of_equal_ones_the_first(values, counts):
    values = np.array(values, np.uint16).reshape(-1, 5)
    counts = np.array(counts[: len(values)], np.intp)
    found = highest(values, counts)
    for row, count, chosen in zip(values, counts, found):
        want = np.lexsort((np.arange(5), -row.astype(int)))[:count]
        assert sorted(np.flatnonzero(chosen)) == sorted(want)


# --- FMix


def published_field(white, decay):
    """FMix's picture: a half spectrum over f to the power decay, and its inverse transform."""
    h, w = white.shape
    f = np.sqrt(np.fft.fftfreq(h)[:, None] ** 2 + np.fft.rfftfreq(w)[None] ** 2)
    scale = 1 / np.maximum(f, 1 / max(h, w)) ** decay
    return np.fft.irfftn(scale * np.fft.rfftn(white), (h, w), (0, 1))


def published_mask(field, share):
    """1 for the partner: FMix keeps the row itself where its picture is highest."""
    flat = np.zeros(field.size)
    flat[np.argsort(-field.ravel())[: round(share * field.size)]] = 1
    return flat.reshape(field.shape)


def white(amplitude, shape):
    """The noise whose waves along the axes have these amplitudes, wave by wave."""
    found, tops = np.zeros(shape), [(n - 1) // 2 for n in amplitude.shape]
    places = np.indices(shape)
    for at in itertools.product(*map(range, amplitude.shape)):
        wave = 1.0
        for axis, (k, top) in enumerate(zip(at, tops)):
            angle = 2 * np.pi * (k - top) * places[axis] / shape[axis]
            wave = wave * (np.cos(angle) + np.sin(angle))
        found += amplitude[at] * wave
    return found


@pytest.mark.parametrize("size", [(32, 32), (32, 48), (30, 21)])
def test_fmix_is_the_published_formula(size):
    """For the waves that it drew, at full resolution."""
    paste = sample(FMix(cells=None), 12, {"H": size[0], "W": size[1]}, seed=4)
    replay = rng(4)
    share = 1 - replay.random_sample(12)
    strength, _ = spectrum(size, size, 3.0)
    amplitudes = four_bytes(replay, (12, *strength.shape))
    for amplitude, part, mask in zip(amplitudes, share, paste.mask):
        field = published_field(white(amplitude, size), 3.0)
        want = published_mask(field, part)
        assert mask.sum() / 255 == want.sum()
        assert (want != mask / 255).mean() < 0.005  # next to the threshold, by rounding


def test_fmix_waves_are_alike_in_all_directions():
    """Strength falls by the power of the frequency in cells, whatever the shape of the grid."""
    size = (24, 96)
    strength, waves = spectrum(size, size, 2.0)
    z = summed(four_bytes(rng(), (4000, *strength.shape)) * strength, waves)
    power = (np.abs(np.fft.fftn(z, axes=(1, 2))) ** 2).mean(0)
    f = np.sqrt(np.fft.fftfreq(24)[:, None] ** 2 + np.fft.fftfreq(96)[None] ** 2)
    kept = (f > 0) & (f * 96 <= 12)
    level = power[kept] * f[kept] ** 4
    assert level.max() / level.min() < 1.4
    along = [power[1, 0] * f[1, 0] ** 4, power[0, 4] * f[0, 4] ** 4]
    assert along[0] / along[1] == pytest.approx(1, abs=0.15)


def test_fmix_sums_are_exact():
    """Of whole numbers below 2^53, so that no order of summing gives another mask."""
    strength, waves = spectrum((32, 40), (32, 32), 3.0)
    z = four_bytes(rng(), (3, *strength.shape)) * strength
    for wave in waves:
        assert (np.abs(z).sum() * np.abs(wave).max()) < 2**53
        whole = z.astype(int)[:, :, None, :, None] * wave.astype(int)[None, :, :, None, None]
        want = np.moveaxis(whole.sum(1)[..., 0], 1, -1)
        np.testing.assert_array_equal(summed(z, [wave]), want)
        z = np.rint(want / 4096)


def test_fmix_coarse_and_full_masks_are_of_one_picture():
    coarse, full = (draw(FMix(cells=n), 200, {"H": 96, "W": 96}).mask for n in (32, None))
    assert ((coarse > 0) == (full[:, ::3, ::3] > 0)).mean() > 0.97


def test_fmix_shares():
    lam = draw(FMix(cells=16), size={"H": 64, "W": 64}).lam
    np.testing.assert_allclose(lam * 256, np.rint(lam * 256), atol=1e-4)
    assert stats.kstest(lam, stats.uniform().cdf).statistic < 0.015
    low, high = (draw(FMix(cells=16, decay=d), 500).mask > 0 for d in (1.0, 3.0))
    edges = [np.mean(np.diff(m.astype(int), axis=2) != 0) for m in (low, high)]
    assert edges[0] > 2 * edges[1]


@pytest.mark.parametrize("decay", [0.1, 1, 100])
@pytest.mark.parametrize("size", [{"T": 1}, {"T": 2}, {"T": 5000}, {"H": 4, "W": 1000}])
def test_fmix_at_its_limits(size, decay):
    plan = draw(FMix(decay=decay), 200, size)
    assert plan.lam.std() > 0.2


# --- GridMix


def test_gridmix_chooses_every_patch_as_often():
    plan = draw(GridMix((2, 3)), size={"H": 7, "W": 10})
    chosen = plan.mask > 0
    counts = chosen.sum((1, 2))
    assert np.bincount(counts, minlength=7) / N == pytest.approx(
        [1 / 12, *[1 / 6] * 5, 1 / 12], abs=0.012
    )
    some = chosen[counts == 2].reshape(-1, 6)
    pairs = (some[:, :, None] & some[:, None]).mean(0)[~np.eye(6, dtype=bool)]
    assert pairs == pytest.approx(1 / 15, abs=0.015)


def test_gridmix_has_no_more_patches_than_cells():
    assert draw(GridMix(4), 9, {"H": 3, "W": 100}).mask.shape == (9, 3, 4)


# --- SmoothMix


def test_smoothmix_is_the_published_formula_with_the_labels_right():
    """The bump of the reference at its whole-pixel centres; the partner has its mean as weight."""
    n, batch = 32, 40
    paste = sample(SmoothMix(), batch, {"H": n, "W": n}, seed=2)
    replay = rng(2)
    sigma = (replay.random_sample((batch, 1)) / 4 + 0.25) * n
    centre = replay.random_sample((batch, 2)) * n - 0.5
    y, x = np.indices((n, n))
    for mask, width, (cy, cx) in zip(paste.mask, sigma[:, 0], centre):
        bump = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * width**2))
        np.testing.assert_allclose(mask / 255, bump, atol=0.5 / 255 + 2 / 4096)
    plan = bm.Plan(np.arange(batch)[::-1], paste.box, paste.opacity, "HW", (n, n), paste.mask)
    np.testing.assert_allclose(plan.lam, 1 - (paste.mask / 255).mean((1, 2)), atol=1e-6)


def test_smoothmix_shares():
    lam = draw(SmoothMix(), 5000).lam
    assert 1 - lam.mean() == pytest.approx(0.43, abs=0.01)
    assert lam.std() == pytest.approx(0.13, abs=0.01)


# --- Columns


def test_columns_are_independent():
    chosen = draw(Columns(0.3), size={"C": 6}).mask > 0
    assert chosen.mean(0) == pytest.approx(0.3, abs=0.015)
    correlation = np.corrcoef(chosen.T)[~np.eye(6, dtype=bool)]
    assert np.abs(correlation).max() < 0.03
    assert draw(Columns(0), 9, {"C": 6}).lam.tolist() == [1] * 9
    assert draw(Columns(1), 9, {"C": 6}).lam.tolist() == [0] * 9


@pytest.mark.parametrize("field", [Features("NC"), Ids("NC")])
def test_columns_of_a_table_in_a_mixer(field):
    """Whole columns are the partner's, ids too; labels are their share."""
    x = np.arange(40).reshape(5, 8)
    table = x if isinstance(field, Ids) else x.astype(np.float32)
    mixer = bm.Mixer(Columns(0.5), {0: field, 1: Labels(5)}, axes="C", seed=0)
    mixed, targets = mixer((table, np.arange(5)), step=0)
    assert mixed.dtype == table.dtype
    np.testing.assert_array_equal(mixed % 8, x % 8)
    for row, cells in enumerate(np.asarray(mixed, int) // 8):
        np.testing.assert_allclose(targets[row], np.bincount(cells, minlength=5) / 8)
        assert len(set(cells.tolist())) <= 2
    assert (np.asarray(mixed) != table).any()


# --- Mosaic


def test_mosaic_tiles_the_grid():
    plan = draw(Mosaic(), 2000, {"H": 20, "W": 31})
    cover = np.zeros((2000, 20, 31), int)
    for layer in plan.layers:
        for row, ((top, bottom), (left, right)) in enumerate(layer.box.tolist()):
            cover[row, top:bottom, left:right] += 1
    assert cover.max() == 1
    own = cover == 0
    corners = own[:, [0, 0, -1, -1], [0, -1, 0, -1]]  # the row keeps one, each as often
    assert (corners.sum(1) == 1).all()
    assert corners.mean(0) == pytest.approx(0.25, abs=0.03)
    sides = own.any(2).sum(1)
    assert (sides.min(), sides.max()) == (5, 15)  # the centre is in the middle half
    np.testing.assert_allclose(plan.weights[:, 0], own.mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(plan.weights.sum(1), 1, atol=1e-6)


def test_mosaic_partners_are_three_others():
    plan = draw(Mosaic(), 64)
    partners = np.stack([np.arange(64), *(layer.partner for layer in plan.layers)])
    assert all(len(set(row)) == 4 for row in partners.T.tolist())
    assert all((layer.source == [[0, 32], [0, 32]]).all() for layer in plan.layers)


def test_ricap_is_the_published_formula():
    """Four pieces side by side, for its own draws; the row's own is where it was."""
    h, w, batch = 12, 17, 30
    plan = draw(Mosaic("crop", beta=0.3), batch, {"H": h, "W": w})
    x = np.random.default_rng(0).random((batch, h, w), np.float32)
    mixed = bm.mix(x, plan, "NHW")
    for row in range(batch):
        want, shares = x[row].copy(), []
        for layer in plan.layers:
            (top, bottom), (left, right) = layer.box[row].tolist()
            (y, y_end), (z, z_end) = layer.source[row].tolist()
            piece = x[layer.partner[row], y:y_end, z:z_end]
            assert piece.shape == (max(0, bottom - top), max(0, right - left))
            want[top:bottom, left:right] = piece
            shares.append(piece.size / (h * w))
        np.testing.assert_array_equal(mixed[row], want)
        np.testing.assert_allclose(plan.weights[row, 1:], shares, atol=1e-6)


def test_ricap_centre():
    plan = draw(Mosaic("crop", beta=0.3), size={"H": 1000, "W": 1000})
    layers = plan.layers
    heights = np.concatenate([one.box[:, 0, 1] - one.box[:, 0, 0] for one in layers]) / 1000
    at = np.arange(0.1, 1, 0.1)
    below = [np.mean(heights < one + 0.0005) for one in at]
    assert below == pytest.approx(stats.beta(0.3, 0.3).cdf(at), abs=0.01)
    assert math.isclose(plan.weights.mean(), 0.25, abs_tol=1e-6)
    low = np.concatenate([one.source[:, 0, 0] for one in layers]) / 1000
    inside = heights < 0.9
    assert stats.kstest(low[inside] / (1 - heights[inside]), "uniform").statistic < 0.02
