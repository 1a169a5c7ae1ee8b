"""CopyBlend: whole bounding boxes of partners at new places, and their targets with them."""

import collections
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import batchmix as bm
import oracle
from batchmix.fields import BoundingBoxes, Image
from batchmix.pairing import Other, Reverse, Roll
from batchmix.policies import (
    Blend,
    CopyBlend,
    CutMix,
    Layers,
    Mosaic,
    PerPair,
    Request,
    Schedule,
    Sometimes,
    Switch,
)

HW = {"H": 24, "W": 32}
SIZE = np.array([*HW.values()])


def things(rows=6, count=3, seed=0, whole=True):
    """[rows, count, 5]: boxes on and beyond the grid, some places empty, each with its number."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(-3, 24, (rows, count, 2))
    ends = np.concatenate([low, low + rng.uniform(1, 14, (rows, count, 2))], 2)
    number = np.arange(rows * count, dtype=float).reshape(rows, count, 1)
    made = np.concatenate([np.rint(ends) if whole else ends, number], 2)
    made[rng.random((rows, count)) < 0.2] = -1
    return made


def draw(policy, boxes, step=0, size=HW, **more):
    return bm.draw(policy, bm.Key(7, 0, step), len(boxes), size, hints={"boxes": boxes}, **more)


def touched(box):
    """[[top, bottom], [left, right]] of the cells of the grid that a box touches."""
    low, high = np.floor(box[1::-1]), np.ceil(box[3:1:-1])
    return np.clip(np.stack([low, high], 1), 0, SIZE[:, None]).astype(int)


def found(boxes, least):
    """What may be pasted of the boxes of a row, one by one."""
    on_grid = np.clip(boxes[:, :4], 0, [32, 24, 32, 24])
    area = (on_grid[:, 2] - on_grid[:, 0]) * (on_grid[:, 3] - on_grid[:, 1])
    large = (area > 0) & (area >= least) & (on_grid[:, 2] > on_grid[:, 0])
    return [touched(box).tolist() for box, good in zip(boxes, large) if good]


@given(st.integers(0, 10_000), st.integers(1, 4), st.sampled_from([0, 20, 100]), st.booleans())
def test_what_is_pasted_is_a_box_of_the_partner(seed, objects, least, expand):
    boxes = things(seed=seed, whole=False)
    ratios = (0.1, 0.25) if expand else None
    plan = draw(CopyBlend(objects, least, expand=ratios), boxes, seed)
    assert len(plan.layers) == objects
    for layer in plan.layers:
        sides = np.diff(layer.source)[..., 0]
        np.testing.assert_array_equal(sides, np.diff(layer.box)[..., 0])
        for part in (layer.source, layer.box):
            assert (part >= 0).all()
            assert (part <= SIZE[:, None]).all()
        for row, partner in enumerate(layer.partner):
            there = found(boxes[partner], least)
            assert bool(layer.opacity[row]) == bool(there)
            if there and not expand:
                assert layer.source[row].tolist() in there
            elif there:
                assert any(is_grown(layer.source[row], np.array(one)) for one in there)
            if there:
                assert 0.45 - 1 / 8192 <= 1 - layer.opacity[row] <= 0.55 + 1 / 8192


def is_grown(region, box):
    """Around the box, by at most a quarter of its sides on each side."""
    more = np.stack([box[:, 0] - region[:, 0], region[:, 1] - box[:, 1]], 1)
    return (more >= 0).all() and (more <= 0.25 * np.diff(box)).all()


def test_all_objects_of_a_row_have_one_opacity():
    boxes = np.tile([[[2, 2, 20, 20]]], (8, 1, 1)).astype(float)
    plan = draw(CopyBlend(4), boxes)
    opacities = np.stack([layer.opacity for layer in plan.layers])
    assert (opacities == opacities[0]).all()
    assert len({*opacities[0].tolist()}) > 4


def test_each_box_and_each_place_is_equally_likely():
    boxes = np.array([[[0, 0, 10, 10], [10, 2, 20, 12], [-1] * 4, [4, 8, 16, 20]]] * 2, float)
    which, where = collections.Counter(), collections.Counter()
    for step in range(3000):
        plan = draw(CopyBlend(1, low=0, high=0), boxes, step)
        which[int(plan.source[0, 1, 0])] += 1
        if plan.source[0, 1, 0] == 0:
            where[int(plan.box[0, 1, 0])] += 1
    assert sorted(which) == [0, 4, 10]
    assert stats.chisquare([*which.values()]).pvalue > 1e-3
    assert sorted(where) == [*range(23)]  # 32 - 10 + 1 places
    assert stats.chisquare([*where.values()]).pvalue > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("policy", [CopyBlend(3, 20), CopyBlend(2, 20, 0, 0, (0.1, 0.25))])
def test_pixels_and_shares_are_those_of_the_plan(policy, dtype, xp):
    boxes = things()
    x = np.random.default_rng(1).integers(0, 256, (6, 3, 24, 32)).astype(np.uint8)
    fields = {0: Image("NCHW"), 1: BoundingBoxes()}
    mixer = bm.Mixer(policy, fields, seed=7, hints={"boxes": 1})
    batch = xp.array(x, dtype), xp.array(boxes, "float32")
    plan = mixer.draw(batch, step=0)
    for name, column in draw(policy, boxes).columns().items():
        np.testing.assert_array_equal(plan.columns()[name], column)
    mixed, _ = mixer.apply(batch, plan)
    want = oracle.mix(x.astype(dtype), plan, "NCHW")
    if dtype == "uint8":
        np.testing.assert_array_equal(xp.numpy(mixed), np.rint(want))
    else:
        np.testing.assert_allclose(xp.numpy(mixed), want, rtol=0, atol=1e-4)
    np.testing.assert_allclose(plan.weights, oracle.shares(plan), atol=1e-6)
    assert plan.lam.min() < 1


@pytest.mark.parametrize("low", [0, 0.5])
def test_the_box_of_what_is_pasted_arrives_whole(low):
    """Where nothing lies over it: the object's own bounding box, moved with its pixels."""
    boxes = things(whole=False)
    policy = CopyBlend(1, 20, low, low, (0.1, 0.25))
    for step in range(5):
        plan = draw(policy, boxes, step)
        mixed = BoundingBoxes(min_visible=0, min_size=0)(boxes, plan)
        for row, partner in enumerate(plan.partner):
            if not plan.opacity[row]:
                continue
            shift = (plan.box[row] - plan.source[row])[::-1, 0]
            on_grid = np.clip(boxes[partner, :, :4], 0, [32, 24, 32, 24])
            moved = on_grid + np.tile(shift, 2)
            named = {tuple(box.round(6)) for box in moved}
            got = {tuple(box[:4].round(6)) for box in mixed[row, 3:]}
            assert named & got


def test_rows_whose_partner_has_nothing_stay_as_they_are():
    boxes = things()
    boxes[:, :, :4] = -1
    boxes[0, 0, :4] = 3, 3, 15, 15
    x = np.random.default_rng(0).random((6, 1, 24, 32), np.float32)
    plan = draw(CopyBlend(1), boxes, pairing=Roll(1))
    assert (plan.lam < 1).tolist() == [False, True, False, False, False, False]
    mixed = bm.mix(x, plan, "NCHW")
    np.testing.assert_array_equal(mixed[[0, 2, 3, 4, 5]], x[[0, 2, 3, 4, 5]])


@pytest.mark.parametrize(
    "boxes",
    [
        np.zeros((4, 0, 5)), np.full((4, 2, 4), np.nan), np.full((4, 2, 4), -1),
        np.tile([5.0, 5, 5, 20], (4, 1, 1)), np.tile([40.0, 40, 60, 60], (4, 1, 1)),
        np.tile([9.0, 9, 2, 2], (4, 1, 1)), np.tile([np.inf, 0, np.inf, 9], (4, 1, 1)),
    ],
)  # fmt: skip
def test_where_there_is_nothing_to_paste_nothing_is_mixed(boxes):
    assert draw(CopyBlend(min_area=0), boxes).lam.tolist() == [1] * 4


@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_batches_of_few_rows(rows):
    plan = draw(CopyBlend(3, 0), things(rows))
    np.testing.assert_allclose(plan.weights, oracle.shares(plan), atol=1e-6)
    assert len(plan) == rows


def test_partners_of_another_batch_bring_their_own_boxes():
    own, theirs = things(4), np.tile([[[1.0, 2, 13, 12]]], (2, 1, 1))
    plan = draw(CopyBlend(2), own, other=Other(2, {"boxes": theirs}))
    for layer in plan.layers:
        assert layer.source.tolist() == [[[2, 12], [1, 13]]] * 4


def test_axes_may_come_in_any_order():
    boxes = things()
    plan, turned = (
        draw(CopyBlend(1, 20), boxes),
        draw(CopyBlend(1, 20), boxes, size={"W": 32, "H": 24}),
    )
    np.testing.assert_array_equal(plan.source, turned.source[:, ::-1])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda policy: Sometimes(policy, 0.5), lambda policy: Switch([Blend(), policy, CutMix()]),
        lambda policy: Layers([CutMix(), policy]), lambda policy: PerPair(policy),
        lambda policy: Schedule.between(policy, 0, 3),
    ],
)  # fmt: skip
def test_in_other_policies(wrap):
    for step in range(3):
        plan = draw(wrap(CopyBlend(2, 20)), things(8), step, pairing=Reverse())
        np.testing.assert_allclose(plan.weights, oracle.shares(plan), atol=1e-6)


def test_how_often_randomness_is_asked_does_not_depend_on_the_boxes():
    after = set()
    for seed in range(4):
        rng = np.random.RandomState(np.random.Philox(seed))
        rows = np.arange(6, dtype=np.int32)
        boxes = {"boxes": things(seed=seed)}
        policy = CopyBlend(3, 20, expand=(0.1, 0.25))
        policy.sample(Request(rng, bm.Key(0), rows, HW, None, boxes, boxes, (rows, rows)))
        state = rng.get_state(legacy=False)
        after.add((state["state"]["counter"].tobytes(), state["buffer_pos"]))
    assert len(after) == 1


@pytest.mark.parametrize("resample", ["bilinear", "nearest"])
@pytest.mark.parametrize("combine", [Switch, Layers, lambda both: Layers(both[::-1])])
def test_beside_a_policy_that_stretches_objects_are_copied(combine, resample):
    policy = combine([Mosaic(resample=resample), CopyBlend(2, 10, low=0, high=0)])
    x = np.random.default_rng(0).integers(0, 255, (6, 1, 24, 32)).astype(np.float32)
    for step in range(12):  # rows of either alone, and of both
        plan = draw(policy, things(), step)
        assert plan.resample == resample
        np.testing.assert_allclose(bm.mix(x, plan, "NCHW"), oracle.mix(x, plan, "NCHW"), atol=1e-3)


def test_a_value():
    policy = CopyBlend(2, 50, 0.4, 0.6, [0.1, 0.25])
    assert eval(repr(policy)) == policy == pickle.loads(pickle.dumps(policy))
    assert len({policy, eval(repr(policy))}) == 1
    assert policy.layers == 2


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: CopyBlend(0), "got objects=0"),
        (lambda: CopyBlend(17), "from 1 to 16"),
        (lambda: CopyBlend(1.5), "got objects=1.5"),
        (lambda: CopyBlend(min_area=-1), "got min_area=-1"),
        (lambda: CopyBlend(min_area="a"), "got min_area='a'"),
        (lambda: CopyBlend(low=0.9), "low=0.9 and high=0.55"),
        (lambda: CopyBlend(expand=(0.3, 0.1)), "got expand=(0.3, 0.1)"),
        (lambda: CopyBlend(expand=0.1), "got expand=0.1"),
        (lambda: draw(CopyBlend(), things(), size={"T": 9}), "lie on H and W"),
        (lambda: draw(CopyBlend(), things()[0]), "has shape (3, 5)"),
        (lambda: draw(CopyBlend(), things()[..., :3]), "has shape (6, 3, 3)"),
        (lambda: draw(CopyBlend(), np.full((6, 1, 4), [0.1, 0.1, 0.9, 0.9])), "between 0 and 1"),
        (lambda: bm.draw(CopyBlend(), bm.Key(0), 4, HW), "reads 'boxes'"),
    ],
)
def test_what_does_not_fit_is_said(make, says):
    with pytest.raises(bm.MixError) as error:
        make()
    assert says in str(error.value)
