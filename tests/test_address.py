"""Which mix a batch gets: each part of its address is told, counted or asked, never assumed."""

import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import batchmix as bm
from batchmix.adapters._count import BatchCount
from batchmix.backends import _process
from batchmix.extend import Untold, mixer_of, process_rank
from batchmix.fields import Features, Labels
from batchmix.policies import MixUp, PerBatch, Schedule, Sometimes, Switch

EPOCHS = Schedule.off_after(MixUp(1.0), epoch=1)
ROWS = {0: Features("NC"), 1: Labels(5)}


def table():
    return np.arange(8.0).reshape(4, 2), np.arange(4)


def test_an_epoch_that_nobody_told_is_not_epoch_0():
    """The policy that looks at it is refused, wherever in a policy it stands, until it is told."""
    for policy in (EPOCHS, PerBatch(EPOCHS), Switch([EPOCHS]), Sometimes(EPOCHS, 1.0)):
        mixer = bm.Mixer(policy, ROWS)
        for refused in (mixer, lambda b, m=mixer: m(b, step=3), mixer.draw):
            with pytest.raises(bm.MixError, match=r"(?s)nobody has told.*set_epoch"):
                refused(table())
        mixed = mixer(table(), epoch=0)[1].max(1), mixer(table(), step=0, epoch=1)[1].max(1)
        assert (mixed[0] < 1).any()
        assert (mixed[1] == 1).all()
        mixer.set_epoch(1)
        assert (mixer(table())[1].max(1) == 1).all()


def test_a_policy_by_step_needs_no_epoch():
    mixer = bm.Mixer(Schedule({0: MixUp(1.0), 2: None}, by="step"), ROWS)
    assert [bool((mixer(table())[1].max(1) < 1).any()) for _ in range(3)] == [True, True, False]


def test_passes_differ_where_nobody_tells_the_epoch():
    mixer = bm.Mixer(MixUp(1.0), ROWS)
    passes = [np.stack([mixer(table())[1] for _ in range(3)]) for _ in range(2)]
    assert not (passes[0] == passes[1]).all()


def test_an_adapter_may_tell_passes_apart_without_saying_which_epoch_it_is():
    mixer = bm.Mixer(MixUp(1.0), ROWS)
    told, untold = (mixer(table(), step=0, epoch=kind(7))[1] for kind in (int, Untold))
    assert (told == untold).all()
    with pytest.raises(bm.MixError, match="nobody has told"):
        bm.Mixer(EPOCHS, ROWS)(table(), step=0, epoch=Untold(7))


def test_a_state_of_another_seed_is_refused():
    state = bm.Mixer(MixUp(), ROWS, seed=1).state_dict()
    given = bm.Mixer(MixUp(), ROWS, seed=0)
    with pytest.raises(bm.MixError, match="seed=1; seed=0 is set"):
        given.load_state_dict(state)
    assert given.seed == 0
    left_out = bm.Mixer(MixUp(), ROWS)
    left_out.load_state_dict(state)
    assert left_out.seed == 1


@pytest.mark.parametrize(
    ("variables", "rank"),
    [
        ({}, 0),
        ({"RANK": "3"}, 3),
        ({"RANK": "3", "SLURM_PROCID": "1"}, 3),
        ({"SLURM_PROCID": "2"}, 2),
        ({"OMPI_COMM_WORLD_RANK": "5"}, 5),
        ({"RANK": ""}, 0),
        ({"TF_CONFIG": '{"cluster": {"chief": ["a"], "worker": ["b"]}, '
          '"task": {"type": "worker", "index": 0}}'}, 1),
        ({"TF_CONFIG": "what"}, 0),
    ],
)  # fmt: skip
def test_the_rank_is_asked_of_the_process(variables, rank, monkeypatch):
    for name in ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "TF_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    _process._launched.cache_clear()
    mixer = bm.Mixer(MixUp(1.0), ROWS, seed=4)
    assert process_rank() == rank
    expected = bm.draw(MixUp(1.0), bm.Key(4, 0, 0, rank), 4, {})
    assert (mixer.draw(table(), step=0).lam == expected.lam).all()
    told = mixer.but(rank=9).draw(table(), step=0)
    assert (told.lam == bm.draw(MixUp(1.0), bm.Key(4, 0, 0, 9), 4, {}).lam).all()
    _process._launched.cache_clear()


def test_a_mixer_with_other_arguments_leaves_the_first_alone():
    mixer = bm.Mixer(MixUp(1.0), ROWS, seed=4, rank=2)
    other = mixer.but(inplace=True, fields={0: Features("NC")})
    assert (other.seed, other.rank, other.inplace, list(other.fields)) == (4, 2, True, [0])
    assert (mixer.inplace, list(mixer.fields)) == (False, [0, 1])
    mixer(table())
    assert (mixer.step, other.step) == (1, 0)


def test_what_an_adapter_takes():
    mixer = bm.Mixer(MixUp(), ROWS, seed=3)
    assert mixer_of("MixLoader", mixer) == (mixer, True)
    made, named = mixer_of("MixLayer", MixUp(), names="x and y", seed=5)
    assert (made.policy, made.seed, named) == (MixUp(), 5, False)
    assert mixer_of("MixLayer", None, names="x and y")[0].policy is None
    assert not mixer_of("MixLayer", bm.Mixer(MixUp(), {}), names="x and y")[1]
    for refused in (
        lambda: mixer_of("MixLoader", MixUp()),
        lambda: mixer_of("MixLoader", bm.Mixer(MixUp(), {})),
        lambda: mixer_of("MixLayer", mixer, names="x and y", seed=5),
        lambda: mixer_of("MixLayer", MixUp, names="x and y"),
        lambda: mixer_of("MixLayer", "cutmix", names="x and y"),
    ):
        with pytest.raises(bm.MixError, match="MixL"):
            refused()


def lams(mixer):
    return [mixer.draw(table()).lam.tolist() for _ in range(2)]


def of_process(rank, world, address, mixer, queue):
    torch.distributed.init_process_group("gloo", address, rank=rank, world_size=world)
    queue.put((rank, lams(mixer)))
    torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_processes_of_torch_distributed_differ(start, tmp_path):
    """A mixer that was made before there were several processes asks each of them."""
    processes = multiprocessing.get_context(start)
    queue, mixer = processes.Queue(), bm.Mixer(MixUp(1.0), ROWS, seed=4)
    address = f"file://{tmp_path / 'meeting'}"
    started = [
        processes.Process(target=of_process, args=(rank, 2, address, mixer, queue))
        for rank in range(2)
    ]
    for process in started:
        process.start()
    found = dict(queue.get(timeout=120) for _ in started)
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0, 0]
    assert found == {rank: lams(mixer.but(rank=rank)) for rank in range(2)}


class Asked:
    """A data set whose rows are the lam that a worker draws."""

    def __init__(self, mixer):
        self.mixer = mixer

    def __len__(self):
        return 2

    def __getitem__(self, row):
        return torch.tensor(self.mixer.draw(table(), step=row).lam)


def test_a_worker_that_is_spawned_has_the_rank_of_its_process(monkeypatch):
    monkeypatch.setattr(_process, "known_rank", lambda: 3)  # which the worker cannot ask
    monkeypatch.setattr("batchmix._mixer.known_rank", lambda: 3)
    mixer = bm.Mixer(MixUp(1.0), ROWS)
    got = next(iter(DataLoader(Asked(mixer), 2, num_workers=1, multiprocessing_context="spawn")))
    expected = [mixer.but(rank=3).draw(table(), step=row).lam for row in range(2)]
    assert np.array_equal(got, expected)


def test_a_mixer_that_is_stored_belongs_to_no_process():
    assert pickle.loads(pickle.dumps(bm.Mixer(MixUp(), ROWS))).rank is None


class Collate:
    """Mixes a batch as a worker makes it, with a mixer that counts."""

    def __init__(self, mixer):
        self.mixer = mixer

    def __call__(self, rows):
        return self.mixer((np.array(rows)[:, None] * 1.0,))


@pytest.mark.parametrize("count", [1, 2])
def test_a_mixer_does_not_count_in_a_worker(count):
    mixer = bm.Mixer(MixUp(1.0), {0: Features("NC")})
    with pytest.raises(bm.MixError, match=r"(?s)worker of a DataLoader.*MixLoader"):
        list(DataLoader(range(8), 4, num_workers=count, collate_fn=Collate(mixer)))
    assert len(list(DataLoader(range(8), 4, collate_fn=Collate(mixer)))) == 2


class Counted:
    """A collate function that gives (epoch, step, whether the epoch was told)."""

    def __init__(self, strict):
        self.count = BatchCount("it", "Call set_epoch.", strict=strict)

    def __call__(self, rows):
        epoch, step = self.count.next()
        return int(epoch), step, not isinstance(epoch, Untold)


def counted(collate, workers=0, **options):
    batches = iter(DataLoader(range(10), 2, num_workers=workers, collate_fn=collate, **options))
    try:
        return list(batches)
    finally:
        if workers:  # an error keeps them until it is forgotten, and then for 5 s more
            batches._shutdown_workers()


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize("workers", [0, 1, 2, 4])
@pytest.mark.parametrize("strict", [True, False])
def test_batches_are_counted_over_workers(workers, strict):
    collate = Counted(strict)
    for epoch, first in [(0, 0), (1, 0), (1, 0), (4, 3)]:
        collate.count.set_epoch(epoch, first)
        assert counted(collate, workers) == [(epoch, first + k, True) for k in range(5)]


def test_workers_that_stay_are_told():
    collate = Counted(True)
    collate.count.set_epoch(0)
    loader = DataLoader(range(10), 2, num_workers=2, collate_fn=collate, persistent_workers=True)
    assert list(loader) == [(0, k, True) for k in range(5)]
    collate.count.set_epoch(1)
    assert list(loader) == [(1, k, True) for k in range(5)]
    assert len({*list(loader), *[(1, k, True) for k in range(5)]}) == 10  # untold: it goes on


def test_an_iterator_that_lives_on_does_not_disturb_the_next_pass():
    collate = Counted(True)
    collate.count.set_epoch(0)
    loader = DataLoader(range(10), 2, num_workers=2, collate_fn=collate, prefetch_factor=1)
    broken_off = iter(loader)
    next(broken_off)
    collate.count.set_epoch(1)
    next(broken_off)  # asks its workers for more
    assert list(loader) == [(1, k, True) for k in range(5)]


def test_passes_that_nobody_tells_apart_differ():
    collate = Counted(False)
    torch.manual_seed(0)
    passes = [counted(collate, 2) for _ in range(2)]
    assert len({*passes[0], *passes[1]}) == 10
    assert not any(told for _, _, told in passes[0] + passes[1])
    torch.manual_seed(0)
    assert counted(Counted(False), 2) == passes[0]
    alone = counted(collate) + counted(collate)
    assert alone == [(0, k, False) for k in range(10)]


def test_a_worker_is_not_to_guess():
    with pytest.raises(bm.MixError, match="begins a pass without a `set_epoch`"):
        counted(Counted(True), 1)
    for strict in (True, False):
        collate = Counted(strict)
        collate.count.set_epoch(0)
        counted(collate, 2)
        with pytest.raises(bm.MixError, match="second pass after one `set_epoch`"):
            counted(collate, 2)


@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("policy", [MixUp(1.0), EPOCHS], ids=["plain", "by epoch"])
def test_a_state_in_the_middle_of_any_epoch(epoch, policy):
    """That of epoch 0, too; and one that nobody told is not told by being stored."""
    whole, first, resumed = (bm.Mixer(policy, ROWS, seed=3) for _ in range(3))
    expected = [whole(table(), epoch=epoch)[1] for _ in range(4)]
    for _ in range(2):
        first(table(), epoch=epoch)
    resumed.load_state_dict(first.state_dict())
    assert np.array_equal(resumed(table())[1], expected[2])
    assert np.array_equal(resumed(table(), epoch=epoch)[1], expected[3])


def test_an_untold_state_stays_untold():
    mixer, later = bm.Mixer(MixUp(1.0), ROWS), bm.Mixer(EPOCHS, ROWS)
    mixer(table())
    assert mixer.state_dict() == {"seed": 0, "epoch": 0, "step": 1, "told": False}
    later.load_state_dict(mixer.state_dict())
    with pytest.raises(bm.MixError, match="nobody has told"):
        later(table())


def test_telling_the_first_epoch_late_repeats_nothing():
    mixer = bm.Mixer(MixUp(1.0), ROWS)
    drawn = [mixer(table())[1], mixer(table(), epoch=0)[1], mixer(table())[1]]
    assert len({one.tobytes() for one in drawn}) == 3


@pytest.mark.parametrize("strict", [True, False])
def test_passes_are_told_apart_by_their_processes(strict):
    """Workers of one seed are another pass, in each epoch; so is one with workers after without."""
    fixed = torch.Generator()
    for epochs in (1, 2):
        for workers in ((2, 2), (0, 2), (2, 0)):
            collate = Counted(strict)
            for epoch in range(epochs):
                collate.count.set_epoch(epoch)
                counted(collate, workers[0], generator=fixed.manual_seed(0))
            with pytest.raises(bm.MixError, match="one `set_epoch`"):
                counted(collate, workers[1], generator=fixed.manual_seed(0))


@pytest.mark.parametrize("epoch", [1.7, -1, "1", None])
def test_an_epoch_is_checked_where_it_is_told(epoch):
    with pytest.raises(bm.MixError, match="it: got epoch="):
        Counted(True).count.set_epoch(epoch)


def test_fields_are_a_mapping():
    with pytest.raises(bm.MixError, match="got fields="):
        bm.Mixer(ROWS, MixUp())
