"""The code of a page, and running it; the pages of hosts run where the host is installed.

Python always runs; in a block with title="mine.py" it is also kept in a file of that name. Right
after a block, one fenced as ```text shows what it prints:

- title="Output": exactly this. A block of ```bash runs where it has one, and only there.
- title="Output, numbers vary": this, but for numbers and spaces; of commands alone.
- title="From a run ...": of a command that takes too long to be run by a test; it is not.
"""

import contextlib
import io
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
OUTPUT, VARIES = "Output", "Output, numbers vary"
# a block may be indented: in a tab, in a list
BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>python|bash)\b(?P<info>[^\n]*)\n(?P<code>.*?)^(?P=indent)```$"
    r'(?:\n\s*^(?P=indent)```text title="(?P<title>Output[^"]*)"\n'
    r"(?P<output>.*?)^(?P=indent)```$)?",
    re.MULTILINE | re.DOTALL,
)
PEERS = ["fastai.md", "keras.md"]  # pages of docs/peers whose Python needs the host
KINDS = ["text.md"]  # and of docs/kinds
OWN = {"datarax.md", "composer.md"}  # hosts with an environment of their own


class Block(NamedTuple):
    """Code after empty lines, so that a traceback has the page's line, and what it prints."""

    language: str
    file: str  # in which Python is kept too
    code: str
    output: str | None  # None: the page does not say
    varies: bool


def section(title):
    """The pages of a section of the navigation, in its order."""
    _, _, nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")
    (entries,) = [part[title] for part in yaml.safe_load(nav) if title in part]
    return [DOCS / page for page in _pages(entries)]


def _pages(entries):
    if isinstance(entries, str):
        return [entries]
    parts = entries.values() if isinstance(entries, dict) else entries
    return [page for part in parts for page in _pages(part)]


def host_pages():
    """The pages that need a host; the first of the section Hosts compares all of them."""
    peers = [DOCS / "peers" / page for page in PEERS]
    kinds = [DOCS / "kinds" / page for page in KINDS]
    return [*section("Hosts")[1:], DOCS / "quickstart-tensorflow.md", *peers, *kinds]


def blocks(page, language="python"):
    """Its Python, or its commands that show an output, block by block."""
    return [block for block in all_blocks(page) if block.language == language]


def all_blocks(page):
    """What is to run, in the order of the page."""
    text = page.read_text()
    for found in BLOCK.finditer(text):
        title, file = found["title"], re.search(r'title="([\w.]+\.py)"', found["info"])
        assert title in (None, OUTPUT, VARIES), f"{page.name}: no output has the title {title}"
        if found["language"] == "python" or title:
            yield Block(
                found["language"],
                file[1] if file else "",
                "\n" * text.count("\n", 0, found.start("code")) + textwrap.dedent(found["code"]),
                None if title is None else shown(textwrap.dedent(found["output"])),
                title == VARIES,
            )


def shown(printed):
    """What was printed as a page can show it: without spaces at the end of a line."""
    return "\n".join(line.rstrip() for line in printed.rstrip().splitlines())


def without_numbers(printed):
    """What is alike in each run: not numbers, nor the spaces and lines beside them."""
    return re.sub(r"[\s\u2500]+", " ", re.sub(r"[+-]?\d[\d.,]*", "0", printed))


def printed_by(block, page, namespace):
    """Runs a block in the current folder and returns what it prints."""
    if block.language == "bash":
        return shown(_printed_by_commands(block.code))
    if block.file:
        Path(block.file).write_text(block.code.lstrip("\n"))
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(block.code, str(page), "exec"), namespace)
    return shown(out.getvalue())


def _printed_by_commands(code):
    """What the lines print in a terminal of 80 columns; `batchmix` is that of this environment."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    added = {"PATH": path, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "80", "NO_COLOR": "1"}
    done = subprocess.run(
        ["bash", "-c", code], env=os.environ | added, capture_output=True, text=True
    )
    assert done.stdout, f"{code}prints nothing: {done.stderr}"
    return done.stdout


END = "-- end of a block --"


def run(page, folder, **environment):
    """All blocks as one program in a process of its own; a file, as AutoGraph reads the source."""
    lines = [""] * page.read_text().count("\n")
    found = blocks(page)
    assert found, f"{page.name} has no Python"
    for block in found:
        for number, line in enumerate(block.code.splitlines()):
            lines[number] = line or lines[number]
        lines[number + 1] = f"print({END!r})"  # where the page closes the block
    program = folder / f"{page.stem}_page.py"
    program.write_text("\n".join(lines))
    done = subprocess.run(
        [sys.executable, str(program)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    *printed, rest = done.stdout.split(f"{END}\n")
    assert (len(printed), rest) == (len(found), "")
    for block, text in zip(found, printed):
        assert block.output in (None, shown(text)), f"{page.name} shows another output"
