"""The Python of a page, and running it; the pages of hosts run where the host is installed.

A block ```text title="Output" right after a block of Python is what that block prints.
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
# a block may be indented: in a tab, in a list
BLOCK = re.compile(
    r"^(?P<indent> *)```python\b[^\n]*\n(?P<code>.*?)^(?P=indent)```$"
    r'(?:\n\s*^(?P=indent)```text title="Output"\n(?P<output>.*?)^(?P=indent)```$)?',
    re.MULTILINE | re.DOTALL,
)
OWN = {"datarax.md", "composer.md"}  # hosts with an environment of their own


class Block(NamedTuple):
    """A block of Python after empty lines, so that a traceback has the page's line."""

    code: str
    output: str | None  # what the page says it prints; None: nothing is said


def host_pages():
    """The pages of the section Hosts."""
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    (pages,) = [part["Hosts"] for part in config["nav"] if "Hosts" in part]
    return [DOCS / page for part in pages for page in part.values()]


def blocks(page):
    """Its Python, block by block, each with its output where the page shows one."""
    text = page.read_text()
    return [
        Block(
            "\n" * text.count("\n", 0, found.start("code")) + textwrap.dedent(found["code"]),
            None if found["output"] is None else shown(textwrap.dedent(found["output"])),
        )
        for found in BLOCK.finditer(text)
    ]


def shown(printed):
    """What was printed as a page can show it: without spaces at the end of a line."""
    return "\n".join(line.rstrip() for line in printed.rstrip().splitlines())


def printed_by(block, page, namespace):
    """Runs a block and returns what it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(block.code, str(page), "exec"), namespace)
    return shown(out.getvalue())


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
