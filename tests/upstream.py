"""The reports of docs/upstream: what they are about, their lines, and what these print."""

import importlib.metadata
import os
import re
import subprocess
import sys

from pages import DOCS

REPORTS = sorted(path for path in (DOCS / "upstream").glob("*.md") if path.stem != "index")
FORMULAS = {"FFCV", "Datarax"}  # of which lines were written down: these need no such library


def parts(report):
    """Library, version, Python, and what it prints."""
    text = report.read_text()
    library, version = re.search(r"^Not sent\. (\S+) (\S+?)[;,\s]", text, re.MULTILINE).groups()
    code, printed = re.search(
        r"```py\n(.*?)```\n\nprints\n\n```text\n(.*?)```", text, re.S
    ).groups()
    return library, version, code, printed


def runs_here(report):
    """Whether the library, in the version of the report, is installed; formulas need none."""
    library, version, *_ = parts(report)
    if library in FORMULAS and "formula run" in report.read_text():
        return True
    try:
        return importlib.metadata.version(library.lower()).startswith(version)
    except importlib.metadata.PackageNotFoundError:
        return False


def printed(report, folder):
    """What the lines of a report print, in a process of their own."""
    program = folder / f"{report.stem.replace('-', '_')}.py"
    program.write_text(parts(report)[2])
    settings = {"KERAS_BACKEND": "jax", "YOLO_CONFIG_DIR": str(folder), "YOLO_OFFLINE": "true"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(program)],
        env=os.environ | settings, capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
