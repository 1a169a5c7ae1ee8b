"""`lab.store` and the lock of a folder: what is kept, whatever ends the run."""

import dataclasses
import errno
import json
import os
import subprocess
import sys

import pytest

import standin
from batchmix import MixError
from batchmix.cli import _lock as locks
from batchmix.cli._lock import locked
from batchmix.cli.lab.outcome import Trial
from batchmix.cli.lab.trials import store as stores
from batchmix.cli.lab.trials.store import Store, configuration

DATA = standin.data()
CONFIG = configuration(DATA, standin.TRAINING, None)
TRIALS = [
    Trial(arm, noise, seed) for arm in ("none", "mixup:1") for noise in (0, 0.4) for seed in (0, 1)
]


def filled(out, count=3):
    store = Store(out, CONFIG)
    for trial in TRIALS[:count]:
        store.add(standin.outcome(trial))
    return store


def test_outcomes_come_back_unchanged(tmp_path):
    made = filled(tmp_path / "new" / "out").outcomes
    assert Store(tmp_path / "new" / "out", CONFIG).outcomes == made
    assert list(made) == TRIALS[:3]


def test_lines_are_on_the_disk_one_by_one(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(stores.os, "fsync", lambda one: (synced.append(one), real(one)))
    store = Store(tmp_path, CONFIG)
    assert not list(tmp_path.iterdir())
    begun = 2  # the first line, and the folder that the file's name is in
    for i, trial in enumerate(TRIALS[:3], 1):
        store.add(standin.outcome(trial))
        assert len(synced) == begun + i
        lines = (tmp_path / "trials.jsonl").read_text().splitlines()
        assert len(lines) == 1 + i
        assert json.loads(lines[-1])["format"] == 1
        assert json.loads(lines[-1])["trial"] == dataclasses.asdict(trial)


@pytest.mark.parametrize("cut", [1, 5, 300])
@pytest.mark.parametrize("zeros", [False, True])
def test_half_a_last_line_is_done_again(tmp_path, cut, zeros):
    filled(tmp_path)
    path = tmp_path / "trials.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut] + b"\0" * cut * zeros)
    store = Store(tmp_path, CONFIG)
    assert list(store.outcomes) == TRIALS[:2]
    store.add(standin.outcome(TRIALS[2]))
    assert path.read_bytes() == whole


def test_a_last_line_that_is_no_json_is_cut_off(tmp_path):
    filled(tmp_path)
    path = tmp_path / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:-9] + b"\0" * 8 + b"\n")
    assert list(Store(tmp_path, CONFIG).outcomes) == TRIALS[:2]


def test_a_line_in_the_middle_is_not_lost_in_silence(tmp_path):
    filled(tmp_path)
    path = tmp_path / "trials.jsonl"
    lines = path.read_bytes().split(b"\n")
    before = b"\n".join([lines[0], lines[1][:-5], *lines[2:]])
    path.write_bytes(before)
    with pytest.raises(MixError, match=r"line 2 of .*trials\.jsonl cannot be read"):
        Store(tmp_path, CONFIG)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "line",
    [
        b'{"format": 1}',
        b'{"format": 1, "trial": "none"}',
        b'{"format": 1, "trial": {"arm": []}, "last": {}, "best": {}, "history": {}, "rows": {}}',
        b'{"format": 2, "trial": {}}',
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_a_line_that_is_no_trial_is_named_and_kept(tmp_path, line, last):
    filled(tmp_path)
    path = tmp_path / "trials.jsonl"
    lines = path.read_bytes().splitlines()
    lines.insert(len(lines) if last else 2, line)
    path.write_bytes(b"\n".join([*lines, b""]))
    before = path.read_bytes()
    with pytest.raises(MixError, match=f"line {5 if last else 3} of"):
        Store(tmp_path, CONFIG)
    assert path.read_bytes() == before


SCORES = standin.outcome(TRIALS[1]).best
WRONG = {
    "a part that is a number": {"best": 5},
    "no figures": {"best": {"epoch": 0}},
    "a figure that all trials have": {"last": {k: v for k, v in SCORES.items() if k != "accuracy"}},
    "figures of another task": {"best": {"epoch": 0, "rmse": 1.0}, "last": {"epoch": 1, "rmse": 1}},
    "a history that is text": {"history": "x"},
    "a history of one epoch": {"history": {key: [1.0] for key in ("loss", "lr", "held_out")}},
    "texts as figures": {"best": SCORES | {"accuracy": "<script>"}},
    "not a number": {"best": SCORES | {"accuracy": float("nan")}},
    "no number": {"best": SCORES | {"accuracy": None}},
    "more than all": {"best": SCORES | {"accuracy": 1e308}},
    "a large number": {"best": SCORES | {"nll": 1e308}},
    "true": {"best": SCORES | {"accuracy": True}},
    "an epoch that was not trained": {"best": SCORES | {"epoch": 10**9}},
    "half an epoch": {"best": SCORES | {"epoch": 0.5}},
    "bins of texts": {"best": SCORES | {"reliability": {"confidence": ["x"]}}},
    "few bins": {"best": SCORES | {"reliability": {k: [0] for k in SCORES["reliability"]}}},
    "recall of no class": {"best": SCORES | {"recall": []}},
    "a figure of nothing": {"best": SCORES | {"what": 1}},
    "notes that are a list": {"notes": [1]},
    "notes that are lists": {"notes": {"device": [1]}},
    "rows that are texts": {"rows": {"train": "\x1b[31mX", "held_out": 1, "test": 2}},
    "no seconds": {"seconds": "x"},
    "a seed that is none": {"trial": {"arm": "none", "noise": 0, "seed": -1}},
    "a share of wrong labels": {"trial": {"arm": "none", "noise": 7, "seed": 1}},
    "something else": {"what": 1},
}


@pytest.mark.parametrize("what", WRONG)
def test_a_trial_that_makes_no_sense_is_named_and_kept(tmp_path, what):
    filled(tmp_path)
    path = tmp_path / "trials.jsonl"
    lines = path.read_text().splitlines()
    lines[2] = json.dumps(json.loads(lines[2]) | WRONG[what])
    path.write_text("\n".join([*lines, ""]))
    before = path.read_bytes()
    with pytest.raises(MixError, match=r"line 3 of .*trials\.jsonl cannot be read"):
        Store(tmp_path, CONFIG, DATA.task)
    assert path.read_bytes() == before


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_a_number_that_is_none_is_no_figure(tmp_path, number):
    filled(tmp_path)
    path = tmp_path / "trials.jsonl"
    lines = path.read_text().splitlines()
    lines[2] = lines[2].replace('"brier": 0.1', f'"brier": {number}')
    path.write_text("\n".join([*lines, ""]))
    with pytest.raises(MixError, match=r"line 3 of .*trials\.jsonl cannot be read"):
        Store(tmp_path, CONFIG)


def test_trials_of_fewer_epochs_are_not_of_this_comparison(tmp_path):
    filled(tmp_path, 1)
    store = Store(tmp_path, CONFIG)
    store.add(standin.outcome(TRIALS[1], epochs=1))
    with pytest.raises(MixError, match=r"line 3 of .* cannot be read \(1 epochs, not 2\)"):
        Store(tmp_path, CONFIG)


def test_the_same_trial_with_another_result_is_refused(tmp_path):
    store = filled(tmp_path)
    once = store.outcomes[TRIALS[0]]
    longer = dataclasses.replace(once, seconds=9.0)  # and the same came of it
    store.add(longer)
    assert Store(tmp_path, CONFIG).outcomes[TRIALS[0]] == longer
    store.add(dataclasses.replace(once, best=once.best | {"accuracy": 0.99}))
    with pytest.raises(MixError, match=r"line 6 of .* is there before, with another result"):
        Store(tmp_path, CONFIG)


def test_a_figure_that_is_not_a_number_is_null(tmp_path):
    store = filled(tmp_path, 1)
    one = standin.outcome(TRIALS[1])
    store.add(dataclasses.replace(one, best=one.best | {"nll_scaled": float("inf")}))
    assert '"nll_scaled": null' in store.path.read_text()
    assert Store(tmp_path, CONFIG, DATA.task).outcomes[TRIALS[1]].best["nll_scaled"] is None


def test_a_line_as_deep_as_a_well_is_no_json(tmp_path):
    filled(tmp_path)
    path = tmp_path / "trials.jsonl"
    path.write_bytes(path.read_bytes() + b"[" * 200_000 + b"\n")
    assert list(Store(tmp_path, CONFIG).outcomes) == TRIALS[:3]


READ = """import resource, sys
from pathlib import Path
from batchmix import MixError
from batchmix.cli.lab.trials.store import Store
def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begun = most()
try:
    Store(Path(sys.argv[1]), {})
except MixError as error:
    print(most() - begun, error)
"""


@pytest.mark.parametrize("number", [1, 3, 5])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_is_read_as_far_as_a_trial_can_be_long(tmp_path, number, end):
    """Where it is no trial's it is named, whatever it holds, and the file is left alone."""
    filled(tmp_path)
    path = tmp_path / "trials.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines.insert(number - 1, b'{"format": 1, "trial": [' + b"[]," * 10_000_000 + b"[]]}" + end)
    path.write_bytes(b"".join(lines))
    before = path.stat().st_size
    read = [sys.executable, "-c", READ, str(tmp_path)]
    done = subprocess.run(read, capture_output=True, text=True, check=True)
    more, _, said = done.stdout.partition(" ")
    assert f"line {number} of {path} is longer than 4 MiB" in said
    assert int(more) < 64 * 1024  # KiB, on Linux
    assert path.stat().st_size == before


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    skipped = tuple((f"{i:050}.png", "cut short") for i in range(80_000))
    many = configuration(dataclasses.replace(DATA, skipped=skipped), standin.TRAINING, None)
    with pytest.raises(MixError, match=r"a line of .*trials\.jsonl would have 4\.\d MiB"):
        Store(tmp_path, many)
    store = filled(tmp_path)
    before = (tmp_path / "trials.jsonl").read_bytes()
    with pytest.raises(MixError, match="would have"):
        store.add(standin.outcome(TRIALS[3], note="x" * 5_000_000))
    assert (tmp_path / "trials.jsonl").read_bytes() == before
    assert list(Store(tmp_path, CONFIG).outcomes) == TRIALS[:3]


@pytest.mark.parametrize("content", [b"my own notes", b"a,b\n1,2\n", b'{"format": 9}\n'])
def test_a_file_of_somebody_else_is_left_alone(tmp_path, content):
    (tmp_path / "trials.jsonl").write_bytes(content)
    with pytest.raises(MixError, match="line 1 of"):
        Store(tmp_path, CONFIG)
    assert (tmp_path / "trials.jsonl").read_bytes() == content


@pytest.mark.parametrize(
    ("data", "training", "limit", "said"),
    [
        (standin.data(fingerprint="xyz"), {}, None, "other data: 'things'"),
        (DATA, {"lr": 0.2}, None, r"--lr was 0\.1 and is 0\.2"),
        (DATA, {"epochs": 3, "model": "convnet"}, None, "--model .*; --epochs was 2 and is 3"),
        (DATA, {"mix_on": "workers"}, None, "--mix-on was 'device' and is 'workers'"),
        (DATA, {}, 100, "--limit-train was None and is 100"),
        (dataclasses.replace(DATA, skipped=(("1.png", "cut short"),)), {}, None, "--skipped was"),
    ],
)
def test_other_data_or_training_is_refused(tmp_path, data, training, limit, said):
    filled(tmp_path)
    other = configuration(data, dataclasses.replace(standin.TRAINING, **training), limit)
    with pytest.raises(MixError, match=said) as error:
        Store(tmp_path, other)
    assert "another folder with --out" in str(error.value)
    assert len(Store(tmp_path, CONFIG).outcomes) == 3


def test_what_changes_no_result_may_differ(tmp_path):
    filled(tmp_path)
    training = dataclasses.replace(standin.TRAINING, seed=5, workers=4, accelerator="cuda")
    data = dataclasses.replace(DATA, name="./things/")
    assert len(Store(tmp_path, configuration(data, training, None)).outcomes) == 3


def test_a_run_without_a_trial_binds_nobody(tmp_path):
    Store(tmp_path, CONFIG)
    other = configuration(DATA, dataclasses.replace(standin.TRAINING, lr=0.3), None)
    Store(tmp_path, other).add(standin.outcome(TRIALS[0]))
    with pytest.raises(MixError, match="--lr"):
        Store(tmp_path, CONFIG)


def test_other_versions_are_told(tmp_path):
    filled(tmp_path)
    assert Store(tmp_path, CONFIG).other == {}
    old = CONFIG | {"versions": CONFIG["versions"] | {"numpy": "0.1"}}
    assert Store(tmp_path, old).other == {"numpy": (CONFIG["versions"]["numpy"], "0.1")}


def test_a_full_disk_is_one_line_and_keeps_what_was_stored(tmp_path, monkeypatch):
    store = filled(tmp_path)
    before = (tmp_path / "trials.jsonl").read_bytes()

    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(stores.os, "fsync", full)
        with pytest.raises(MixError, match="No space left on device") as error:
            store.add(standin.outcome(TRIALS[3]))
    assert str(tmp_path / "trials.jsonl") in str(error.value)
    assert "3 trials are kept" in str(error.value)
    assert (tmp_path / "trials.jsonl").read_bytes() == before
    assert TRIALS[3] not in store.outcomes


def test_a_disk_that_is_full_from_the_start_is_named_and_nothing_is_left(tmp_path, monkeypatch):
    def full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(locks.socket, "gethostname", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        locked(tmp_path / "new" / "out").__enter__()
    assert error.value.filename == str(tmp_path / "new" / "out" / ".lock")
    assert not list(tmp_path.iterdir())


HOLD = (
    "import sys, time; from pathlib import Path; from batchmix.cli._lock import locked\n"
    "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds tmp_path / 'out'."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_is_refused_by_name(tmp_path, holder):
    with pytest.raises(MixError, match=f"process {holder.pid} on .* writes into this folder"):
        locked(tmp_path / "out").__enter__()


def test_a_lock_that_leads_elsewhere_is_not_written_to(tmp_path):
    """A folder of results from somebody else, in which .lock is a link to a file of the user's."""
    mine = tmp_path / "mine"
    mine.write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").symlink_to(mine)
    with pytest.raises(OSError, match=r"\.lock"):
        locked(tmp_path / "out").__enter__()
    assert mine.read_text() == "precious"


@pytest.mark.parametrize("made", [os.link, lambda mine, lock: os.mkfifo(lock)])
def test_a_lock_that_is_another_file_is_not_written_to(tmp_path, made):
    mine, lock = tmp_path / "mine", tmp_path / "out" / ".lock"
    mine.write_text("precious")
    lock.parent.mkdir()
    made(mine, lock)
    with pytest.raises(OSError, match="a pipe, a device, or another name") as error:
        locked(tmp_path / "out").__enter__()
    assert error.value.filename == str(lock)
    assert mine.read_text() == "precious"


def test_a_system_without_fcntl(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(MixError, match="this system has no fcntl"):
        locked(tmp_path / "out").__enter__()
    code = "import sys; sys.modules['fcntl'] = None; import batchmix.cli"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_killed_process_holds_nothing(tmp_path, holder):
    holder.kill()
    holder.wait()
    with locked(tmp_path / "out"):
        text = (tmp_path / "out" / ".lock").read_text()
    assert f"process {os.getpid()} on " in text
    assert list((tmp_path / "out").iterdir()) == []
    with locked(tmp_path / "out"):
        assert (tmp_path / "out" / ".lock").exists()
