"""`batchmix compare`, run for real on tiny settings."""

import csv
import errno
import json
import os
import shlex
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

import standin
from batchmix.cli import compare as commands
from batchmix.cli._stop import Stopped
from batchmix.cli.lab.trials import comparison

SMALL = ("--epochs", 2, "--limit-train", 100)


def report(out):
    return json.loads((out / "report.json").read_text())


def trials(out):
    """The outcomes in the store, without what differs from run to run."""
    lines = [json.loads(line) for line in (out / "trials.jsonl").read_text().splitlines()]
    found = {}
    for line in lines[1:]:
        trial = line.pop("trial")
        found[trial["arm"], trial["noise"], trial["seed"]] = line
        del line["seconds"]
    return found


def test_digits_clean_and_with_wrong_labels(run, tmp_path):
    out = tmp_path / "deep" / "out"
    policies = "none smooth:0.1 cutmix:1"
    code, text, told = run(
        "compare", *SMALL, "--policies", policies, "--seeds", 2, "--jobs", 2, "--out", out
    )
    assert code == 0
    for word in (*policies.split(), "labels as given", "40 % wrong labels"):
        assert word in text
    assert max(len(line) for line in text.splitlines() if str(out) not in line) <= 80
    assert sorted(path.name for path in out.iterdir()) == [
        "compare.png",
        "report.html",
        "report.json",
        "trials.jsonl",
    ]
    assert (out / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert "data:image/png;base64," in (out / "report.html").read_text()
    found = report(out)
    assert found["config"]["training"]["epochs"] == 2
    assert found["config"]["arms"] == policies.split()
    assert found["trials"] == {"planned": 12, "finished": 12, "used": 12}
    assert len(found["outcomes"]) == 12
    assert sum(found["config"]["class_counts"]) == found["rows"]["test"]
    assert found["command"] in told
    assert told.count(": accuracy ") == 12
    assert "seed 1, 40 % wrong labels: accuracy" in told
    assert "min left" in told or "s left" in told


def test_the_printed_command_repeats_it(run, tmp_path):
    out = tmp_path / "out"
    options = (*SMALL, "--seeds", 1, "--policies", "none mixup:1", "--label-noise", 0.2)
    assert run("compare", "digits", *options, "--out", out)[0] == 0
    command = report(out)["command"]
    assert command.startswith("batchmix compare digits ")
    assert "--policies 'none mixup:1'" in command
    code, _, told = run(*shlex.split(command)[1:])
    assert code == 0
    assert "training: 2 of 2 trials" in told  # all are there: nothing differs


def test_results_depend_neither_on_jobs_nor_on_the_other_policies(run, tmp_path):
    options = ("digits", *SMALL, "--seeds", 2, "--label-noise", 0.3)
    for out, jobs, policies in (("a", 1, "none switch:1,1"), ("b", 2, "mixup:1 none switch:1,1")):
        more = ("--jobs", jobs, "--policies", policies, "--out", tmp_path / out)
        assert run("compare", *options, *more)[0] == 0
    a, b = trials(tmp_path / "a"), trials(tmp_path / "b")
    assert len(a) == 4
    assert a == {key: b[key] for key in a}


def test_more_seeds_policies_and_noise_are_added(run, tmp_path):
    options = ("compare", "digits", *SMALL, "--out", tmp_path)
    for more, there, planned in (
        (("--policies", "none", "--seeds", 1, "--label-noise", 0), 0, 1),
        (("--policies", "none", "--seeds", 2, "--label-noise", 0), 1, 2),
        (("--policies", "none mixup:1", "--seeds", 2, "--label-noise", 0), 2, 4),
        (("--policies", "none", "--seeds", 1, "--label-noise", 0, "--label-noise", 0.4), 1, 2),
    ):
        code, _, told = run(*options, *more)
        assert code == 0
        assert f"training: {there} of {planned} trials" in told
    assert len(trials(tmp_path)) == 5
    assert report(tmp_path)["trials"]["planned"] == 2


def test_other_training_in_the_same_folder_is_refused(run, tmp_path):
    options = ("compare", "digits", *SMALL, "--policies", "none", "--seeds", 1, "--out", tmp_path)
    assert run(*options)[0] == 0
    code, text, told = run(*options, "--lr", 0.05)
    assert (code, text) == (2, "")
    assert "--lr was 0.1 and is 0.05" in told
    assert "another folder with --out" in told


def test_json_is_one_document_and_quiet_is_quiet(run, tmp_path):
    options = ("compare", "digits", *SMALL, "--policies", "none mixup:1", "--seeds", 1)
    code, text, told = run(*options, "--label-noise", 0, "--out", tmp_path, "--json", "--quiet")
    assert (code, told) == (0, "")
    assert json.loads(text)["verdict"] == report(tmp_path)["verdict"]


def test_the_best_model_is_kept(run, tmp_path):
    options = ("compare", "digits", *SMALL, "--policies", "none", "--seeds", 2, "--label-noise", 0)
    code, text, _ = run(*options, "--keep-best", "--out", tmp_path)
    assert code == 0
    assert text.splitlines()[-1] == str(tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").stat().st_size > 1000
    chosen = json.loads((tmp_path / "model" / "trial.json").read_text())
    assert chosen["arm"] == "none"


def test_a_note_beside_the_best_model_that_is_none_is_written_anew(run, tmp_path):
    options = ("compare", "digits", *SMALL, "--policies", "none", "--seeds", 2, "--label-noise", 0)
    note = tmp_path / "model" / "trial.json"
    note.parent.mkdir()
    note.write_bytes(b"\xff\xfe")
    code, _, _ = run(*options, "--keep-best", "--out", tmp_path)
    assert (code, json.loads(note.read_text())["arm"]) == (0, "none")


def test_a_log_per_trial(run, tmp_path):
    options = ("compare", "digits", *SMALL, "--policies", "none switch:1,1", "--label-noise", 0.4)
    code, text, _ = run(*options, "--seeds", 1, "--jobs", 1, "--log", "csv", "--out", tmp_path)
    assert code == 0
    assert str(tmp_path / "logs") in text.splitlines()
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == [
        "none-0.4-0",
        "switch:1,1-0.4-0",
    ]
    folder = tmp_path / "logs" / "switch:1,1-0.4-0"
    with (folder / "log.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    first, last = lines[0], lines[-1]
    for name in ("train/loss", "train/lr", "mix/lam", "mix/mixup", "mix/cutmix", "mix/unmixed"):
        assert first[name]
    kept = trials(tmp_path)["switch:1,1", 0.4, 0]["history"]
    assert float(last["held_out/accuracy"]) == kept["held_out"][-1]
    assert float(last["train/epoch_loss"]) == kept["loss"][-1]
    assert (folder / "first_batch.png").read_bytes().startswith(b"\x89PNG")
    assert run(*options[:4], "--log", "tb", "--out", tmp_path / "new")[0] == 2
    assert not (tmp_path / "new").exists()


def test_a_folder_of_images(run, images, tmp_path):
    data, out = images("data"), tmp_path / "out"
    options = ("--epochs", 2, "--seeds", 1, "--jobs", 1, "--policies", "none mixup:1")
    code, text, _ = run("compare", data, *options, "--batch-size", 4, "--warmup", 0, "--out", out)
    assert code == 0
    assert "resnet20, 14 training rows" in text
    assert "one seed cannot tell" in " ".join(text.split())
    found = report(out)
    assert found["config"]["label_noise"] == [0.0]
    assert np.sum(found["config"]["class_counts"]) == found["rows"]["test"]
    assert not (out / "cache").exists()


def test_a_bad_image_ends_it_by_name_or_is_left_out(run, images, tmp_path):
    data, out = images("data"), tmp_path / "out"
    (data / "red" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n cut short")
    options = ("compare", data, "--epochs", 1, "--warmup", 0, "--seeds", 1, "--policies", "none")
    code, _, told = run(*options, "--out", out)
    assert code == 2
    assert "3.png" in told.splitlines()[-1]
    code, _, told = run(*options, "--out", out, "--skip-bad")
    assert code == 0
    assert "left out: " in told
    assert report(out)["config"]["skipped"][0][0].endswith("3.png")


@pytest.mark.parametrize(
    "wrong",
    [
        ("/no/such/folder",),
        ("digits", "--model", "resnet5"),
        ("digits", "--policies", "mixup:-1"),
        ("digits", "--label-noise", 1.0),
        ("digits", "--out", "/proc/nowhere"),
        ("digits", "--seeds", 0),
        ("digits", "--on", "ray"),
    ],
)
def test_mistakes_are_found_before_anything_heavy_is_imported(wrong, tmp_path):
    code = (
        "import sys\n"
        "sys.modules['ray'] = None\n"  # as where it is not installed
        "from batchmix.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n"
        "    print(*sorted({'torch', 'matplotlib', 'datasets', 'PIL'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "compare", *map(str, wrong)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("batchmix: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == "\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_keeps_what_is_done(run, tmp_path, name, code):
    options = ["compare", "digits", *map(str, SMALL[2:]), "--policies", "none mixup:1"]
    options += ["--label-noise", "0", "--jobs", "1", "--out", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "batchmix", *options, "--epochs", "40", "--seeds", "50"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )
    lines = []
    while sum("of 100 trials" in line for line in lines) < 3:  # two are done
        lines.append(process.stderr.readline())
        assert lines[-1], "".join(lines)
    if name == "SIGINT":  # as a terminal does, to all that it has started
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGTERM)
    text, told = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in told
    assert f"of 100 trials are kept in {tmp_path}; the same command goes on." in told
    assert "mixup:1" in text
    kept = len(trials(tmp_path))
    assert kept >= 2
    assert not (tmp_path / ".lock").exists()
    if name == "SIGTERM":
        code, _, told = run(*options, "--epochs", 40, "--seeds", 2)
        assert code == 0
        assert f"training: {min(kept, 4)} of 4 trials" in told


def test_what_fails_is_named_and_the_rest_is_kept(run, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "run", partial(comparison.run, work=standin.killed))
    options = ("compare", "digits", *SMALL, "--policies", "none", "--label-noise", 0)
    code, text, told = run(*options, "--seeds", 2, "--jobs", 1, "--out", tmp_path)
    assert code == 3
    assert "none" in text
    assert "none, seed 1: its process was killed (SIGKILL" in told
    assert told.splitlines()[-2].startswith("batchmix: none, seed 1 failed: ")
    assert told.splitlines()[-1].startswith("batchmix: 1 of 2 trials are kept in ")
    assert list(report(tmp_path)["config"]["failed"]) == ["none, seed 1"]


def test_a_reader_that_has_gone_away_does_not_cost_the_report(tmp_path):
    options = ["compare", "digits", *map(str, SMALL[2:]), "--policies", "none", "--seeds", "1"]
    options += ["--epochs", "1", "--label-noise", "0", "--out", str(tmp_path)]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "batchmix", *options],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    os.close(writing)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert report(tmp_path)["trials"]["finished"] == 1


def test_a_full_disk_at_the_report_says_what_is_kept(run, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "run", partial(comparison.run, work=standin.run_trial))
    options = ("compare", "digits", *SMALL, "--policies", "none", "--label-noise", 0)
    options += ("--seeds", 2, "--jobs", 1, "--out", tmp_path)
    real = os.fsync

    def full(number):
        if "report.json" in os.readlink(f"/proc/self/fd/{number}"):  # noqa: PTH115
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(number)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        code, text, told = run(*options)
    assert (code, text) == (2, "")
    line = told.splitlines()[-1]
    assert f"{tmp_path / 'report.json'} cannot be written (No space left on device)." in line
    assert f"2 of 2 trials are kept in {tmp_path}." in line
    assert "the same command goes on" in line
    code, _, told = run(*options)
    assert (code, "training: 2 of 2 trials" in told) == (0, True)


def test_an_empty_log_of_a_run_that_was_stopped_or_killed_goes(run, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "run", partial(comparison.run, work=standin.run_trial))
    options = ("compare", "digits", *SMALL, "--policies", "none", "--label-noise", 0)
    options += ("--seeds", 1, "--jobs", 1, "--out", tmp_path)

    def stopped(*_):
        raise Stopped(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(comparison.Store, "add", stopped)
        code, _, told = run(*options)
    assert (code, "0 of 1 trials are kept" in told) == (143, True)
    assert not (tmp_path / "trials.log").exists()
    assert run(*options)[0] == 0
    (tmp_path / "trials.log").touch()  # what SIGKILL leaves, and no trial is left to do
    assert run(*options)[0] == 0
    assert not (tmp_path / "trials.log").exists()


def test_where_all_fails_it_says_why(run, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "run", partial(comparison.run, work=standin.diverges))
    options = ("compare", "digits", *SMALL, "--policies", "none", "--label-noise", 0)
    code, text, told = run(*options, "--seeds", 2, "--jobs", 1, "--out", tmp_path)
    assert (code, text) == (2, "")
    assert "all 2 failed; none, seed 0: training: the loss is nan" in told.splitlines()[-1]
