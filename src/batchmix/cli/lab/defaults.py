"""How a model is trained where the command line does not say: by what the rows are, and how many.

The table of docs/train.md says the same. Nothing here imports torch.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any, get_args

from batchmix._errors import MixError, mix_error
from batchmix.cli.lab.engine.model_names import TIMM, check_model
from batchmix.cli.lab.rows import Data
from batchmix.cli.lab.split import train_count
from batchmix.cli.lab.training import Augment, MixOn, Optimizer, Training

SMALL = 64  # px: larger images are scaled down for the small models
_TIMM_SIDE = 224  # px that timm's models see
_EPOCHS = ((1_000, 150), (10_000, 60), (100_000, 30), (math.inf, 15))  # by training rows below
_PRETRAINED_EPOCHS = ((1_000, 30), (10_000, 15), (math.inf, 5))
# of the optimizer that is not the default of the data: their rates are no rates of each other
_OTHERWISE: Mapping[str, dict[str, float]] = {
    "adamw": {"lr": 1e-3, "weight_decay": 0.05},
    "sgd": {"lr": 0.01, "weight_decay": 5e-4},
}
_ATTENTION = ("vit", "deit", "beit", "swin", "eva", "cait", "xcit", "maxvit", "mixer", "convnext")
_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
_MOST_SIDE = 4096  # px
_LOOK = 16  # rows


def choose(data: Data, given: Mapping[str, Any], limit_train: int | None = None) -> Training:
    """The training: what is given (None: not given), and for the rest what suits the data."""
    given = {name: value for name, value in given.items() if value is not None}
    model = given.get("model") or _model(data)
    pretrained = given.get("pretrained", False)
    check_model(model, pretrained, data.form)
    rows = train_count(len(data.train), bool(data.val or data.test), limit_train)
    found: dict[str, Any] = (
        {"model": model} | _size(data, model) | _schedule(data, model, rows, pretrained)
    )
    optimizer = given.get("optimizer")
    if optimizer and optimizer != found.get("optimizer", "sgd"):
        found |= _OTHERWISE[optimizer]
    training = Training(**(found | given))
    if "warmup" not in given:  # by default it fits into the epochs, however few
        training = replace(training, warmup=min(training.warmup, training.epochs / 10))
    _check(training, data)
    return training


def workers(data: Data) -> int:
    """Processes that decode beside the one that trains: none where the rows are in memory."""
    return 0 if getattr(data.train.read, "x", None) is not None else 2


def limit_of(data: Data, given: int | None) -> int | None:
    """Training rows at most; of digits 600, the number that makes them hard."""
    return given or (600 if data.name == "digits" else None)


def command(name: str, data: str, training: Training, **others: Any) -> str:
    """The command line that repeats a run: every choice, also those made by default.

    `others` are the command's other options; None and False are left out, lists are repeated, and
    a tuple is one option of several values.
    """
    words = ["batchmix", name, data]
    options = {field.name: getattr(training, field.name) for field in fields(training)}
    if name != "train":
        del options["seed"]  # trials have their own
    for option, value in (options | others).items():
        for each in value if isinstance(value, list) else [value]:
            if each is None or each is False:
                continue
            words.append("--" + option.replace("_", "-"))
            if each is not True:
                words += map(_word, each if isinstance(each, tuple) else [each])
    return shlex.join(words)


def _word(value: Any) -> str:
    """As short as it can be without another value."""
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _model(data: Data) -> str:
    """A small one, that learns without a GPU."""
    if data.name == "digits" or data.form == "table":
        return "mlp"
    return "m5" if data.form == "wave" else "resnet20"


def _size(data: Data, model: str) -> dict[str, Any]:
    """Side and augmentation of images. timm's models see 224 px, ours at most 64."""
    if data.form != "image":
        return {"augment": "none"}
    if data.name == "digits":
        return {"augment": "none"}
    if model.startswith(TIMM):
        return {"image_size": _TIMM_SIDE, "augment": "light"}
    sides = {side for shape in _shapes(data) for side in shape[:2]}
    small = len(sides) == 1 and max(sides) <= SMALL
    return {"augment": "light"} | ({} if small else {"image_size": SMALL})


def _shapes(data: Data) -> set[tuple[int, ...]]:
    """The shape of all rows where it is known, else the shapes of some."""
    if data.shape:
        return {data.shape}
    found = set()
    for i in range(0, len(data.train), max(1, len(data.train) // _LOOK)):
        with suppress(MixError):  # a file that cannot be read is named, or skipped, later
            found.add(data.train[i].shape)
    return found


def _schedule(data: Data, model: str, rows: int, pretrained: bool) -> dict[str, Any]:
    """Epochs, and how the weights move."""
    table = _PRETRAINED_EPOCHS if pretrained else _EPOCHS
    epochs = next(epochs for below, epochs in table if rows < below)
    if data.name == "digits":
        return {"epochs": 150, "batch_size": 64, "lr": 0.1}
    batch_size = 64 if rows < 10_000 or model.startswith(TIMM) else 128
    found: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "workers": workers(data)}
    attention = model.startswith(TIMM) and any(part in model for part in _ATTENTION)
    if pretrained or attention:
        decay = {"optimizer": "adamw", "weight_decay": 0.05, "warmup": 5.0}
        return found | decay | {"lr": 1e-4 if pretrained else 5e-4}
    if (
        data.form in ("wave", "table") or data.task.kind == "numbers"
    ):  # squared errors blow up at 0.1
        return found | {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 1e-4}
    if model == "mlp" or model == "convnet":
        return found | {"lr": 0.1}
    return found | {"lr": 0.1, "weight_decay": 5e-4, "warmup": 1.0}


def _check(training: Training, data: Data) -> None:
    """Every number in its range, before anything is read or imported."""
    for name, (fits, rule, fix) in _RULES.items():
        value = getattr(training, name)
        if not fits(value):
            option = "--" + name.replace("_", "-")
            raise mix_error(option, f"got {value}.", rule, f"Try {option} {fix}.")
    if training.warmup >= training.epochs:
        raise mix_error(
            "--warmup",
            f"got {training.warmup:g} of {training.epochs} epochs.",
            "The rate rises first and falls later.",
            f"Try --warmup {training.epochs / 10:g}.",
        )
    if training.finetune and not training.pretrained:
        raise mix_error(
            "--finetune",
            "got it without --pretrained.",
            "There is nothing to fine-tune in weights drawn at random.",
            "Add --pretrained.",
        )
    if training.image_size and data.form != "image":
        raise _for_images("--image-size", training.image_size)
    if training.image_size and data.name == "digits":
        raise mix_error(
            "--image-size", f"got {training.image_size} with digits.", "They are 8 x 8.",
            "Leave it out.",
        )  # fmt: skip
    if training.augment == "timm" and data.form != "image":
        raise _for_images("--augment", "timm")
    if training.augment != "none" and data.form == "table":
        raise _for_images("--augment", training.augment)


def _for_images(option: str, value: Any) -> MixError:
    return mix_error(
        option, f"got {value} with rows that are no images.", "It is for images.", "Leave it out."
    )


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and low <= value <= high


def _among(words: Any) -> tuple[Callable[[Any], bool], str, str]:
    return (lambda value: value in words), f"It is one of {', '.join(words)}.", words[0]


_RULES: Mapping[str, tuple[Callable[[Any], bool], str, str]] = {
    "epochs": (_whole(1, 10**6), "It counts epochs, 1 to 1,000,000.", "30"),
    "batch_size": (_whole(1, 2**20), "It counts rows, from 1 to 1,048,576.", "64"),
    "lr": (lambda lr: 0 < lr <= 1000, "It is a number > 0, at most 1000.", "0.1"),
    "seed": (_whole(0, 2**63 - 1), "It is an integer from 0 to 2^63 - 1.", "0"),
    "image_size": (
        lambda side: side is None or _whole(4, _MOST_SIDE)(side),
        f"It is the side of images in pixels, 4 to {_MOST_SIDE}.",
        "64",
    ),
    "augment": _among(get_args(Augment)),
    "mix_on": _among(get_args(MixOn)),
    "optimizer": _among(get_args(Optimizer)),
    "weight_decay": (lambda x: 0 <= x <= 10, "It is a number from 0 to 10.", "0.0005"),
    "warmup": (lambda x: 0 <= x < math.inf, "It counts epochs, from 0.", "1"),
    "ema": (lambda x: 0 <= x < 1, "It is the decay of averaged weights, 0 <= d < 1.", "0.999"),
    "accumulate": (_whole(1, 2**20), "It counts passes per step, from 1.", "1"),
    "precision": _among(_PRECISIONS),
    "workers": (_whole(0, 512), "It counts processes, 0 to 512.", "2"),
}
