"""The contract of everything that gives mixed batches: which mix a batch gets, whoever makes it.

An adapter is here a function ``make(policy, seed, rank, **loader)`` that returns ``run(epoch,
start)``: one pass over `ROWS` in batches of `BATCH` rows, each as (images, targets), by the same
object at each call. `epoch` None: nobody tells it. `start`: that many batches were given before, by
an object of another process that this one goes on for. `loader` are options of a DataLoader.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

import batchmix as bm
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, MixUp, Schedule, Switch

COUNT, BATCH, SIDE = 22, 4, 8
BATCHES = 6  # the last of 2 rows
POLICY = Switch([MixUp(1.0), CutMix(1.0)])
FIELDS = {0: Image("NHWC"), 1: Labels(COUNT)}
# row k is filled with 10 k, so that pixels say whose they are
ROWS = [(np.full((SIDE, SIDE, 3), 10 * k, np.uint8), k) for k in range(COUNT)]

Run = Callable[..., list[Any]]


@dataclass(frozen=True)
class Adapter:
    """One that holds to the contract, and what it cannot do, each for a reason on its page."""

    make: Callable[..., Run]
    in_workers: bool = False  # mixes in the workers of a loader, or before them in this process
    counts: bool = True  # tells passes apart itself; else it refuses those that nobody told
    resumes: bool = True  # `run` takes a `start`
    asks: bool = True  # the process for its rank; else a host, which has tests of its own
    policies: bool = True  # takes any policy; a drop-in has that of its original


def contract(**adapters: Adapter) -> Any:
    """Parametrises ``test(check, adapter)``, which is to call ``check(adapter)``."""
    pairs = [
        pytest.param(check, adapter, id=f"{name}-{check.__name__}")
        for name, adapter in adapters.items()
        for check in CHECKS
    ]
    return pytest.mark.parametrize(("check", "adapter"), pairs)


def collating(counter: Any, collate_fn: Any, rows: Any = ROWS, **options: Any) -> Run:
    """The passes of a loader whose collate function has a count that is told."""
    kept = DataLoader(rows, BATCH, collate_fn=collate_fn, **options)

    def run(epoch: Any = None, start: int = 0) -> list[Any]:
        if epoch is not None:
            counter.set_epoch(epoch, start)
        rest = DataLoader(rows[BATCH * start :], BATCH, collate_fn=collate_fn, **options)
        return list(rest if start else kept)

    return run


def opened(adapter: Adapter, *, policy: Any = POLICY, seed: Any = 3, rank: Any = 0, **loader: Any):
    return adapter.make(policy, seed, rank, **loader)


def same(one: list[Any], two: list[Any]) -> bool:
    assert len(one) == len(two) > 0
    return all(_same(a, b) for a, b in zip(one, two))


def _same(one: Any, two: Any) -> bool:
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(one, two, strict=True))


def differ(one: list[Any], two: list[Any]) -> bool:
    """Whether no batch of one is that of the other at its place."""
    return not any(_same(a, b) for a, b in zip(one, two, strict=True))


def mixed(batches: list[Any]) -> list[bool]:
    return [bool((np.asarray(targets).max(1) < 1).any()) for _, targets in batches]


# the checks ------------------------------------------------------------------------------------


def any_number_of_workers(adapter: Adapter) -> None:
    """0, 1, 2 and 4 give equal batches, started anew or kept, and others in each pass."""
    alone = opened(adapter)
    expected = [alone(epoch) for epoch in (0, 1, 1)]
    assert differ(expected[0], expected[1])
    assert same(expected[1], expected[2])
    for workers, persistent in [(1, False), (2, True), (4, False), (4, True)]:
        run = opened(adapter, num_workers=workers, persistent_workers=persistent)
        assert all(same(run(epoch), e) for epoch, e in zip((0, 1, 1), expected))


def workers_that_are_spawned(adapter: Adapter) -> None:
    if not adapter.in_workers:
        pytest.skip("it mixes in the process of the loader")
    options = {"num_workers": 2, "persistent_workers": True, "multiprocessing_context": "spawn"}
    spawned, alone = opened(adapter, **options), opened(adapter)
    assert all(same(spawned(epoch), alone(epoch)) for epoch in (0, 1))


def the_batches_of_a_mixer(adapter: Adapter) -> None:
    """The plan is that of ``Key(seed, epoch, step, rank)``."""
    if not adapter.policies:
        pytest.skip("a drop-in has its original's policy")
    mixer = bm.Mixer(POLICY, FIELDS, seed=5, rank=2)
    for epoch in (0, 3):
        expected = []
        for step in range(BATCHES):
            images, labels = zip(*ROWS[BATCH * step : BATCH * (step + 1)])
            expected.append(mixer((np.stack(images), np.array(labels)), step=step, epoch=epoch))
        assert same(opened(adapter, seed=5, rank=2)(epoch), expected)


def two_passes_that_nobody_tells_apart(adapter: Adapter) -> None:
    for workers in (0, 2):
        run = opened(adapter, num_workers=workers)
        if workers and not adapter.counts:
            with pytest.raises(bm.MixError, match="set_epoch"):
                run()
            continue
        passes = [run() for _ in range(3)]
        for k, one in enumerate(passes):
            assert all(differ(one, other) for other in passes[:k])


def an_epoch_by_an_object_made_anew(adapter: Adapter) -> None:
    one, two = opened(adapter), opened(adapter)
    one(0)
    assert same(one(4), two(4))


def resume_at_the_start_in_the_middle_and_at_the_end(adapter: Adapter) -> None:
    if not adapter.resumes:
        pytest.skip("its host resumes; see its own tests")
    whole = opened(adapter)
    expected = whole(2), whole(3)
    for start in (0, 1, 3, BATCHES - 1):
        for workers in (0, 2):
            run = opened(adapter, num_workers=workers)
            assert same(run(2, start), expected[0][start:])
            assert same(run(3), expected[1])


def seeds_differ_and_replay(adapter: Adapter) -> None:
    runs = [opened(adapter, seed=seed)(0) for seed in (0, 1, 1)]
    assert differ(runs[0], runs[1])
    assert same(runs[1], runs[2])


def two_processes(adapter: Adapter) -> None:
    """The rank is asked of the process where none was given, and one that was given is kept."""
    ranks = [opened(adapter, rank=rank)(0) for rank in (0, 1)]
    assert differ(*ranks)
    for rank in (0, 1) if adapter.asks else ():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RANK", str(rank))
            for workers in (0, 2):
                assert same(opened(adapter, rank=None, num_workers=workers)(0), ranks[rank])
            assert same(opened(adapter, rank=1)(0), ranks[1])


def a_policy_that_ends(adapter: Adapter) -> None:
    """It ends where the epoch is known, and is refused where it is not: it never goes on mixing."""
    if not adapter.policies:
        pytest.skip("a drop-in has its original's policy")
    policy = Schedule.off_after(MixUp(1.0), epoch=1)
    for workers in (0, 2):
        run = opened(adapter, policy=policy, num_workers=workers)
        assert [all(mixed(run(epoch))) for epoch in (0, 1, 0)] == [True, False, True]
        assert not any(mixed(run(7)))
        untold = opened(adapter, policy=policy, num_workers=workers)
        try:
            passes = [mixed(untold()) for _ in range(2)]
        except bm.MixError:
            with pytest.raises(bm.MixError, match="set_epoch"):
                untold()
        else:
            assert [all(passes[0]), any(passes[1])] == [True, False]


CHECKS = [
    any_number_of_workers,
    workers_that_are_spawned,
    the_batches_of_a_mixer,
    two_passes_that_nobody_tells_apart,
    an_epoch_by_an_object_made_anew,
    resume_at_the_start_in_the_middle_and_at_the_end,
    seeds_differ_and_replay,
    two_processes,
    a_policy_that_ends,
]


def an_object_made_for_each_batch(mix: Callable[[], Any], reseed: Callable[[int], Any]) -> None:
    """For drop-ins: `mix` makes one without a seed and returns the targets that it mixes."""
    reseed(0)
    drawn = [np.asarray(mix()) for _ in range(8)]
    assert len({one.tobytes() for one in drawn}) == len(drawn)
    reseed(0)
    assert all(np.array_equal(one, mix()) for one in drawn)
    reseed(1)
    assert not np.array_equal(drawn[0], mix())
