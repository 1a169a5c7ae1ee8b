"""The command line as a whole: help, versions, refusals, and what it writes and prints."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.main import get_command

import batchmix as bm
from batchmix.cli import _output, main
from batchmix.cli._commands import app
from batchmix.cli._lock import locked
from batchmix.cli._output import print_json, shown, write

COMMANDS = sorted(command.callback.__name__ for command in app.registered_commands)


@pytest.mark.parametrize("argv", [["-h"], ["stats", "-h"], ["compare", "--help"], []])
def test_help_is_asked_for_in_three_ways(run, argv):
    code, text, error = run(*argv)
    assert (code, error) == (0, "")
    assert "Usage: batchmix" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_is_and_paragraphs_are_whole(run, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    parsed = get_command(app).commands[command]
    without = [p.name for p in parsed.params if not p.help and p.name != "help"]
    assert without == []
    assert "\n" not in parsed.help.replace("\n\n", "")
    code, text, _ = run(command, "--help")
    assert code == 0
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_versions(run):
    code, text, _ = run("--version")
    assert code == 0
    assert text.startswith(f"batchmix {bm.__version__}\nPython ")
    assert "\nnumpy " in text


def test_a_completion_script_is_printed_for_bash(monkeypatch, capsys):
    monkeypatch.setenv("_BATCHMIX_COMPLETE", "source_bash")
    with pytest.raises(SystemExit) as stop:
        main([])
    assert not stop.value.code
    assert "complete -o default -F _batchmix_completion batchmix" in capsys.readouterr().out


def test_completion_knows_commands_and_options(monkeypatch, capsys):
    monkeypatch.setenv("_BATCHMIX_COMPLETE", "complete_bash")
    for words, number, found in (("batchmix st", 1, "stats"), ("batchmix stats --ma", 2, "--ma")):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(number))
        with pytest.raises(SystemExit):
            main([])
        assert found in capsys.readouterr().out


@pytest.fixture
def fails_with(monkeypatch, run, tmp_path):
    """A command in which something is raised: what it prints."""

    def call(error):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr("batchmix.stats", fail)
        code, text, line = run("stats", "none", "--out", tmp_path)
        assert text == ""
        return code, line

    return call


def test_too_little_memory_is_one_line(fails_with):
    code, line = fails_with(MemoryError("Unable to allocate 8 TiB"))
    assert (code, line.count("\n")) == (2, 1)
    assert "not enough memory. Unable to allocate 8 TiB" in line


def test_an_interrupt_is_one_line(fails_with):
    assert fails_with(KeyboardInterrupt()) == (130, "batchmix: interrupted.\n")


@pytest.mark.parametrize("error", [KeyError("x"), ModuleNotFoundError("no", name="batchmix.x")])
def test_a_mistake_of_ours_keeps_its_traceback(fails_with, error):
    code, lines = fails_with(error)
    assert code == 70
    assert lines.startswith("Traceback")
    assert lines.endswith(
        "batchmix: this is a mistake of batchmix: please report the lines above.\n"
    )


def test_a_long_message_is_cut_and_keeps_its_fix(run):
    code, _, error = run("stats", "x" * 1_000_000)
    assert code == 2
    assert len(error) < 1100
    assert error.endswith("Write for example 'none mixup:1'.\n")


def test_escape_sequences_reach_no_terminal(run):
    code, _, error = run("stats", "none", "--out", "/proc/\x1b]0;title\x07/out")
    assert code == 2
    assert "\\x1b]0;title\\x07" in error
    assert error.rstrip("\n").isprintable()


def test_names_are_shown_without_control_characters():
    assert shown("größe 5 %") == "größe 5 %"
    assert shown("a\nb\x1b[2J\u202e\udcff\\n") == "a\\nb\\x1b[2J\\u202e\\udcff\\n"


def test_json_is_json(capsys):
    print_json({"nan": float("nan"), "inside": [float("inf"), 0.5], "text": "\udcff"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"nan": None, "inside": [None, 0.5], "text": "\udcff"}


def test_a_full_disk_names_the_file(tmp_path, monkeypatch, run):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "stats.png").write_bytes(b"earlier")
    monkeypatch.setattr(_output.os, "fsync", full)
    code, _, error = run("stats", "none", "--batches", 2, "--out", tmp_path)
    assert (code, error) == (2, f"batchmix: {tmp_path / 'stats.png'}: No space left on device\n")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("stats.png", b"earlier")]


def test_a_full_standard_output_is_told():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "batchmix", "--version"], stdout=full, stderr=-1, text=True
        )
    assert (done.returncode, done.stderr) == (2, "batchmix: No space left on device\n")


def test_a_locale_without_the_characters_of_a_table_costs_no_result(tmp_path):
    command = [sys.executable, "-m", "batchmix", "stats", "mixup:1", "--out", str(tmp_path)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)
    assert "mixup:1" in done.stdout
    assert "\\u" not in done.stdout  # bars are digits there


def test_files_and_their_names_are_on_the_disk(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        _output.os,
        "fsync",
        lambda one: (synced.append(str(Path(f"/proc/self/fd/{one}").readlink())), real(one)),
    )
    write(tmp_path / "a.json", b"1")
    assert synced == [str(tmp_path / f".a.json.{os.getpid()}.batchmix-part"), str(tmp_path)]


def test_part_files_of_dead_processes_are_removed(tmp_path):
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
    dead, old = int(done.stdout), time.time() - 3600
    kept = [f".a.json.{os.getppid()}.batchmix-part", ".a.json.new.batchmix-part"]
    kept += [f".a.json.{dead}", "a.json", f".film.{dead}.part", ".film.1984.part"]  # of the user
    for name in [*kept, f".a.json.{dead}.batchmix-part", f".b.json.{dead}.batchmix-part"]:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (old, old))
    write(tmp_path / "a.json", b"1")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)
    new = tmp_path / f".a.json.{dead}.batchmix-part"
    new.touch()  # just now: perhaps of another machine
    write(tmp_path / "a.json", b"2")
    assert new.exists()
    with locked(tmp_path):  # by which no other machine writes here
        assert not new.exists()
        assert len(list(tmp_path.glob(".film.*.part"))) == 2


def test_a_table_that_nobody_reads_is_one_line_and_not_a_finding(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "batchmix", "stats", "mixup:1", "--out", str(tmp_path)],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    said = "batchmix: standard output was closed before the end.\n"
    assert (done.returncode, done.stderr) == (2, said)


def redirected(how, *argv):
    """A command of a shell's that closes or redirects standard streams."""
    command = ["sh", "-c", f'exec "$@" {how}', "sh", sys.executable, "-m", "batchmix"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([*command, *map(str, argv)], capture_output=True, text=True, env=env)


TRAIN = ("train", "digits", "--epochs", 1, "--limit-train", 60, "--workers", 0)
CLOSED = "batchmix: standard output was closed before the end."


@pytest.mark.parametrize("how", ["2>&-", "2>/dev/full", "<&- 2>&-"])
def test_progress_that_nobody_reads_costs_no_run(tmp_path, how):
    done = redirected(how, *TRAIN, "--out", tmp_path, "--json")
    assert (done.returncode, json.loads(done.stdout)["rows"]["train"]) == (0, 60)
    assert (tmp_path / "model.safetensors").exists()


def test_a_run_whose_result_nobody_reads_is_kept_and_that_is_told(tmp_path):
    done = redirected(">&-", *TRAIN, "--out", tmp_path)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, CLOSED)
    assert "Traceback" not in done.stderr
    assert json.loads((tmp_path / "result.json").read_text())["rows"]["train"] == 60


@pytest.mark.parametrize("argv", [("stats", "mixup:1", "--quiet"), ("--version",), ("-h",)])
def test_standard_output_that_is_closed_is_told(tmp_path, monkeypatch, argv):
    monkeypatch.chdir(tmp_path)
    done = redirected(">&-", *argv)
    assert (done.returncode, done.stderr) == (2, f"{CLOSED}\n")


@pytest.mark.parametrize("how", ["2>&-", "2>/dev/full", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_refusal_that_nobody_reads_is_not_a_result(tmp_path, how):
    done = redirected(how, "predict", tmp_path / "none", tmp_path, "--json")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_a_full_standard_output_is_told_after_trials_too(tmp_path):
    done = redirected(
        ">/dev/full", "compare", "digits", "--policies", "none", "--seeds", 1, "--label-noise", 0,
        "--epochs", 1, "--limit-train", 60, "--jobs", 1, "--out", tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "batchmix: No space left on device"
    assert "Exception ignored" not in done.stderr


SIGNALLED = """
import signal, sys

class Arrives:
    def find_spec(self, name, *_):
        if name == sys.argv[1]:
            sys.meta_path.remove(self)
            signal.raise_signal(int(sys.argv[2]))

import batchmix.cli
sys.meta_path.insert(0, Arrives())
batchmix.cli.main(sys.argv[3:])
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("module", ["typer", "batchmix.cli.train", "torch.nn"])
def test_a_signal_while_modules_are_imported_is_one_line(tmp_path, module, number, code):
    command = ["train", "digits", "--epochs", "1", "--out", str(tmp_path / "out"), "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED, module, str(int(number)), *command],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("batchmix: stopped")
    assert list(tmp_path.iterdir()) == []


def test_no_command_is_imported_before_signals_are_answered():
    code = "import sys, batchmix.cli; sys.exit('typer' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# what has to be refused before anything heavy is imported, for each command
WRONG = {
    "audit": ["nowhere.py:mix", "timm.data:Mixup --batch-size 3", "timm.data:Mixup --args {{"],
    "bench": ["--shape 1", "--threads 0"],
    "compare": [
        "/no/such",
        "{empty}",
        "{images} --model resnet21",
        "digits --model resnet21",
        "{images} --model timm:resnet1888",
        "{images} --policies mixpu:1",
        "{images} --lr 0",
        "{images} --augment heavy",
        "{images} --sound mel",
        "{images} --accelerator abacus",
        "{images} --on moon",
        "{images} --image-size 1000000",
        "{images} --label-noise 2",
        "{images} --out {file}/out",
    ],
    "explore": ["/no/such", "{empty}", "--port 0"],
    "predict": ["/no/such {file}", "{empty} {file}"],
    "preview": [
        "/no/such",
        "{empty}",
        "{images} --policies mixpu:1",
        "--image-size 1000000",
        "--seed 1180591620717411303424",
        "--seconds 1",
        "--out {file}/out",
    ],
    "stats": ["cutmx:1", "cutmix:1 --size 3000000000", "none --out {file}/out"],
    "train": [
        "/no/such",
        "{empty}",
        "digits --model resnet21",
        "{images} --model timm:resnet1888",
        "{images} --mixup -1",
        "{images} --seed 1180591620717411303424",
        "{images} --image-size 1000000",
        "{images} --log paper",
        "{images} --sound wave",
        "{images} --accelerator abacus",
        "{images} --out {file}/out",
    ],
    "tune": ["/no/such", "{empty}", "digits --model resnet21", "{images} --on moon"],
}
REFUSED = """
import json, sys
from batchmix.cli import main
heavy = {"datasets", "uvicorn", "jax", "lightning_fabric", "matplotlib", "optuna", "pandas",
         "ray", "scipy", "sklearn", "tensorflow", "timm", "torch", "torchmetrics", "torchvision"}
for argv in json.loads(sys.argv[1]):
    try:
        main(argv)
    except SystemExit as stop:
        print(argv, "exit code", stop.code, *sorted(heavy & set(sys.modules)))
    for name in heavy & {name.partition(".")[0] for name in sys.modules}:
        sys.exit(f"{argv} imported {name}")
"""


@pytest.mark.parametrize("command", WRONG)
def test_mistakes_are_told_before_anything_heavy_is_imported(command, images, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    places = {"images": images("data"), "empty": tmp_path / "empty", "file": tmp_path / "file"}
    calls = [[command, *(w.format(**places) for w in words.split())] for words in WRONG[command]]
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, json.dumps(calls)],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{argv} exit code 2" for argv in calls], done.stderr
    assert done.stderr.count("\n") == len(calls), done.stderr
    assert "No such command" not in done.stderr
    assert "No such option" not in done.stderr


def test_every_command_has_mistakes_that_are_told():
    assert sorted(WRONG) == COMMANDS
