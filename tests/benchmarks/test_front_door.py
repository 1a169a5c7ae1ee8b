"""The front door's lines: each is what it says, and right."""

import numpy as np
import pytest

import batchmix as bm
import cases as c
import child
import front_door
import peers
from batchmix.pairing import Derangement

TINY = (4, 3, 8, 8)


@pytest.fixture
def batch():
    return c.Batch.random(TINY, classes=10)


def lines(batch, *libraries):
    """Each with its verdict."""
    modules = {library: peers.load(library) for library in libraries}
    return {
        (case.library, case.work, case.how): (case, child._checked(batch, case)["check"])
        for case in front_door.cases(batch, modules)
    }


def test_a_mixer_beside_the_same_by_hand(batch):
    found = lines(batch)
    assert {library for library, _, _ in found} == {"batchmix"}
    for work in front_door.POLICIES:
        for how in ("in place, Mixer", "in place, by hand", "new array, Mixer"):
            case, verdict = found["batchmix", work, how]
            assert verdict["right"]
            assert verdict["labels"] is not None
            pixels, labels, *_ = case.call()
            assert labels.shape == (4, 10)
            assert (pixels is batch.work) == how.startswith("in place")


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_drop_ins_beside_what_they_replace(batch, library):
    pytest.importorskip(library)
    found = lines(batch, library)
    theirs = {work: verdict for (name, work, _), (_, verdict) in found.items() if name == library}
    drop_ins = {
        work: verdict
        for (_, work, how), (_, verdict) in found.items()
        if how.endswith(f"adapters.{library}")
    }
    assert set(theirs) == set(drop_ins)
    assert all(verdict["right"] for verdict in [*theirs.values(), *drop_ins.values()])


def test_the_input_is_kept_where_a_new_array_is_made(batch):
    before = batch.x.clone()
    lines(
        batch, *(name for name in ("timm", "torchvision") if not isinstance(peers.load(name), str))
    )
    assert (batch.x == before).all()


def test_the_random_numbers_are_those_that_a_plan_needs(monkeypatch):
    """What is drawn by `bm.draw` and what by the bare calls: as many numbers, from one stream."""
    cases = {(case.library, case.work): case for case in front_door.draws(256, {"H": 8, "W": 8})}
    assert {work for _, work in cases} == {c.MIXUP_ROWS, c.CUTMIX_ROWS, c.ROWS}
    numbers = {work: case.call() for (library, work), case in cases.items() if library == "NumPy"}
    for work, count in ((c.MIXUP_ROWS, 1), (c.CUTMIX_ROWS, 3), (c.ROWS, 5)):
        *uniform, order = numbers[work]
        assert sum(found.size for found in uniform) == 256 * count
        assert sorted(order) == list(range(256))
        plan = cases["batchmix", work].call()
        assert isinstance(plan, bm.Plan)
        assert len(plan) == 256


def test_the_bare_calls_are_at_one_address_after_another():
    numbers = front_door._numbers(c.MIXUP_ROWS, 8, 2)
    first, second = numbers(), numbers()
    assert not np.array_equal(first[0], second[0])
    draw = front_door.plans(front_door.SWITCH, 8, {"H": 8, "W": 8}, Derangement())
    assert not np.array_equal(draw().opacity, draw().opacity)
