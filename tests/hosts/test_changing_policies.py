"""Windows and ramps in a DataLoader: workers that persist follow the epoch."""

import pytest

import batchmix as bm
from batchmix.adapters.torch import MixLoader
from batchmix.policies import MixUp, Ramp, Schedule, Sometimes
from hosts.stream import BATCH, FIELDS, ROWS


def shares(policy):
    """Of each epoch the share of rows whose label is not hard, from the same two workers."""
    mixer = bm.Mixer(policy, FIELDS, seed=3)
    loader = MixLoader(ROWS, mixer, batch_size=BATCH, num_workers=2, persistent_workers=True)
    found = []
    for epoch in range(4):
        loader.set_epoch(epoch)
        soft = [bool(row.max() < 1) for _, targets in loader for row in targets]
        found.append(sum(soft) / len(soft))
    return found


def test_a_window():
    assert [share > 0.5 for share in shares(Schedule.between(MixUp(8.0), 1, 3))] == [
        False, True, True, False,
    ]  # fmt: skip


def test_a_ramp():
    found = shares(Ramp(Sometimes(MixUp(8.0), 1), "prob", 0, 1, last=3))
    assert found[0] == 0
    assert found == sorted(found)
    assert found[-1] == pytest.approx(1, abs=0.35)  # partners of one class stay hard
