"""What holds for every policy of masks, sources and layers: labels are counted cell by cell."""

import itertools
import math

import numpy as np
import pytest

import batchmix as bm
from batchmix.pairing import Reverse
from batchmix.policies import (
    Columns,
    CutMix,
    FMix,
    GridMix,
    Layers,
    MixUp,
    Mosaic,
    PerBatch,
    PerPair,
    Request,
    ResizeMix,
    SmoothMix,
    Sometimes,
    SpecMix,
    Switch,
)

ANY_AXES = {
    "resizemix": ResizeMix(),
    "resizemix nearest": ResizeMix((0.3, 0.6), "nearest"),
    "fmix": FMix(),
    "fmix ragged": FMix(0.5, 1.5, cells=6),
    "fmix full": FMix(cells=None),
    "gridmix": GridMix(),
    "gridmix fine": GridMix(7, 0.5),
    "smoothmix": SmoothMix(),
    "smoothmix coarse": SmoothMix((0.1, 0.2), cells=5),
    "columns": Columns(0.3),
    "specmix": SpecMix(),
}
TWO_AXES = {"mosaic": Mosaic(), "ricap": Mosaic("crop", 0.3, "nearest")}
NEW = ANY_AXES | TWO_AXES
SIZES = [{"T": 1}, {"T": 37}, {"H": 1, "W": 1}, {"H": 7, "W": 90}, {"H": 33, "W": 5}]
SIZES += [{"D": 3, "H": 10, "W": 6}, {"H": 2, "W": 2}, {"A": 2, "B": 3, "D": 1, "E": 4}]


def opacities(layer, row):
    """Of a layer at every cell of a row, one cell after the other."""
    found = np.zeros(layer.size)
    if layer.partner[row] == row:
        return found
    for cell in itertools.product(*map(range, layer.size)):
        if all(lo <= k < hi for k, (lo, hi) in zip(cell, layer.box[row].tolist())):
            found[cell] = layer.opacity[row]
            if layer.mask is not None:
                grid = layer.mask.shape[1:]
                at = tuple((2 * k + 1) * g // (2 * n) for k, g, n in zip(cell, grid, layer.size))
                share = layer.mask[(row, *at)]
                found[cell] *= share / 255 if layer.mask.dtype == np.uint8 else share
    return found


def counted(plan):
    """[B, K + 1]: the share of cells that show the row itself, then each partner."""
    shares = np.zeros((len(plan), len(plan.layers) + 1))
    for row in range(len(plan)):
        shown = [np.ones(plan.size)]
        for layer in plan.layers:
            a = opacities(layer, row)
            shown = [before * (1 - a) for before in shown] + [a]
        shares[row] = [one.mean() for one in shown]
    return shares


def assert_counted(plan):
    """Weights and labels are the counted shares."""
    shares, rows = counted(plan), np.arange(len(plan))
    np.testing.assert_allclose(plan.weights, shares, atol=1e-6)
    np.testing.assert_allclose(plan.lam, shares[:, 0], atol=1e-6)
    soft = np.zeros((len(plan), max(1, len(plan))))
    soft[rows, rows] = shares[:, 0]
    for k, layer in enumerate(plan.layers, 1):
        np.add.at(soft, (rows, layer.partner), shares[:, k])
    labels = bm.mix_labels(rows, plan, classes=max(1, len(plan)))
    np.testing.assert_allclose(labels, soft, atol=1e-6)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", NEW)
def test_labels_are_the_counted_cells(name, size):
    if name in TWO_AXES and len(size) != 2:
        with pytest.raises(bm.MixError, match="two axes"):
            bm.draw(NEW[name], bm.Key(0), 4, size)
        return
    assert_counted(bm.draw(NEW[name], bm.Key(3), 7, size))


@pytest.mark.parametrize("batch", [0, 1, 2, 3])
@pytest.mark.parametrize("name", NEW)
def test_batches_of_few_rows(name, batch):
    plan = bm.draw(NEW[name], bm.Key(5), batch, {"H": 9, "W": 6})
    assert len(plan) == batch
    assert_counted(plan)
    if batch == 1:
        assert plan.lam.tolist() == [1]


WRAPS = {
    "per batch": PerBatch,
    "per pair": PerPair,
    "sometimes": lambda policy: Sometimes(policy, 0.5),
    "switch": lambda policy: Switch([policy, CutMix(), MixUp(1.0)]),
    "per batch of a switch": lambda policy: PerBatch(Switch([MixUp(1.0), policy])),
    "layers": lambda policy: Layers([MixUp(1.0), policy, CutMix()]),
    "twice": lambda policy: Layers([policy, Sometimes(policy, 0.5)]),
}


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("name", NEW)
def test_in_other_policies(name, wrap):
    policy = WRAPS[wrap](NEW[name])
    for step in range(2):
        assert_counted(bm.draw(policy, bm.Key(1, 0, step), 8, {"H": 9, "W": 7}, pairing=Reverse()))


@pytest.mark.parametrize("name", NEW)
def test_per_batch_is_one_draw(name):
    plan = bm.draw(PerBatch(NEW[name]), bm.Key(2), 9, {"H": 20, "W": 12}, pairing=Reverse())
    for column, values in plan.columns().items():
        if column.partition(".")[0] in ("box", "mask", "source"):
            assert (values == values[:1]).all()
    assert len(set(plan.lam[[0, 1, 2, 3, 5, 6, 7, 8]].tolist())) == 1  # row 4 has no partner


def test_all_of_them_in_one_batch():
    """Masks of several grids and dtypes, sources and layers, row by row."""
    policies = [one for name, one in NEW.items() if name not in ("resizemix nearest", "ricap")]
    policy = Switch([*policies, MixUp(1.0)])
    plan = bm.draw(policy, bm.Key(4), 120, {"H": 18, "W": 10})
    assert set(plan.kind.tolist()) == set(range(len(policy.policies)))
    assert_counted(plan)


def test_two_ways_to_stretch_do_not_fit_into_one_batch():
    with pytest.raises(bm.MixError, match="stretch"):
        bm.draw(Switch([ResizeMix(), ResizeMix(resample="nearest")]), bm.Key(0), 64, {"T": 8})
    bm.draw(Switch([ResizeMix(), Mosaic()]), bm.Key(0), 64, {"H": 8, "W": 8})


@pytest.mark.parametrize("name", ["fmix", "fmix full", "gridmix", "smoothmix", "columns"])
def test_masks_are_8_bit_and_small(name):
    plan = bm.draw(NEW[name], bm.Key(0), 4, {"H": 224, "W": 100})
    assert plan.mask.dtype == np.uint8
    grids = {"fmix": (32, 32), "fmix full": (224, 100), "gridmix": (4, 4)}
    assert plan.mask.shape[1:] == (grids | {"smoothmix": (64, 64), "columns": (1, 100)})[name]
    if name != "smoothmix":
        assert set(np.unique(plan.mask)) == {0, 255}


# the Beta distribution asks as often as it has to, but for alpha 1
@pytest.mark.parametrize("name", sorted(NEW.keys() - {"fmix ragged", "gridmix fine", "ricap"}))
def test_how_often_randomness_is_asked_does_not_depend_on_it(name):
    """What is drawn after a sample stands at one place of the stream, whatever was drawn."""
    after = set()
    for seed in range(5):
        rng = np.random.RandomState(np.random.Philox(seed))
        rows = np.arange(6, dtype=np.int32)
        NEW[name].sample(Request(rng, bm.Key(0), rows, {"H": 12, "W": 9}, later=(rows, rows)))
        state = rng.get_state(legacy=False)
        after.add((state["state"]["counter"].tobytes(), state["buffer_pos"]))
    assert len(after) == 1


@pytest.mark.parametrize("name", NEW)
def test_values(name):
    """Policies are equal by what they are made of, and can be written down."""
    policy = NEW[name]
    assert eval(repr(policy)) == policy
    assert hash(policy) == hash(eval(repr(policy)))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ResizeMix((0.8, 0.1)), "0 <= low <= high <= 1"),
        (lambda: ResizeMix(0.5), "got scale=0.5"),
        (lambda: ResizeMix((0.1, 0.2, 0.3)), "(low, high)"),
        (lambda: ResizeMix((0.1, math.nan)), "0 <= low"),
        (lambda: ResizeMix(("a", "b")), "got scale"),
        (lambda: ResizeMix(resample="cubic"), "got resample='cubic'"),
        (lambda: FMix(0), "got alpha=0"),
        (lambda: FMix(decay=0), "got decay=0"),
        (lambda: FMix(decay="3"), "got decay='3'"),
        (lambda: FMix(decay=math.nan), "got decay=nan"),
        (lambda: FMix(cells=0), "got cells=0"),
        (lambda: FMix(cells=True), "got cells=True"),
        (lambda: FMix(cells=8.0), "got cells=8.0"),
        (lambda: GridMix(0), "got cells=0"),
        (lambda: GridMix(()), "got cells=()"),
        (lambda: GridMix((4, 0)), "got cells=(4, 0)"),
        (lambda: GridMix("44"), "got cells='44'"),
        (lambda: GridMix(2.5), "got cells=2.5"),
        (lambda: GridMix(True), "got cells=True"),
        (lambda: GridMix(alpha=-1), "got alpha=-1"),
        (lambda: SmoothMix((0, 0.5)), "0.01 <= low"),
        (lambda: SmoothMix(0.5), "got sigma=0.5"),
        (lambda: SmoothMix(cells="a"), "got cells='a'"),
        (lambda: Columns(1.5), "got prob=1.5"),
        (lambda: Columns("a"), "got prob='a'"),
        (lambda: Columns(math.nan), "got prob=nan"),
        (lambda: Mosaic("stretch"), "got fit='stretch'"),
        (lambda: Mosaic(beta=0), "got beta=0"),
        (lambda: Mosaic(resample="x"), "got resample='x'"),
        (lambda: bm.draw(GridMix((4, 4)), bm.Key(0), 2, {"T": 9}), "for size={'T': 9}"),
    ],
)
def test_what_does_not_fit_is_said(make, says):
    with pytest.raises(bm.MixError) as error:
        make()
    assert says in str(error.value)


@pytest.mark.parametrize("name", NEW)
def test_a_draw_without_axes_says_what_to_do(name):
    with pytest.raises(bm.MixError, match=r"Use MixUp|Columns\(\)|size=\{'C'|size=\{'H'"):
        bm.draw(NEW[name], bm.Key(0), 4, {})
