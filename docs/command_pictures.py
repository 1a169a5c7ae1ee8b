"""Pictures of the pages of commands, made by the commands themselves: run it when they changed."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path

from batchmix.cli import main

PICTURES = Path(__file__).parent / "commands"
RUNS = {
    "confusion.png": [
        "train digits --mixup 0.2 --cutmix 1 --epochs 5 --out digits-model",
        "predict digits-model digits --confusion confusion.png",
    ],
}


def make() -> dict[str, bytes]:
    """Each picture, by its name."""
    made = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name, commands in RUNS.items():
            for command in commands:
                with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
                    main(command.split())
            made[name] = Path(name).read_bytes()
    return made


if __name__ == "__main__":
    for name, picture in make().items():
        (PICTURES / name).write_bytes(picture)
