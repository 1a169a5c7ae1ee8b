"""ClassMix and CopyPaste: what is pasted is whole regions of the partner, and labels follow."""

import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import batchmix as bm
import oracle
from batchmix.fields import Mask
from batchmix.pairing import Other, OtherClass, Reverse
from batchmix.policies import ClassMix, CopyPaste, CutMix, PerBatch, Sometimes, Switch, _regions

HW = {"H": 6, "W": 7}
NAMES = {ClassMix: "mask", CopyPaste: "instances"}


def maps(rows=8, ids=5, size=(6, 7), seed=0, dtype=np.int64):
    """Blocks of ids, as masks have them."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, ids, (rows, *[(n + 1) // 2 for n in size]))
    for axis, n in enumerate(size):
        blocks = blocks.repeat(2, axis + 1).take(range(n), axis + 1)
    return blocks.astype(dtype)


def draw(policy, given, step=0, size=HW, name=None, **more):
    """At one of many keys, with the hint that the policy reads."""
    name = name or next(iter(policy.reads))
    return bm.draw(policy, bm.Key(5, 0, step), len(given), size, hints={name: given}, **more)


def pasted(plan, given, row):
    """The ids of the partner that are pasted, after a check that they are so as a whole."""
    theirs, shown = given[plan.partner[row]], plan.mask[row]
    assert set(np.unique(shown)) <= {0, 255}
    inside = set(theirs[shown == 255].tolist())
    assert not inside & set(theirs[shown == 0].tolist())
    assert bool(inside) == bool(plan.opacity[row])
    return inside


@pytest.mark.parametrize("policy", [ClassMix(), ClassMix(ignore=3)])
def test_classmix_pastes_half_of_the_partners_classes(policy):
    y = maps()
    for step in range(20):
        plan = draw(policy, y, step)
        assert plan.mask.dtype == np.uint8
        for row in range(len(y)):
            there = set(y[plan.partner[row]].ravel().tolist()) - {policy.ignore}
            chosen = pasted(plan, y, row)
            assert len(chosen) == len(there) // 2
            assert chosen <= there


def test_classmix_picks_every_half_equally_often():
    y = np.tile([3, 5, 5, 8, 9], (2, 1))
    counts = {}
    for step in range(1200):
        chosen = frozenset(pasted(draw(ClassMix(), y, step, {"T": 5}), y, 0))
        counts[chosen] = counts.get(chosen, 0) + 1
    assert len(counts) == 6
    assert stats.chisquare([*counts.values()]).pvalue > 1e-4


def test_classmix_by_its_published_rule():
    """For its own draws: unique classes, half of them, and a cell is theirs if its class is in."""
    y = maps(rows=6)
    plan = draw(ClassMix(), y)
    mixed = Mask("NHW")(y, plan)
    for row, partner in enumerate(plan.partner):
        chosen = pasted(plan, y, row)
        want = np.array(
            [[t if t in chosen else o for t, o in zip(*two)] for two in zip(y[partner], y[row])]
        )
        np.testing.assert_array_equal(mixed[row], want)


def test_copypaste_pastes_each_instance_with_its_probability():
    ids = np.tile([0, 1, 1, 2, 0, 7], (2, 1))
    for prob in (0, 0.3, 1):
        seen = [pasted(draw(CopyPaste(prob), ids, step, {"T": 6}), ids, 0) for step in range(800)]
        assert all(0 not in one for one in seen)
        for k in (1, 2, 7):
            assert np.mean([k in one for one in seen]) == pytest.approx(prob, abs=0.06)
        both = np.mean([{1, 7} <= one for one in seen])
        assert both == pytest.approx(prob**2, abs=0.06)


def test_copypaste_leaves_small_instances_out():
    ids = np.tile([1, 2, 2, 3, 3, 3, 0], (4, 1))
    for least, want in ((0, {1, 2, 3}), (1, {1, 2, 3}), (2, {2, 3}), (3, {3}), (4, set())):
        plan = draw(CopyPaste(1.0, min_area=least), ids, size={"T": 7})
        assert all(pasted(plan, ids, row) == want for row in range(4))


@pytest.mark.parametrize("policy", [ClassMix(), CopyPaste(0.7), Sometimes(CopyPaste(), 0.5)])
@pytest.mark.parametrize("size", [(6, 7), (9,), (3, 4, 5), (1, 1)])
def test_pixels_and_labels_are_those_of_the_oracle(policy, size):
    axes = "DHW"[-len(size) :]
    given = maps(size=size)
    plan = draw(policy, given, size=dict(zip(axes, size)))
    x = np.random.default_rng(1).integers(0, 256, (8, *size, 3)).astype(np.uint8)
    mask = plan.mask / np.float32(255)
    unpacked = bm.Plan(plan.partner, plan.box, plan.opacity, plan.axes, plan.size, mask=mask)
    exact = oracle.mix(x, unpacked, f"N{axes}C")
    np.testing.assert_array_equal(bm.mix(x, plan, f"N{axes}C"), exact)
    np.testing.assert_allclose(plan.lam, oracle.lam(unpacked), atol=1e-6)
    np.testing.assert_allclose(plan.lam, 1 - plan.opacity * mask.reshape(8, -1).mean(1), atol=1e-6)


@pytest.mark.parametrize("policy", [ClassMix(), CopyPaste()])
def test_ids_of_any_size_give_the_same_draw(policy, monkeypatch):
    """Small ids are places, larger ones numbered by a table, the largest by sorting."""
    ids = maps()
    plan = draw(policy, ids)
    for other in (ids.astype(np.uint8), ids * 7, ids * 10_000_000, ids * 10**12):
        np.testing.assert_array_equal(draw(policy, other).mask, plan.mask)
    if isinstance(policy, ClassMix):
        for other in (ids - 100, ids - 10**9, (ids - 5).astype(np.int8)):
            np.testing.assert_array_equal(draw(policy, other).mask, plan.mask)
    monkeypatch.setattr(_regions, "_AT_ONCE", 42 * 3)  # in several blocks, the last one smaller
    np.testing.assert_array_equal(draw(policy, ids).mask, plan.mask)


def test_no_other_row_of_the_batch_decides_what_a_row_may_get():
    y = maps(rows=2)
    y[1] = 999  # one class: it has nothing to give
    plan = draw(ClassMix(), y, pairing=Reverse())
    assert plan.lam[0] == 1
    assert plan.lam[1] < 1


@pytest.mark.parametrize("policy", [ClassMix(), CopyPaste()])
def test_partners_from_another_batch(policy):
    own, theirs = maps(rows=3), maps(rows=5, seed=9)
    name = NAMES[type(policy)]
    plan = draw(policy, own, other=Other(5, {name: theirs}))
    for row in range(3):
        pasted(plan, theirs, row)


@pytest.mark.parametrize("policy", [ClassMix(), CopyPaste()])
@pytest.mark.parametrize("batch", [0, 1])
def test_batches_of_no_row_and_of_one(policy, batch):
    plan = draw(policy, maps(rows=batch))
    assert plan.lam.tolist() == [1] * batch
    assert plan.mask.shape == (batch, 6, 7)


def test_within_other_policies():
    y = maps(rows=40)
    switched = Switch([ClassMix(), CutMix()])
    assert switched.reads == ("mask",)
    plan = draw(switched, y, name="mask")
    for row in np.flatnonzero(plan.kind == 0):
        pasted(plan, y, row)
    shared = draw(PerBatch(ClassMix()), y, name="mask")
    assert (shared.mask == shared.mask[0]).all()
    pasted(shared, y, 0)


def test_with_a_pairing_that_reads_too():
    y, label = maps(), np.arange(8) % 2
    hints = {"mask": y, "label": label}
    plan = bm.draw(ClassMix(), bm.Key(0), 8, HW, pairing=OtherClass(), hints=hints)
    assert (label[plan.partner] != label).all()


@given(st.integers(0, 99), st.integers(1, 6), st.integers(0, 6))
def test_law_labels_match_cells(step, ids, rows):
    """Fill row i with the constant i: the share of each constant is the weight of its label."""
    given = maps(rows=rows, ids=ids, seed=step)
    for policy in (ClassMix(), CopyPaste()):
        plan = draw(policy, given, step)
        x = np.broadcast_to(np.arange(rows)[:, None, None], given.shape).astype(np.uint8)
        mixed = bm.mix(np.ascontiguousarray(x), plan, "NHW")
        for row in range(rows):
            assert np.mean(mixed[row] == row) == pytest.approx(plan.lam[row], abs=1e-6)


@pytest.mark.parametrize("policy", [ClassMix(), CopyPaste()])
@pytest.mark.parametrize(
    "given", [np.zeros((4, 6, 7)), np.zeros((4, 6, 6), int), np.zeros((4, 7, 6), int),
              np.zeros(4, int), np.zeros((4, 6, 7, 1), int), np.full((4, 6, 7), "a")]
)  # fmt: skip
def test_hints_that_are_no_maps(policy, given):
    with pytest.raises(bm.MixError, match="map of ids"):
        draw(policy, given)


@pytest.mark.parametrize("policy", [ClassMix(), CopyPaste()])
def test_without_axes_or_hints(policy):
    with pytest.raises(bm.MixError, match="map of ids"):
        draw(policy, np.zeros(4, int), size={})
    with pytest.raises(bm.MixError, match=f"reads {NAMES[type(policy)]!r}"):
        bm.draw(policy, bm.Key(0), 4, HW)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ClassMix(ignore=2.5),
        lambda: ClassMix("255"),
        lambda: CopyPaste(1.1),
        lambda: CopyPaste(-0.1),
        lambda: CopyPaste(np.nan),
        lambda: CopyPaste("0.5"),
        lambda: CopyPaste(0.5, -1),
        lambda: CopyPaste(0.5, 1.5),
    ],
)
def test_wrong_parameters(make):
    with pytest.raises(bm.MixError, match=r"ClassMix|CopyPaste"):
        make()


@pytest.mark.parametrize("policy", [ClassMix(ignore=255), CopyPaste(0.3, min_area=9)])
def test_they_are_values(policy):
    assert pickle.loads(pickle.dumps(policy)) == policy == eval(repr(policy))
    assert hash(policy) == hash(pickle.loads(pickle.dumps(policy)))


@pytest.mark.parametrize(
    ("policy", "digest"), [(ClassMix(), "92561e58b7e7c5f6"), (CopyPaste(0.3), "79685290c4adb1b4")]
)
def test_streams_are_frozen(policy, digest):
    plan = draw(policy, maps(rows=33, ids=9), 3)
    parts = (plan.partner, plan.box, plan.opacity, plan.mask)
    data = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
    assert hashlib.sha256(data).hexdigest()[:16] == digest


def test_instances_may_be_masks():
    """One for each; where two overlap the last counts."""
    ids = np.array([[1, 1, 0, 2, 2], [0, 3, 3, 0, 1]])
    masks = np.stack([ids == k for k in (1, 2, 3)], 1)
    masks[0, 0, 3] = True  # under the second
    size = {"T": 5}
    for step in range(20):
        plans = [
            bm.draw(CopyPaste(), bm.Key(0, 0, step), 2, size, hints={"instances": given})
            for given in (ids, masks, masks.astype(np.float32))
        ]
        np.testing.assert_array_equal(plans[0].mask, plans[1].mask)
        np.testing.assert_array_equal(plans[0].mask, plans[2].mask)
