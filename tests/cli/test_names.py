"""Names of files, folders and classes that a stranger chose: escaped wherever they are shown.

All commands run with the network forbidden, trials and loader workers too: nothing may ask for it.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import offline
from batchmix.cli._output import shown

TITLE, RED, OVERRIDE = "\x1b]0;title\x07", "\x1b[31m", "\u202e"
TOP = (
    f"d$\\frac$ {RED}<img src=x onerror=alert(1)>{OVERRIDE}[red]\n\udce9 $(touch mark);`touch mark`"
)
CLASSES = (
    "a$\\x$ {0} %s &amp;",
    f"{TITLE}<script>alert(1)<{OVERRIDE}[bold]",
    "caf\udce9\nline \x9b31m=cmd|' '!A1",
)
FILES = (f"{RED}{OVERRIDE}<b>", "b\udcff$\\x$", "c\n[link=file:x]")
PROGRAM = """
import json, sys, traceback
from batchmix.cli import main

if __name__ == "__main__":
    for argv in json.loads(sys.argv[1]):
        print("command", argv[0], flush=True)
        print("command", argv[0], file=sys.stderr, flush=True)
        try:
            main(argv)
        except SystemExit as stop:
            print("code", stop.code, file=sys.stderr, flush=True)
"""
RAW = ("\x1b", "\x07", OVERRIDE, "\x9b")


@pytest.fixture
def folder(tmp_path):
    """Three classes of twelve images."""
    rng = np.random.default_rng(0)
    top = tmp_path / TOP
    for channel, name in enumerate(CLASSES):
        os.makedirs(top / name)  # noqa: PTH103  names that are no UTF-8
        for i in range(12):
            pixels = rng.integers(0, 90, (8, 8, 3), np.uint8)
            pixels[..., channel] += 120
            file = f"{i} {FILES[i % 3]}.png"
            with open(top / name / file, "wb") as out:  # noqa: PTH123
                Image.fromarray(pixels).save(out, "png")
    return top


def called(tmp_path, *commands):
    """What was printed, as text, and the exit codes, of commands in one process."""
    (tmp_path / "program.py").write_text(PROGRAM)
    words = [[str(word) for word in argv] for argv in commands]
    env = offline.environment(tmp_path) | {"COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py", json.dumps(words)],
        env=env, cwd=tmp_path, capture_output=True, timeout=580,
    )  # fmt: skip
    processes, asked = offline.told(tmp_path)
    assert processes >= 1
    assert asked == []
    out, error = (text.decode("utf-8", "surrogateescape") for text in (done.stdout, done.stderr))
    codes = [int(line.split()[1]) for line in error.splitlines() if line.startswith("code ")]
    return codes, out + error


def check_text(text):
    assert "Traceback" not in text, text
    for raw in RAW:
        assert raw not in text, text
    assert text.isascii() or text.encode("utf-8")  # a lone surrogate cannot be encoded


def check_files(tmp_path):
    """Pages hold no markup and nothing that turns or hides text; no name was run by a shell."""
    pages = list(tmp_path.rglob("*.html"))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for raw in (*RAW, "<script", "<img src=x", "<b>"):
            assert raw not in text, (page, raw)
    for file in (*tmp_path.rglob("report.json"), *tmp_path.rglob("result.json")):
        json.loads(file.read_text(encoding="utf-8"))
    assert not list(tmp_path.rglob("mark"))
    return len(pages)


def test_what_is_shown():
    assert shown("a\x1b[0m\u202e\u2066\ufeff\udcff\x9b\n\u2028") == (
        r"a\x1b[0m\u202e\u2066\ufeff\udcff\x9b\n\u2028"
    )
    assert shown("naïve 猫 $x$ <b>") == "naïve 猫 $x$ <b>"


def test_commands_on_a_folder_with_such_names(tmp_path, folder):
    train = ["--epochs", 1, "--quiet"]
    codes, text = called(
        tmp_path,
        ["preview", folder, "--rows", 6, "--out", tmp_path / f"one {RED}"],
        ["preview", folder, "--json", "--out", "two"],
        ["train", folder, "--model", "mlp", "--epochs", 1, "--workers", 1, "--out", f"run {RED}"],
        ["predict", f"run {RED}", folder, "--top-k", 3, "--confusion", f"{TITLE}c.png"],
        ["predict", f"run {RED}", folder, "--csv", "--workers", 1],
        ["predict", f"run {RED}", folder, "--json", *train[2:]],
    )
    check_text(text)
    assert codes == [0] * 6, text
    assert check_files(tmp_path) == 2


@pytest.mark.parametrize("command", ["compare", "tune"])
def test_reports_on_a_folder_with_such_names(tmp_path, folder, command):
    more = ["--policies", "none mixup:1"] if command == "compare" else ["--trials", 1]
    words = [command, folder, "--model", "mlp", *more, "--seeds", 1, "--jobs", 1, "--epochs", 1]
    codes, text = called(tmp_path, [*words, "--out", f"out {RED}"])
    check_text(text)
    assert codes == [0], text
    assert check_files(tmp_path) == 1


def test_refusals_of_such_names(tmp_path, folder):
    broken = folder / CLASSES[0] / f"{TITLE}{OVERRIDE}.png"
    with open(broken, "wb") as out:  # noqa: PTH123
        out.write(b"\x89PNG nothing")
    nowhere = f"{folder}{TITLE}"
    (tmp_path / f"{RED}.py").write_text("mix = 5")
    (tmp_path / f"{RED}").mkdir()
    (tmp_path / f"{RED}" / "config.json").write_text(json.dumps({"batchmix": {"format": TITLE}}))
    codes, text = called(
        tmp_path,
        ["preview", folder, "--first", 0, "--rows", 32, "--out", "one"],
        ["preview", nowhere],
        ["stats", f"mixup{TITLE}"],
        ["train", folder, "--epochs", 1, "--out", "two"],
        ["train", nowhere, "--out", "two"],
        ["train", "digits", "--model", f"timm:{TITLE}", "--epochs", 1, "--out", "two"],
        ["compare", folder, "--epochs", 1, "--out", "three"],
        ["compare", "digits", "--policies", f"none {TITLE}"],
        ["tune", folder, "--epochs", 1, "--out", "four"],
        ["predict", f"{RED}", folder],
        ["predict", nowhere, folder],
        ["audit", f"{RED}.py:mix"],
        ["audit", f"{TITLE}:mix{OVERRIDE}"],
        ["explore", nowhere, "--no-browser"],
        ["bench", "--shape", TITLE],
    )
    check_text(text)
    assert codes[1:] == [2] * 14, text
