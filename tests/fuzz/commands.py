"""Command lines, a word a line: a result or one line, whatever is typed.

What takes long is as if it were not installed, so a command ends where its arguments are checked.
Nothing is audited: that imports what it is told to.
"""

import contextlib
import io
import os
import sys

from batchmix import cli
from fuzz.refusals import FOLDER

ABSENT = (
    "torch", "matplotlib", "uvicorn", "sklearn", "timm", "optuna", "ray", "datasets", "joblib",
    "huggingface_hub",
)  # fmt: skip
LINES = (
    "train digits --epochs 2 --limit-train 100 --policy mixup:0.8,prob=0.5 --seed 3 --out x",
    "train rows --targets t.csv --image-size 32 --optimizer adamw --lr 0.1 --ema 0.9 --devices 1",
    "compare digits --policies none|mixup:1 --seeds 3 --epochs 2 --noise 0.2 --jobs 1 --out x",
    "compare . --model resnet20 --augment light --batch-size 32 --json --quiet",
    "tune digits --trials 3 --policies mixup|cutmix --seeds 1 --engine optuna --pruner median",
    "predict model a.png --batch-size 4 --targets t.csv --top 3 --out x",
    "preview digits --policy cutmix:1 --rows 4 --seed 2 --alpha 0.4 --out x",
    "stats mixup:1 --size 8 --batch 16 --json",
    "stats cutmix:0.5 --size 8x9 --draws 3 --quiet",
    "explore digits --port 7000 --host 127.0.0.1",
    "--version", "train --help", "audit --replay nowhere.npz", "nothing",
)  # fmt: skip


def seeds():
    return [line.replace(" ", "\n").replace("|", " ").encode() for line in LINES]


def _raise():
    raise


def one(data):
    words = data.decode("utf-8", "surrogateescape").replace("\0", "").split("\n")
    if "bench" in words or ("audit" in words and any(":" in word for word in words)):
        return
    folder, kept = FOLDER / "commands", {name: sys.modules.get(name) for name in ABSENT}
    folder.mkdir(exist_ok=True)
    here, report, error = os.getcwd(), cli._report, io.StringIO()  # noqa: PTH109
    os.chdir(folder)
    sys.modules.update(dict.fromkeys(ABSENT))
    cli._report = _raise
    code = None
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error):
            cli.main(words)
    except SystemExit as stop:
        code = stop.code
    finally:
        os.chdir(here)
        cli._report = report
        for name, module in kept.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    assert code in (0, 1, 2), code
    line = error.getvalue().rstrip("\n").rpartition("\n")[2]  # what comes before is progress
    assert code != 2 or (line.startswith("batchmix: ") and line.isprintable()), line[:500]
