"""torchdata: what its StatefulDataLoader resumes, a MixLoader, a Mixer and their parts do too."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import IterableDataset, get_worker_info
from torchdata.stateful_dataloader import Stateful, StatefulDataLoader

import batchmix as bm
from batchmix.adapters.torch import MixCollate, MixLoader
from hosts.stream import BATCH, COUNT, FIELDS, POLICY, ROWS, Adapter, contract

ROOT = Path(__file__).parents[2]
pytestmark = [
    # torchdata 0.11 calls what newer PyTorch has deprecated
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),
    # four workers on a machine of two cores
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


def mixer():
    return bm.Mixer(POLICY, FIELDS, seed=3)


def assert_same(a, b):
    assert len(a) == len(b)
    for one, two in zip(a, b):
        assert all(torch.equal(x, y) for x, y in zip(one, two, strict=True))


class Stream(IterableDataset):
    """Rows in a row, dealt to the workers, with a state of its own as torchdata asks for it."""

    def __init__(self):
        self.at = 0

    def __iter__(self):
        worker = get_worker_info()
        first, every = (worker.id, worker.num_workers) if worker else (0, 1)
        start, self.at = self.at, 0
        for self.at in range(start, len(range(first, COUNT, every))):
            row = ROWS[first + every * self.at]
            self.at += 1
            yield row
        self.at = 0

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


class Mixed:
    """A StatefulDataLoader and a Mixer beside it, with one state."""

    def __init__(self, data, workers):
        self.mixer = mixer()
        torch.manual_seed(0)  # of the order; a state brings its own
        shuffle = None if isinstance(data, Stream) else True
        self.loader = StatefulDataLoader(data, BATCH, shuffle=shuffle, num_workers=workers)

    def set_epoch(self, epoch):
        if self.mixer.epoch != epoch:  # a state that was loaded is in this epoch already
            self.mixer.set_epoch(epoch)

    def __iter__(self):
        return map(self.mixer, self.loader)

    def state_dict(self):
        return {"loader": self.loader.state_dict(), "mixer": self.mixer.state_dict()}

    def load_state_dict(self, state):
        self.loader.load_state_dict(state["loader"])
        self.mixer.load_state_dict(state["mixer"])


class Parts(StatefulDataLoader):
    """A StatefulDataLoader that mixes in its workers, of the three parts of a MixLoader."""

    def __init__(self, workers=0, rows=ROWS, mix=None, shuffle=True, **options):
        made = MixLoader(rows, mix or mixer(), batch_size=BATCH, shuffle=shuffle)
        parts = {"batch_sampler": made.batch_sampler, "collate_fn": made.collate_fn}
        super().__init__(made.dataset, **{"num_workers": workers} | parts | options)
        self.set_epoch = made.set_epoch


def of_parts(policy, seed, rank, **options):
    options |= {"mix": bm.Mixer(policy, FIELDS, seed=seed, rank=rank), "shuffle": False}
    made = Parts(**options)

    def run(epoch=None, start=0):
        if start:
            first = Parts(**options)
            first.set_epoch(epoch)
            given = iter(first)
            for _ in range(start):
                next(given)
            made.load_state_dict(first.state_dict())
        if epoch is not None:
            made.set_epoch(epoch)
        return list(made)

    return run


@contract(parts=Adapter(of_parts, in_workers=True))
def test_stream(check, adapter):
    check(adapter)


OPTIONS = {"batch_size": BATCH, "shuffle": True}
MAKE = {
    "MixLoader": lambda n: MixLoader(ROWS, mixer(), num_workers=n, **OPTIONS),
    "Mixer": lambda n: Mixed(ROWS, n),
    "Mixer, iterable": lambda n: Mixed(Stream(), n),
    "parts": Parts,
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("way", MAKE)
@pytest.mark.parametrize("stop", [1, 3, 4])
def test_resume_in_the_middle_of_an_epoch(way, workers, stop):
    """Rows and mixes are those of the run that went on, in this epoch and in the next."""
    first = MAKE[way](workers)
    first.set_epoch(0)
    list(first)
    first.set_epoch(1)
    passing = iter(first)
    for _ in range(stop):
        next(passing)
    state = copy.deepcopy(first.state_dict())
    rest = list(passing)
    first.set_epoch(2)
    whole = list(first)

    resumed = MAKE[way](workers)
    torch.manual_seed(7)
    resumed.load_state_dict(state)
    resumed.set_epoch(1)
    found = list(resumed)
    assert len(found) in (6 - stop, 7 - stop)  # streams of two workers end with two short batches
    assert_same(found, rest)
    resumed.set_epoch(2)
    assert_same(list(resumed), whole)


def test_a_collate_function_that_counts_without_workers():
    """With two workers and an odd number of batches its count would be off, as the page says."""
    mix = MixCollate(mixer())
    first = StatefulDataLoader(ROWS, BATCH, collate_fn=mix)
    mix.set_epoch(1)
    passing = iter(first)
    for _ in range(3):
        next(passing)
    state, rest = copy.deepcopy(first.state_dict()), list(passing)
    mix = MixCollate(mixer())
    resumed = StatefulDataLoader(ROWS, BATCH, collate_fn=mix)
    resumed.load_state_dict(state)
    mix.set_epoch(1, step=3)
    assert_same(list(resumed), rest)


def test_a_mix_loader_is_stateful():
    """So torchdata's own tools, and those which look for its protocol, save and load it."""
    loader = MAKE["MixLoader"](0)
    assert isinstance(loader, Stateful)
    assert all(isinstance(value, int) for value in loader.state_dict().values())


def test_the_state_of_a_data_set_is_kept():
    class Counted(list):
        reads = 0

        def __getitem__(self, row):
            self.reads += 1
            return super().__getitem__(row)

        def state_dict(self):
            return {"reads": self.reads}

        def load_state_dict(self, state):
            self.reads = state["reads"]

    first = Parts(0, Counted(ROWS))
    first.set_epoch(0)
    passing = iter(first)
    next(passing), next(passing)
    resumed = Parts(0, Counted(ROWS))
    resumed.load_state_dict(first.state_dict())
    resumed.set_epoch(0)
    assert len(list(resumed)) == 4
    assert resumed.dataset.dataset.reads == COUNT


def test_example():
    words = [sys.executable, "examples/torchdata_resume.py"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("as if it had not stopped") == 2
