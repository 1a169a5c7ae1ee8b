"""Break `train`, `compare` and `tune` at random moments, run the same command until it ends, and
compare what it leaves with what an unbroken run leaves.

    python tests/faults/break_runs.py --kills 50

A moment is a share of the time of an unbroken run (0.35), or one of its calls that change files,
counted from 1: 12- before it, 12+ after it, 12~ with the end of what was written cut off first.
A fault is a signal (kill, int, term), or an error of the disk at that call and all that follow
(full, readonly, files). Each command is a process of its own, forked from this one, which has
imported the engine: a break takes seconds. It needs Linux or macOS.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from batchmix.cli import main

SIGNALS = {"kill": signal.SIGKILL, "int": signal.SIGINT, "term": signal.SIGTERM}
ERRORS = {"full": errno.ENOSPC, "readonly": errno.EROFS, "files": errno.EMFILE}
SMALL = ("digits", "--limit-train", "100", "--epochs")
TRAIN = ("train", *SMALL, "4", "--batch-size", "20", "--mixup", "0.8", "--save-minutes", "0")
COMMANDS = {
    "train": TRAIN,
    "anew": (*TRAIN, "--seed", "1"),  # where another run was, whose checkpoint was removed
    "compare": (
        *("compare", *SMALL, "2", "--policies", "none mixup:1", "--label-noise", "0"),
        *("--seeds", "2", "--keep-best"),
    ),
    "tune": ("tune", *SMALL, "2", "--trials", "3", "--seeds", "1", "--jobs", "1"),
}
EXACT = (".safetensors", "config.json", "result.json", "metrics.jsonl", "trial.json")
VARYING = {"seconds", "command"}  # in JSON
CALLS = ("fsync", "mkdir", "rename", "replace", "rmdir", "truncate", "unlink")
# calls that do not fail so
SPARED = {"full": {"rmdir", "truncate", "unlink"}, "readonly": set[str](), "files": {*CALLS}}
LONGEST = 300.0  # seconds of a command, which is then said to hang


class Ended(NamedTuple):
    """How a command ended."""

    code: int  # -9: by SIGKILL
    said: str  # on standard error
    seconds: float
    calls: int
    left: list[str]  # processes that outlived it


def run(command: str, out: Path, moment: str = "", fault: str = "kill") -> Ended:
    """A command in a process of its own, broken at a moment."""
    said, counted, began = out.with_suffix(".err"), out.with_suffix(".calls"), time.monotonic()
    said.touch()
    pid = os.fork()
    if not pid:
        _child([*COMMANDS[command], "--out", str(out)], said, counted, moment, fault)
    late = None if not moment or moment[-1] in "-+~" else float(moment)
    status = 0
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        passed = time.monotonic() - began
        if late is not None and passed >= late:
            os.kill(pid, SIGNALS[fault])
            late = None
        if passed > LONGEST:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.002)
    passed, deadline = time.monotonic() - began, time.monotonic() + 30
    while (left := _in_session(pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    calls = int(counted.read_text() or 0) if counted.exists() else 0
    return Ended(os.waitstatus_to_exitcode(status), said.read_text(), passed, calls, left)


def _child(argv: list[str], said: Path, counted: Path, moment: str, fault: str) -> None:
    code = 99
    try:
        os.setsid()
        for number, path in ((1, os.devnull), (2, said)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
        for name, number in (("stdout", 1), ("stderr", 2)):
            setattr(sys, name, os.fdopen(number, "w", 1, closefd=False))
        _fork_servers()
        calls = _watch(Path(argv[-1]), moment if moment[-1:] in "-+~" else "", fault)
        try:
            main(argv)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        if not moment:
            counted.write_text(str(len(calls)))
        sys.stdout.flush()
    finally:
        os._exit(code)


def _watch(out: Path, moment: str, fault: str) -> list[str]:
    """Count the calls of this process that change files of `out`, and break it at the moment."""
    own, seen = os.getpid(), list[str]()
    number, where = (int(moment[:-1]), moment[-1]) if moment else (0, "")

    def happens(name: str, what: object, at: str) -> None:
        if os.getpid() != own or where != at or not number:
            return
        if fault in ERRORS and len(seen) >= number and name not in SPARED[fault]:
            named = [] if isinstance(what, int) else [str(what)]
            raise OSError(ERRORS[fault], os.strerror(ERRORS[fault]), *named)
        if fault in SIGNALS and len(seen) == number:
            os.kill(own, SIGNALS[fault])

    def patched(name: str) -> Any:
        real = getattr(os, name)

        def call(what: Any, *args: Any, **options: Any) -> Any:
            if os.getpid() != own:
                return real(what, *args, **options)
            seen.append(name)
            if where == "~" and len(seen) == number:
                if name == "fsync" and (size := os.fstat(what).st_size) > 64:
                    with contextlib.suppress(OSError):  # a folder
                        os.ftruncate(what, size - random.Random(number).randrange(1, 64))
                os.kill(own, signal.SIGKILL)
            happens(name, what, "-")
            found = real(what, *args, **options)
            happens(name, what, "+")
            return found

        return call

    def opened(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and os.getpid() == own and isinstance(args[0], str):
            writes = isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
            if writes and args[0].startswith(str(out)):
                seen.append("open")
                happens("open", args[0], where)

    for name in CALLS:
        setattr(os, name, patched(name))
    sys.addaudithook(opened)
    return seen


def _fork_servers() -> None:
    """Servers of processes are forked from this one too, and so need not import the engine."""
    from multiprocessing import util

    def forked(path: object, args: list[str], passed: list[int]) -> int:
        pid = os.fork()
        if pid:
            return pid
        fds = sorted({0, 1, 2, *map(int, passed)})
        for low, high in zip(fds, [*fds[1:], 4096]):
            os.closerange(low + 1, high)
        try:
            exec(args[-1], {})
        finally:
            os._exit(0)

    util.spawnv_passfds = forked  # type: ignore[attr-defined]


def _in_session(session: int) -> list[str]:
    """Processes of a session that are alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(stat.parent.name)
    return found


def left_by(out: Path) -> dict[str, Any]:
    """Every file of a folder, with what must be the same after every break."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if path.is_dir():
            found[name] = "folder"
        elif name.endswith(EXACT):
            found[name] = path.read_bytes()
        elif path.suffix == ".json":
            found[name] = _plain(json.loads(path.read_bytes()))
        elif path.suffix == ".jsonl":  # in the order in which trials ended
            lines = [_plain(json.loads(line)) for line in path.read_text().splitlines()]
            found[name] = sorted(map(json.dumps, lines))
        else:
            found[name] = "there"
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if key not in VARYING}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def wrong_end(ended: Ended, fault: str, out: Path) -> list[str]:
    """What is wrong with the end of a command that was broken."""
    lines, wrong = ended.said.splitlines(), []
    if ended.left:
        wrong.append(f"{len(ended.left)} processes outlived it")
    if "Traceback" in ended.said:
        wrong.append("a traceback")
    if ended.code == 0 or fault == "kill":
        return wrong if ended.code in (0, -signal.SIGKILL) else [*wrong, f"exit code {ended.code}"]
    expected = 128 + SIGNALS[fault] if fault in SIGNALS else 2
    if ended.code != expected:
        wrong.append(f"exit code {ended.code}, not {expected}")
    own = [line for line in lines if line.startswith("batchmix: ")]
    if len(own) != 1 or lines[-1:] != own:
        wrong.append(f"{len(own)} lines at its end")
    elif fault in ERRORS and str(out) not in own[0]:
        wrong.append("no path in its line")
    return wrong


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    what = {
        name: "stray" if name not in expected else "missing" if name not in found else "other"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    }
    return [f"{name} is {how}" for name, how in what.items()]


def chosen(whole: Ended, chance: random.Random, fault: str) -> str:
    """A moment: a third of them by the clock, the others at calls."""
    if fault in SIGNALS and chance.random() < 1 / 3:
        return f"{chance.random() * whole.seconds:.3f}"
    places = "-+~" if fault == "kill" else "-+" if fault in SIGNALS else "-"
    return f"{chance.randint(1, whole.calls)}{chance.choice(places)}"


def broken(command: str, out: Path, moments: list[str], fault: str) -> tuple[int, list[str]]:
    """Break a command at each moment, then let it end: how often it broke, and what is wrong."""
    done, wrong = 0, list[str]()
    for moment in moments:
        ended = run(command, out, moment, fault)
        found = wrong_end(ended, fault, out)
        wrong += [f"{each} at {moment}: {ended.said[-600:]}" for each in found]
        done += ended.code != 0
        if ended.code == 0:
            break
    ended = run(command, out)
    if ended.code or ended.left:
        wrong.append(f"then exit code {ended.code}, {len(ended.left)} left: {ended.said[-600:]}")
    return done, wrong


def break_all(given: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """The figures of all breaks."""
    chance, began = random.Random(given.seed), time.monotonic()
    at = [each.split(":") for each in given.at or []]
    names = list(dict.fromkeys(each[0] for each in at)) or given.only or list(COMMANDS)
    breaks, wrong, runs = dict.fromkeys(names, 0), list[str](), 0
    wholes = {name: run(name, scratch / f"{name}-whole") for name in names}
    for name, whole in wholes.items():
        assert (whole.code, whole.left) == (0, []), whole.said
        print(f"{name}: {whole.seconds:.1f} s, {whole.calls} calls", flush=True)
    expected = {name: left_by(scratch / f"{name}-whole") for name in names}
    if "anew" in names:
        assert run("train", scratch / "earlier").code == 0
        (scratch / "earlier" / "checkpoint.safetensors").unlink()
    while runs < len(at) if at else sum(breaks.values()) < given.kills:
        if time.monotonic() - began > 60 * given.minutes:
            break
        name, *moments = at[runs] if at else [names[runs % len(names)]]
        moments = moments or [chosen(wholes[name], chance, given.fault)]
        while not at and chance.random() < 1 / 3:  # and again where it goes on
            moments.append(chosen(wholes[name], chance, given.fault))
        out, runs = scratch / f"{name}-{runs}", runs + 1
        if name == "anew":
            shutil.copytree(scratch / "earlier", out)
        done, found = broken(name, out, moments, given.fault)
        found += differences(left_by(out), expected[name])
        breaks[name] += done
        wrong += [f"{name}:{':'.join(moments)}: {each}" for each in found]
        print(f"{name}:{':'.join(moments)}: {done} broken, {found or 'the same'}", flush=True)
        shutil.rmtree(out)
    seconds = round(time.monotonic() - began)
    return {"fault": given.fault, "breaks": breaks, "runs": runs, "wrong": wrong} | {
        "seconds": seconds
    }


def options() -> argparse.Namespace:
    words = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    words.add_argument("--kills", type=int, default=50, help="how often, over all commands")
    words.add_argument("--fault", choices=[*SIGNALS, *ERRORS], default="kill")
    words.add_argument("--only", choices=COMMANDS, action="append")
    words.add_argument("--at", action="append", help="such as train:12-:3+, instead of chance")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--minutes", type=float, default=1e9, help="begin no other after them")
    words.add_argument("--json", type=Path, help="a file for the figures")
    return words.parse_args()


if __name__ == "__main__":
    import batchmix.cli._commands
    import batchmix.cli.lab.run.resumable
    import batchmix.cli.lab.search.optuna_search
    import batchmix.cli.lab.trials.trial  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        figures = break_all(options(), Path(folder))
    print(json.dumps(figures, indent=1))
    if path := options().json:
        path.write_text(json.dumps(figures, indent=1) + "\n")
    raise SystemExit(bool(figures["wrong"]))
