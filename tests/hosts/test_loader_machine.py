"""A MixLoader through any order of calls: passes that end, break off, fail, are saved, go on."""

import json
import multiprocessing
import pickle
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from torch.utils.data import DistributedSampler

import batchmix as bm
import oracle
from batchmix.adapters.torch import MixLoader
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, MixUp, Schedule, Switch
from checks import RUNS, assert_mixed

COUNT, SIZE = 22, (4, 6)
POLICY = Switch([MixUp(1.0), CutMix(1.0)])
ENDING = Schedule.off_after(POLICY, epoch=2)  # looks at the epoch
FIELDS = {0: Image("NHWC"), 1: Labels(COUNT)}
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, *SIZE, 3), np.uint8)
EPOCHS = st.integers(0, 4)


class Rows(torch.utils.data.Dataset):
    """Each row has its number beside it; while `failing` is set no row can be read."""

    failing = multiprocessing.Value("b", 0)  # seen by workers that run already

    def __len__(self):
        return COUNT

    def __getitem__(self, row):
        if self.failing.value == 1:
            raise OSError("the disk is gone")
        return PIXELS[row], row, row


def collate(rows):
    """A function of the user's own, which may fail too."""
    if Rows.failing.value == 2:
        raise OSError("the disk is gone")
    return torch.utils.data.default_collate(rows)


class Loading(RuleBasedStateMachine):
    """What the documentation says of the next pass, and of the one that goes on."""

    orders: ClassVar = {}  # of shuffled rows: one for all loaders of a seed, an epoch and batches
    most = 0  # workers

    @initialize(
        batch=st.sampled_from([1, 4, 5]),
        order=st.sampled_from(["plain", "shuffled", "shared"]),
        drop_last=st.booleans(),
        seed=st.sampled_from([None, 0, 3]),
        ending=st.booleans(),
        own=st.booleans(),
        workers=st.integers(0, 2),
    )
    def begin(self, batch, order, drop_last, seed, ending, own, workers):
        self.batch, self.way, self.drop_last, self.given = batch, order, drop_last, seed
        self.policy, self.collate = ENDING if ending else POLICY, collate if own else None
        self.rank, rows = (1, COUNT // 2) if order == "shared" else (0, COUNT)
        self.length = rows // batch if drop_last else -(-rows // batch)
        self.rows = rows
        self.seed, self.epoch, self.told, self.skip, self.order = seed or 0, 0, True, 0, 0
        self.at = self.resumed = self.passing = None
        self.loader = self.made(workers)

    def made(self, workers=0, batch=None):
        mixer = bm.Mixer(
            self.policy, FIELDS, **({} if self.given is None else {"seed": self.given})
        )
        options = {"shuffle": True} if self.way == "shuffled" else {}
        if self.way == "shared":
            options["sampler"] = DistributedSampler(Rows(), 2, 1, drop_last=True)
        workers = min(workers, self.most)
        options |= {"num_workers": workers, "persistent_workers": workers > 0}
        return MixLoader(
            Rows(), mixer, batch_size=batch or self.batch, drop_last=self.drop_last,
            collate_fn=self.collate, **options,
        )  # fmt: skip

    def teardown(self):
        Rows.failing.value = 0
        self.passing = None

    # what is expected --------------------------------------------------------------------------

    def expected(self):
        epoch, told, step = self.at or (self.epoch, self.told, self.skip)
        untold = {} if told else {"told": False, "order": self.order}
        place = {"seed": self.seed, "epoch": epoch, "step": step} | untold
        return place | {"batches": self.length, "batch_size": self.batch}

    @invariant()
    def state(self):
        if hasattr(self, "loader"):
            assert self.loader.state_dict() == self.expected()

    def check(self, given):
        """A batch is the one of its number, and its labels match its pixels."""
        images, targets, ids = (part.numpy() for part in given)
        epoch, _, step = self.at if self.linked else self.left
        first = step * self.batch
        assert len(ids) == min(self.batch, self.rows - first)
        assert ids.tolist() == self.wanted(epoch, ids)[first : first + self.batch]
        key = bm.Key(self.seed, epoch, step, self.rank)
        plan = bm.draw(self.policy, key, len(ids), dict(zip("HW", SIZE)))
        assert_mixed(images.astype(float), PIXELS[ids], plan, "NHWC", "uint8")
        np.testing.assert_allclose(targets, oracle.labels(ids, plan, COUNT), atol=1e-6)

    def wanted(self, epoch, ids):
        """The order of all rows."""
        if self.way == "plain":
            return list(range(COUNT))
        if self.way == "shared":
            sampler = DistributedSampler(Rows(), 2, 1, drop_last=True)
            sampler.set_epoch(self.begun_at)
            return list(sampler)
        key = self.seed, epoch, self.batch, self.drop_last
        if key not in self.orders:
            other = self.made()
            other.load_state_dict(self.expected() | {"seed": self.seed, "epoch": epoch, "step": 0})
            self.orders[key] = [int(k) for _, _, some in other for k in some]
        return self.orders[key]

    # passes ------------------------------------------------------------------------------------

    def begun(self):
        """Begin a pass, unless one goes on; whether it was refused."""
        if self.passing is not None:
            return False
        self.passing = iter(self.loader)
        if self.resumed and self.epoch == self.resumed[0] + 1:
            with pytest.raises(bm.MixError, match="was broken off, and another one begins"):
                next(self.passing)
            self.passing = None
            return True
        self.begun_at = self.order
        self.at, self.linked = (self.epoch, self.told, self.skip), True
        self.epoch, self.told, self.skip = self.epoch + 1, False, 0
        return False

    def unlinked(self):
        """The pass that goes on is not the loader's any more."""
        if self.passing is not None and self.linked:
            self.left, self.linked = self.at, False
        self.at = None

    @rule(count=st.integers(1, 8))
    def take(self, count):
        if self.begun():
            return
        for _ in range(count):
            epoch, told, step = place = self.at if self.linked else self.left
            if step == self.length:
                with pytest.raises(StopIteration):
                    next(self.passing)
                self.passing = None
                return
            if self.policy is ENDING and not told:
                with pytest.raises(bm.MixError, match="nobody has told it"):
                    next(self.passing)
                self.passing = None
                return
            self.check(next(self.passing))
            self.given_out((epoch, told, step + 1), place)

    def given_out(self, now, place):
        if not self.linked:
            self.left = now
            return
        self.at = now
        if now[2] == self.length:
            self.epoch, self.told, self.order = now[0] + 1, now[1], self.order + 1
            self.resumed, self.left, self.linked, self.at = None, now, False, None

    @rule()
    def look(self):
        self.take(1)
        self.passing = None

    @rule()
    def to_the_end(self):
        self.take(COUNT + 1)

    @rule(where=st.sampled_from([1, 2]))
    def fail(self, where):
        """Of a batch that could not be read the next run knows that it was not given out."""
        if (where == 2 and self.collate is None) or (self.loader.num_workers and self.passing):
            return
        if self.begun():
            return
        if (self.at if self.linked else self.left)[2] == self.length:
            return
        Rows.failing.value = where
        with pytest.raises((OSError, bm.MixError)):
            next(self.passing)
        Rows.failing.value, self.passing = 0, None

    @rule(epoch=EPOCHS, sampler=st.booleans())
    def set_epoch(self, epoch, sampler):
        tell = (self.loader.sampler if sampler else self.loader).set_epoch
        if self.resumed and epoch < self.resumed[0]:
            with pytest.raises(bm.MixError, match="was loaded"):
                tell(epoch)
            return
        tell(epoch)
        self.unlinked()
        if self.resumed and epoch > self.resumed[0]:
            self.resumed = None
        self.epoch, self.told, self.order = epoch, True, epoch
        self.skip = self.resumed[1] if self.resumed else 0

    # states ------------------------------------------------------------------------------------

    def went_on(self, state, workers):
        """In a fresh process."""
        self.passing, self.loader = None, self.made(workers)
        self.loader.load_state_dict(state)
        self.seed, self.epoch, self.skip = (state[name] for name in ("seed", "epoch", "step"))
        self.told, self.order = state.get("told", True), state.get("order", self.epoch)
        self.resumed, self.at = (self.epoch, self.skip), None

    @rule(
        way=st.sampled_from([dict, lambda s: json.loads(json.dumps(s)), pickle.loads]),
        workers=st.integers(0, 2),
    )
    def save_and_load(self, way, workers):
        state = self.loader.state_dict()
        self.went_on(way(pickle.dumps(state) if way is pickle.loads else state), workers)

    @rule(epoch=EPOCHS, step=st.integers(0, 30), seed=st.integers(0, 9), workers=st.integers(0, 2))
    def load_another(self, epoch, step, seed, workers):
        """A state of a run like this one."""
        state = self.expected() | {"seed": seed, "epoch": epoch, "step": step}
        if step >= self.length or self.given not in (None, seed):
            with pytest.raises(bm.MixError):
                self.loader.load_state_dict(state)
        else:
            self.went_on(state, workers)

    @rule(wrong=st.sampled_from([{"step": -1}, {"epoch": 0.5}, {"batches": None}, {"more": 1}]))
    def refused_state(self, wrong):
        with pytest.raises(bm.MixError):
            self.loader.load_state_dict(self.loader.state_dict() | wrong)

    @rule()
    def of_another_batch_size(self):
        state, other = self.loader.state_dict(), self.made(batch=self.batch + 1)
        before = other.state_dict()
        if state["step"]:
            with pytest.raises(bm.MixError, match="in the middle of an epoch"):
                other.load_state_dict(state)
            assert other.state_dict() == before
        else:
            other.load_state_dict(state)
            assert other.state_dict()["epoch"] == state["epoch"]

    @rule(epoch=st.sampled_from([-1, 1.5, "2", None]))
    def refused_epoch(self, epoch):
        with pytest.raises(bm.MixError):
            self.loader.set_epoch(epoch)


class InWorkers(Loading):
    """The same, where most passes are mixed in other processes."""

    most = 2


TestLoading = Loading.TestCase
TestLoading.settings = RUNS
# torch: a pass that is dropped closes the pipes of its workers under the thread that writes to them
DROPPED = [
    f"ignore::pytest.{name}"
    for name in ("PytestUnraisableExceptionWarning", "PytestUnhandledThreadExceptionWarning")
]
# a process takes a second to begin
TestInWorkers = pytest.mark.filterwarnings(*DROPPED)(InWorkers.TestCase)
TestInWorkers.settings = settings(RUNS, max_examples=max(4, RUNS.max_examples // 20))
