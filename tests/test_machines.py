"""A Mixer through any order of calls, told, saved, forked, refused: always at its address."""

import copy
import functools
import json
import os
import pickle

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import batchmix as bm
import oracle
from batchmix.extend import Untold
from batchmix.fields import Grid, Image, Labels, Mask
from batchmix.policies import CutMix, MixUp, Schedule
from checks import PAIRINGS, POLICIES, RUNS, assert_mixed
from conftest import ASKED, MAKERS

CLASSES = 5
ENDING = {"ending": Schedule({0: MixUp(1.0), 1: CutMix(), 2: None})}  # looks at the epoch
EPOCHS = st.one_of(st.integers(0, 3), st.sampled_from([2**63, 2**64 - 1, 2**64]))
ROWS = st.integers(0, 7)
SIZES = st.sampled_from([(4, 6), (1, 1), (5, 3)])
GIVEN = st.booleans()


class Trap:
    """A field that fails while the class is armed."""

    armed = False

    def __call__(self, value, plan, other=None):
        if Trap.armed:
            raise RuntimeError("sprung")
        return value


FIELDS = {"x": Image("NCHW"), "m": Mask("NHW"), "whose": Grid("NHW"), "y": Labels(CLASSES)}
FIELDS |= {"trap": Trap()}


def batch_of(xp, rows, size, dtype="uint8", seed=0):
    """Of frames, masks, and an image that is filled with the number of its class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, rows)
    return {
        "x": xp.array(rng.integers(0, 256, (rows, 2, *size)), dtype),
        "m": xp.ids(rng.integers(0, 99, (rows, *size)).reshape(rows, *size)),
        "whose": xp.array(y[:, None, None] * np.ones((1, *size)), "float64"),
        "y": xp.ids(y),
        "trap": 0,
        "name": "kept",
    }


def plain(xp, batch):
    return {k: np.copy(xp.numpy(v)) if hasattr(v, "dtype") else v for k, v in batch.items()}


def chosen(plan):
    """The plan of ids: in each cell the partner's where more than half of it shows."""
    layers = []
    for one in plan.layers:
        mask = one.mask
        if mask is not None:
            share = mask / 255 if mask.dtype == np.uint8 else mask
            mask = one.opacity.reshape(-1, *[1] * (mask.ndim - 1)) * share > 0.5
        layers.append(
            bm.Plan(
                one.partner, one.box, one.opacity > 0.5, one.axes, one.size,
                mask=None if mask is None else mask.astype(np.float32), source=one.source,
            )
        )  # fmt: skip
    return functools.reduce(bm.Plan.then, layers)


def spoiled(xp, batch, how):
    """A batch of two rows or more with one thing wrong, and what else is said in the call."""
    rows, _, height, width = batch["x"].shape
    wrong = {
        "class": {"y": xp.ids([CLASSES] * rows)},
        "labels": {"y": xp.ids([0] * (rows + 1))},
        "mask": {"m": xp.ids(np.zeros((rows, height + 1, width), int))},
        "layout": {"x": xp.array(np.zeros((rows, height, width)), "uint8")},
        "dtype": {"whose": xp.ids(np.zeros((rows, height, width), int))},
        "array": {"x": None},
    }.get(how, {})
    said = {
        "epoch": {"epoch": -1}, "half": {"epoch": 1.5}, "step": {"step": -1},
        "word": {"step": "1"}, "other": {"other": batch_of(xp, rows, (height, width + 1))},
    }.get(how, {})  # fmt: skip
    batch = batch | wrong
    if how == "missing":
        del batch["whose"]
    return batch, said


SPOILED = [
    "class", "labels", "mask", "layout", "dtype", "array", "epoch", "half", "step", "word", "other",
    "missing",
]  # fmt: skip


class Mixing(RuleBasedStateMachine):
    """`at` is the address of the next batch as the documentation says."""

    @initialize(
        name=st.sampled_from(ASKED),
        policy=st.sampled_from(sorted(POLICIES | ENDING)),
        pairing=st.sampled_from(sorted(PAIRINGS)),
        seed=st.sampled_from([None, 0, 7, 2**70]),
        rank=st.sampled_from([None, 0, 2]),
        inplace=GIVEN,
    )
    def begin(self, name, policy, pairing, seed, rank, inplace):
        self.xp = MAKERS[name]()
        self.options = {"policy": (POLICIES | ENDING)[policy], "fields": FIELDS, "rank": rank}
        self.options |= {"pairing": PAIRINGS[pairing], "inplace": inplace}
        self.given = {} if seed is None else {"seed": seed}
        self.mixer = bm.Mixer(**self.options, **self.given)
        self.at = bm.Key(seed or 0, Untold(0), 0, rank or 0)

    def teardown(self):
        Trap.armed = False

    # what the mixer should be ------------------------------------------------------------------

    def plan(self, key, rows, size):
        """The truth: a pure function of the address; None where it is refused."""
        policy, pairing = self.options["policy"], self.options["pairing"]
        try:
            return bm.draw(policy, key, rows, dict(zip("HW", size)), pairing=pairing)
        except bm.MixError:
            return None

    def check(self, call, key, rows, size, seed, dtype="uint8"):
        """What `call` makes of a batch is what the plan at `key` does; whether there is one."""
        xp, batch = self.xp, batch_of(self.xp, rows, size, dtype, seed)
        before, plan = plain(xp, batch), self.plan(key, rows, size)
        if plan is None:
            with pytest.raises(bm.MixError):
                call(batch)
            self.same(batch, before)
            return False
        mixed = call(batch)
        written = self.options["inplace"]
        assert all((mixed[name] is batch[name]) == written for name in ("x", "m", "whose"))
        if not written:
            self.same(batch, before)
        got = plain(xp, mixed)
        assert list(got) == list(before)
        assert_mixed(got["x"], before["x"], plan, "NCHW", dtype)
        assert_mixed(got["whose"], before["whose"], plan, "NHW", "float64")
        np.testing.assert_array_equal(got["m"], oracle.mix(before["m"], chosen(plan), "NHW"))
        labels = oracle.labels(before["y"].astype(int), plan, CLASSES)
        np.testing.assert_allclose(got["y"], labels, atol=1e-6)
        pixels = got["whose"].mean((1, 2))
        np.testing.assert_allclose(got["y"] @ np.arange(CLASSES), pixels, atol=1e-5)
        assert (got["trap"], got["name"]) == (0, "kept")
        return True

    def same(self, batch, before):
        after = plain(self.xp, batch)
        assert list(after) == list(before)
        for name, value in before.items():
            np.testing.assert_array_equal(after[name], value)

    @invariant()
    def state(self):
        """What is said of it, and whether the epoch was told."""
        if hasattr(self, "mixer"):
            seed, epoch, step, _ = self.at
            told = {"told": False} if isinstance(epoch, Untold) else {}
            place = {"seed": seed, "epoch": epoch, "step": step} | told
            assert self.mixer.state_dict() == place

    # what is done with it ----------------------------------------------------------------------

    @rule(
        rows=ROWS, size=SIZES, seed=st.integers(0, 9), dtype=st.sampled_from(["uint8", "float32"])
    )
    def next(self, rows, size, seed, dtype):
        if self.check(self.mixer, self.at, rows, size, seed, dtype):
            self.at = self.at._replace(step=self.at.step + 1)

    @rule(rows=ROWS, size=SIZES, epoch=EPOCHS)
    def next_of_an_epoch(self, rows, size, epoch):
        step = self.at.step if epoch == self.at.epoch else 0
        key = self.at._replace(epoch=epoch, step=step)
        if self.check(lambda batch: self.mixer(batch, epoch=epoch), key, rows, size, 1):
            self.at = key._replace(step=step + 1)

    @rule(rows=ROWS, size=SIZES, step=EPOCHS, epoch=st.none() | EPOCHS)
    def at_an_address(self, rows, size, step, epoch):
        key = self.at._replace(step=step, epoch=self.at.epoch if epoch is None else epoch)
        self.check(lambda batch: self.mixer(batch, step, epoch), key, rows, size, 2)

    @rule(rows=ROWS, size=SIZES, epoch=st.none() | EPOCHS)
    def draw_and_apply(self, rows, size, epoch):
        """A plan that was drawn counts as a batch."""
        key = self.at
        if epoch is not None:
            key = key._replace(epoch=epoch, step=key.step if epoch == key.epoch else 0)

        def call(batch):
            return self.mixer.apply(batch, self.mixer.draw(batch, epoch=epoch))

        if self.check(call, key, rows, size, 3):
            self.at = key._replace(step=key.step + 1)

    @rule(epoch=EPOCHS)
    def set_epoch(self, epoch):
        self.mixer.set_epoch(epoch)
        self.at = self.at._replace(epoch=epoch, step=0)

    @rule(way=st.sampled_from([dict, lambda s: json.loads(json.dumps(s)), copy.deepcopy]))
    def save_and_load(self, way):
        state = way(self.mixer.state_dict())
        self.mixer = bm.Mixer(**self.options, **self.given)
        self.mixer.load_state_dict(state)

    @rule(way=st.sampled_from([copy.copy, copy.deepcopy]))
    def copied(self, way):
        self.mixer = way(self.mixer)

    @rule()
    def pickled(self):
        self.mixer = pickle.loads(pickle.dumps(self.mixer))

    @rule(rank=st.integers(0, 3), rows=ROWS)
    def but(self, rank, rows):
        """Another mixer, at its start; this one stays where it is."""
        other = self.mixer.but(rank=rank)
        assert other.state_dict() == {"seed": self.at.seed, "epoch": 0, "step": 0, "told": False}
        self.check(other, bm.Key(self.at.seed, Untold(0), 0, rank), rows, (4, 6), 4)

    @rule(rows=ROWS, size=SIZES)
    def fork(self, rows, size):
        """A child has a copy, which goes on from here; this one stays where it is."""
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            said = b"it failed"
            try:
                if self.check(self.mixer, self.at, rows, size, 5):
                    self.at = self.at._replace(step=self.at.step + 1)
                self.state()
                said = b"as it should"
            except AssertionError as error:
                said = str(error).encode()
            finally:
                os.write(write, said)
                os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            assert pipe.read() == b"as it should"
        assert os.waitpid(pid, 0) == (pid, 0)

    # what is refused ---------------------------------------------------------------------------

    @rule(
        how=st.sampled_from(SPOILED), rows=st.integers(2, 7), size=SIZES, epoch=st.none() | EPOCHS
    )
    def refused(self, how, rows, size, epoch):
        """No batch counts, no epoch is told, and nothing is written to."""
        batch, said = spoiled(self.xp, batch_of(self.xp, rows, size), how)
        before = plain(self.xp, batch)
        with pytest.raises(bm.MixError):
            self.mixer(batch, **({"epoch": epoch} | said))
        self.same(batch, before)

    @rule(how=st.sampled_from(["epoch", "half", "mask", "missing"]), epoch=st.none() | EPOCHS)
    def refused_draw(self, how, epoch):
        batch, said = spoiled(self.xp, batch_of(self.xp, 3, (4, 6)), how)
        with pytest.raises(bm.MixError):
            self.mixer.draw(batch, **({"epoch": epoch} | said))

    @rule(rows=ROWS, size=SIZES, epoch=st.none() | st.integers(0, 3))
    def a_field_that_fails(self, rows, size, epoch):
        batch = batch_of(self.xp, rows, size)
        before, Trap.armed = plain(self.xp, batch), True
        with pytest.raises((RuntimeError, bm.MixError)):
            self.mixer(batch, epoch=epoch)
        Trap.armed = False
        self.same(batch, before)

    @rule(epoch=st.sampled_from([-1, 1.5, "2", None, float("nan")]))
    def refused_epoch(self, epoch):
        with pytest.raises(bm.MixError):
            self.mixer.set_epoch(epoch)

    @rule(
        wrong=st.sampled_from(
            [{"step": -1}, {"epoch": 0.5}, {"seed": None}, {"step": None}, {"more": 1}]
        )
    )
    def refused_state(self, wrong):
        with pytest.raises(bm.MixError):
            self.mixer.load_state_dict(self.mixer.state_dict() | wrong)
        if self.given:
            with pytest.raises(bm.MixError):
                self.mixer.load_state_dict(self.mixer.state_dict() | {"seed": self.at.seed + 1})

    @rule(weights=st.sampled_from([[float("nan"), 1], [0, 0], [1], [-1, 2], [float("inf"), 1]]))
    def refused_policy(self, weights):
        with pytest.raises(bm.MixError):
            self.mixer.but(policy=bm.policies.Switch([MixUp(), CutMix()], weights))


Mixing.TestCase.settings = RUNS
# beside threads of torch, and where another test has imported JAX
TestMixing = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")(
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")(Mixing.TestCase)
)
