"""The Python of a page, and running it; the pages of hosts run where the host is installed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```python\b[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OWN = {"datarax.md", "composer.md"}  # hosts with an environment of their own
PEERS = ["fastai.md", "keras.md"]  # pages of docs/peers whose Python needs the host


def host_pages():
    """The pages of the section Hosts, and those of other libraries that need a host to run."""
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    (pages,) = [part["Hosts"] for part in config["nav"] if "Hosts" in part]
    found = [DOCS / page for part in pages for page in part.values()]
    return found + [DOCS / "peers" / page for page in PEERS]


def blocks(page):
    """Its Python, each block after empty lines, so that a traceback has the page's line."""
    text = page.read_text()
    return ["\n" * text.count("\n", 0, m.start(1)) + m[1] for m in BLOCK.finditer(text)]


def run(page, folder, **environment):
    """All blocks as one program in a process of its own; a file, as AutoGraph reads the source."""
    lines = [""] * page.read_text().count("\n")
    found = blocks(page)
    assert found, f"{page.name} has no Python"
    for block in found:
        for number, line in enumerate(block.splitlines()):
            lines[number] = line or lines[number]
    program = folder / f"{page.stem}_page.py"
    program.write_text("\n".join([*lines, "print('ran to the end')"]))
    done = subprocess.run(
        [sys.executable, str(program)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    assert "ran to the end" in done.stdout
