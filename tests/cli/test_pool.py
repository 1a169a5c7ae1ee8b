"""`lab.pool`: trials in processes that may die, and that never outlive the one that asked."""

import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import standin
from batchmix import MixError
from batchmix.cli.lab.outcome import Trial
from batchmix.cli.lab.trials import pool as pools
from batchmix.cli.lab.trials.comparison import best_of, keep_best, run
from batchmix.cli.lab.trials.pool import Pool
from batchmix.cli.lab.trials.store import Store, configuration

DATA = standin.data()


def trials(count, arm="none"):
    return [Trial(arm, 0.0, seed) for seed in range(count)]


def run_all(work, some, log=None, **options):
    """All events, by trial."""
    found = {trial: [] for trial in some}
    with Pool(DATA, standin.TRAINING, work=work, log=log, **options) as pool:
        for trial in some:
            pool.submit(trial)
        for event in pool.events():
            found[event.trial].append(event)
    return found


def kinds(events):
    return [event.kind for event in events]


@pytest.mark.parametrize("jobs", [1, 2])
def test_each_trial_has_a_process(jobs):
    found = run_all(standin.run_trial, trials(3), jobs=jobs)
    pids = set()
    for trial, events in found.items():
        assert kinds(events) == ["started", "epoch", "epoch", "outcome"]
        assert [event.value[0] for event in events[1:3]] == [0, 1]
        outcome = events[-1].value
        pids.add(outcome.notes.pop("pid"))
        assert outcome == standin.outcome(trial)
    assert len(pids) == 3
    assert os.getpid() not in pids


def test_a_killed_trial_is_tried_once_more_and_takes_nobody_with_it(tmp_path):
    found = run_all(standin.killed, trials(4, str(tmp_path / "mark")), jobs=2)
    ends = [kinds(events)[-1] for events in found.values()]
    assert ends == ["outcome", "failed", "outcome", "outcome"]
    always, once = list(found.values())[1:3]
    assert kinds(always) == ["started", "again", "failed"]
    assert "killed (SIGKILL" in always[-1].value
    assert always[-1].value.endswith("twice")
    assert kinds(once) == ["started", "again", "epoch", "epoch", "outcome"]


def test_errors_are_told_and_the_others_go_on(tmp_path):
    log = tmp_path / "trials.log"
    found = list(run_all(standin.wrong, trials(4), log=log, jobs=1).values())
    assert [kinds(events)[-1] for events in found] == ["outcome", "failed", "failed", "outcome"]
    assert found[1][-1].value == "training: the loss is nan. It is a number. Lower --lr."
    assert found[2][-1].value == f"RuntimeError: out of memory (traceback in {log})"
    assert "Traceback" in log.read_text()
    assert "MixError" not in log.read_text()


def test_a_trial_can_be_stopped():
    some = trials(4)
    seen = []
    with Pool(DATA, standin.TRAINING, work=standin.slow, jobs=2) as pool:
        for trial in some:
            pool.submit(trial)
        for event in pool.events():
            seen.append((event.kind, event.trial.seed))
            if event.kind == "epoch" and event.trial.seed:
                pool.stop(event.trial)
                pool.stop(some[3])  # may wait still
    assert sorted(seed for kind, seed in seen if kind == "stopped") == [1, 2, 3]
    assert [seed for kind, seed in seen if kind == "outcome"] == [0]


def test_trials_may_be_submitted_while_others_run():
    first, second = trials(2)
    with Pool(DATA, standin.TRAINING, work=standin.run_trial, jobs=1) as pool:
        pool.submit(first)
        done = []
        for event in pool.events():
            if event.kind == "outcome":
                done.append(event.trial)
                if event.trial == first:
                    pool.submit(second)
    assert done == [first, second]


PARENT = """
import sys
from pathlib import Path
import standin
from batchmix.cli._stop import stoppable
from batchmix.cli.lab.trials import pool as pools
from batchmix.cli.lab.outcome import Trial
from batchmix.cli.lab.trials import pool as pools
from batchmix.cli.lab.trials.pool import Pool
pools.ENGINE = "standin"  # which takes no seconds to import
with stoppable(), Pool(standin.data(), standin.TRAINING, work=standin.slow, jobs=2) as pool:
    for seed in (1, 2):
        pool.submit(Trial("none", 0.0, seed))
    waiting = 2
    for event in pool.events():
        waiting -= event.kind == "epoch"
        if not waiting:
            print("ready", flush=True)
"""


def in_session(session):
    """Command lines of the processes of a session that are alive, by number."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            command = stat.with_name("cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found[int(stat.parent.name)] = command
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_no_process_outlives_its_parent(name):
    path = os.pathsep.join(sys.path)
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        start_new_session=True,
    )
    assert process.stdout.readline() == "ready\n"
    # it, the server and its tracker, two trials with a loader's worker each
    assert len(in_session(process.pid)) >= 6
    process.send_signal(signal.Signals[name])
    _, errors = process.communicate(timeout=60)  # their ends of its pipes are closed too
    deadline = time.monotonic() + 30
    while in_session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert in_session(process.pid) == {}
    assert errors.count("Traceback") <= 1  # its own, none of its children's


def test_a_comparison_keeps_what_is_done_and_adds_to_it(tmp_path):
    config = configuration(DATA, standin.TRAINING, None)
    events = []
    for seeds, new in ((2, 2), (2, 0), (3, 1)):
        events.clear()
        outcomes = run(
            trials(seeds),
            DATA,
            standin.TRAINING,
            store=Store(tmp_path, config),
            jobs=2,
            tell=events.append,
            work=standin.run_trial,
        )
        assert [one.trial.seed for one in outcomes] == list(range(seeds))
        assert kinds(events).count("outcome") == new
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trials.jsonl"]
    assert len(Store(tmp_path, config).outcomes) == 3


def test_failed_trials_are_left_out_and_tried_again(tmp_path):
    config = configuration(DATA, standin.TRAINING, None)
    for work, count in ((standin.wrong, 1), (standin.run_trial, 3)):
        store = Store(tmp_path, config)
        found = run(trials(3), DATA, standin.TRAINING, store=store, jobs=1, work=work)
        assert len(found) == count


def test_the_best_model_is_kept(tmp_path):
    outcomes = [
        standin.outcome(Trial(arm, noise, seed))
        for noise in (0.4, 0.0)
        for arm in ("none", "mixup:1")
        for seed in (0, 1)
    ]
    best = Trial("mixup:1", 0.0, 1)
    assert best_of(outcomes, "classes").trial == best
    folder = tmp_path / "model"
    for content in ("mixup:1 1", "as it was"):
        keep_best(outcomes, DATA, standin.TRAINING, None, folder=folder, work=standin.run_trial)
        assert (folder / "model.safetensors").read_text() == content
        (folder / "model.safetensors").write_text("as it was")
    longer = replace(standin.TRAINING, epochs=standin.TRAINING.epochs + 1)  # another comparison
    keep_best(outcomes, DATA, longer, None, folder=folder, work=standin.run_trial)
    assert (folder / "model.safetensors").read_text() == "mixup:1 1"


def test_a_note_does_not_speak_for_a_model_half_of_which_is_another_one_s(tmp_path):
    folder, first, second = tmp_path / "model", Trial("none", 0.0, 0), Trial("none", 0.0, 1)
    made = (DATA, standin.TRAINING, None)
    keep_best([standin.outcome(first)], *made, folder=folder, work=standin.run_trial)
    assert (folder / "trial.json").exists()
    with pytest.raises(MixError, match="--keep-best"):
        keep_best([standin.outcome(second)], *made, folder=folder, work=standin.wrong)
    assert not (folder / "trial.json").exists()


def test_low_is_good_where_the_metric_says_so():
    outcomes = []
    for arm, rmse in (("none", 3.0), ("mixup:1", 2.0)):
        for seed in (0, 1):
            one = standin.outcome(Trial(arm, 0.0, seed))
            one.best["rmse"] = rmse
            one.history["held_out"] = [rmse - seed, rmse - seed]
            outcomes.append(one)
    assert best_of(outcomes, "numbers").trial == Trial("mixup:1", 0.0, 1)


def test_a_signal_waits_until_a_process_is_started(monkeypatch):
    """Half started, it would write a traceback: its arguments end too early."""
    real, came = Pool._start, []

    def start(pool, *args):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        assert came == []
        return real(pool, *args)

    monkeypatch.setattr(Pool, "_start", start)
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        found = run_all(standin.run_trial, trials(1), jobs=1)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]
    assert kinds(next(iter(found.values())))[-1] == "outcome"


def test_ctrl_c_does_not_reach_the_server_while_it_imports(monkeypatch):
    found = []

    def look():
        found.append(signal.getsignal(signal.SIGINT))

    monkeypatch.setattr(pools.forkserver, "ensure_running", look)
    before = signal.getsignal(signal.SIGINT)
    pools.warm()
    assert found == [signal.SIG_IGN]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_limit_of_open_files_is_one_line(monkeypatch):
    def full(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(Pool, "_start", full)
    with pytest.raises(MixError, match=r"no process can be started \(Too many open files\)"):
        run_all(standin.run_trial, trials(1), jobs=1)


HALF = """
import os, sys, time
from multiprocessing import forkserver
from batchmix.cli.lab.trials import pool as pools
pools.ENGINE = "standin"
pools.warm()
for content in (b"", b"\\x80\\x04\\x95\\xff\\x00\\x00\\x00\\x00\\x00\\x00\\x00]"):
    reading, writing = forkserver.connect_to_new_process([])
    os.write(writing, content)
    os.close(writing)
    while os.read(reading, 8):
        pass
print("over")
"""


def test_a_process_that_hears_half_of_what_it_shall_do_says_nothing():
    """As where its parent is killed while it starts it."""
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", HALF],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert (done.stdout, done.stderr) == ("over\n", "")
