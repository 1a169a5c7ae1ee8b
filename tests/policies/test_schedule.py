"""Windows and ramps: what a policy is at each epoch and step."""

import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest

import batchmix as bm
from batchmix.extend import Untold
from batchmix.pairing import Reverse
from batchmix.policies import (
    ClassMix,
    CutMix,
    Layers,
    MixUp,
    PerPair,
    Ramp,
    Schedule,
    Sometimes,
    Switch,
)


def draw(policy, epoch=0, step=0, batch=64, **more):
    return bm.draw(policy, bm.Key(7, epoch, step), batch, {"H": 8, "W": 8}, **more)


def mixed(policy, epochs, by="epoch"):
    return [bool((draw(policy, **{by: n}).lam < 1).any()) for n in epochs]


def test_a_window_is_half_open():
    policy = Schedule.between(MixUp(1.0), 2, 4)
    assert mixed(policy, range(6)) == [False, False, True, True, False, False]
    assert policy == Schedule({2: MixUp(1.0), 4: None})
    assert Schedule.between(MixUp(1.0), 0, 90) == Schedule.off_after(MixUp(1.0), 90)
    by_step = Schedule.between(CutMix(), 1, 2, by="step")
    assert mixed(by_step, range(3), "step") == [False, True, False]


@pytest.mark.parametrize("ends", [(4, 4), (5, 4), (-1, 4), (0.0, 4), (0, "4"), (None, 4)])
def test_a_window_that_is_none(ends):
    with pytest.raises(bm.MixError, match="Schedule"):
        Schedule.between(MixUp(), *ends)


def test_a_window_of_what_is_no_policy():
    with pytest.raises(bm.MixError, match="Schedule"):
        Schedule.between(MixUp, 0, 4)
    with pytest.raises(bm.MixError, match="by"):
        Schedule.between(MixUp(), 0, 4, by="batch")


def test_a_ramp_is_a_straight_line_between_its_ends():
    ramp = Ramp(MixUp(dominant=True), "alpha", 0.25, 1.25, first=10, last=18)
    alphas = [ramp.at(n).alpha for n in (0, 9, 10, 11, 14, 17, 18, 19, 1000)]
    assert alphas == [0.25, 0.25, 0.25, 0.375, 0.75, 1.125, 1.25, 1.25, 1.25]
    assert all(ramp.at(n).dominant for n in range(20))
    assert Ramp(MixUp(), "alpha", 1.0, 0.5, last=2).at(1).alpha == 0.75


@pytest.mark.parametrize("by", ["epoch", "step"])
def test_a_ramp_draws_what_its_policy_draws_there(by):
    ramp = Ramp(MixUp(), "alpha", 0.1, 4, last=40, by=by)
    for n in (0, 7, 40, 99):
        want, got = draw(ramp.at(n), **{by: n}), draw(ramp, **{by: n})
        np.testing.assert_array_equal(got.opacity, want.opacity)
    other = {"step": 20} if by == "epoch" else {"epoch": 20}
    np.testing.assert_array_equal(draw(ramp, **other).opacity, draw(MixUp(0.1), **other).opacity)


def test_a_ramp_of_how_often():
    ramp = Ramp(Sometimes(MixUp(1.0), 1), "prob", 0, 1, last=10)
    rates = [(draw(ramp, n, batch=4000).kind == 0).mean() for n in (0, 5, 10)]
    assert rates == pytest.approx([0, 0.5, 1], abs=0.03)


def test_ramps_and_other_policies_in_each_other():
    alpha = Ramp(MixUp(), "alpha", 0.5, 2, last=4)
    often = Ramp(Sometimes(alpha, 1), "prob", 0, 1, last=4)
    assert often.at(2) == Sometimes(alpha, 0.5)
    both = Switch([often, Schedule.between(CutMix(), 0, 3)])
    assert [draw(both, n).kind.max() for n in (0, 2, 4)] == [1, 1, 0]
    assert draw(PerPair(alpha), 1, pairing=Reverse()).lam.max() <= 1
    layers = Layers([MixUp(), CutMix()])
    assert Schedule({0: layers}).layers == 2


def test_a_ramp_reads_what_its_policy_reads():
    @dataclass(frozen=True)
    class Faded:
        """A user's policy with a number of its own."""

        strength: float = 1.0
        reads = ("mask",)
        layers = 3

        def sample(self, request):
            return ClassMix().sample(request)

    ramp = Ramp(Faded(), "strength", 0, 1, last=3)
    assert ramp.reads == ("mask",)
    assert ramp.layers == 3
    assert ramp.at(3) == Faded(1.0)


@dataclass(frozen=True)
class NoNumber:
    """A user's policy whose part is no number."""

    inner: object = None

    def sample(self, request):
        return self.inner.sample(request)


@dataclass(frozen=True)
class Derived:
    """A user's policy with a part that follows from others."""

    half: float = field(init=False, default=0.5)

    def sample(self, request):
        return MixUp().sample(request)


class Plain:
    """A user's policy that is no dataclass."""

    alpha = 1.0

    def sample(self, request):
        return MixUp().sample(request)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Ramp(MixUp, "alpha", 0.1, 1, last=5),
        lambda: Ramp(Plain(), "alpha", 0.1, 1, last=5),
        lambda: Ramp(Derived(), "half", 0.1, 1, last=5),
        lambda: Ramp(MixUp(), "beta", 0.1, 1, last=5),
        lambda: Ramp(MixUp(), "alpha", 0, 1, last=5),
        lambda: Ramp(MixUp(), "alpha", 0.1, -1, last=5),
        lambda: Ramp(MixUp(), "dominant", 0, 1, last=5),
        lambda: Ramp(Sometimes(MixUp(), 1), "prob", 0, 1.5, last=5),
        lambda: Ramp(Sometimes(MixUp(), 1), "policy", 0, 1, last=5),
        lambda: Ramp(MixUp(), "alpha", 0.1, 1, last=0),
        lambda: Ramp(MixUp(), "alpha", 0.1, 1, last=5, first=5),
        lambda: Ramp(MixUp(), "alpha", 0.1, 1, last=5, first=-1),
        lambda: Ramp(MixUp(), "alpha", 0.1, 1, last=5.5),
        lambda: Ramp(MixUp(), "alpha", 0.1, 1, last=5, by="batch"),
        lambda: Ramp(MixUp(), "alpha", "0.1", 1, last=5),
        lambda: Ramp(NoNumber(), "inner", np.nan, 1, last=5),
        lambda: Ramp(MixUp(), "alpha", 0.1, np.inf, last=5),
    ],
)
def test_ramps_that_are_none(make):
    with pytest.raises(bm.MixError):
        make()


def test_an_epoch_that_nobody_told_is_refused():
    ramp = Ramp(MixUp(), "alpha", 0.1, 1, last=5)
    key = bm.Key(0, epoch=Untold(0))
    with pytest.raises(bm.MixError, match="nobody has told"):
        bm.draw(ramp, key, 2, {})


@pytest.mark.parametrize(
    "policy",
    [Ramp(MixUp(), "alpha", 0.1, 1, last=5), Schedule.between(CutMix(), 4, 64),
     Ramp(Sometimes(Switch([MixUp(), CutMix()]), 1), "prob", 0, 1, last=9, by="step")],
)  # fmt: skip
def test_they_are_values(policy):
    assert pickle.loads(pickle.dumps(policy)) == policy == eval(repr(policy))
    assert hash(policy) == hash(pickle.loads(pickle.dumps(policy)))
