"""What is known of a saved model besides its weights: config.json, as timm and the Hub read it.

timm's own fields say architecture, names and preprocessing; the section "batchmix" says the rest.
Everything is checked when it is read, before anything is built.
"""

from __future__ import annotations

import math
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy

import batchmix
from batchmix._errors import MixError, mix_error
from batchmix.cli._json import read_json
from batchmix.cli._output import MOST_SEED, shown
from batchmix.cli.lab.engine.model_names import check_model
from batchmix.cli.lab.rows import Form, Kind, Task
from batchmix.cli.lab.training import Augment, MixOn, Optimizer, Training

WEIGHTS, CONFIG = "model.safetensors", "config.json"
_FORMAT = 1
_CELLS = 2**26  # of a row
_TIMM = "timm:"
_COUNTS = ("epochs", "batch_size", "accumulate", "image_size")
_CHOICES = {
    "augment": get_args(Augment),
    "optimizer": get_args(Optimizer),
    "mix_on": get_args(MixOn),
}
_NAME = re.compile(r"(timm:)?\w+(\.[\w-]+)?", re.ASCII)
_SMALL, _CENTRE = 64, 0.875  # as rows are evaluated: see augment


@dataclass(frozen=True)
class Saved:
    """A model without its weights: what it takes, what it gives, how it was trained."""

    training: Training
    task: Task
    form: Form
    shape: tuple[int, ...]  # of a row that enters it, channels first
    mean: tuple[float, ...]  # per channel; images count as 0..1
    std: tuple[float, ...]
    temperature: float | None = None  # fitted on held-out rows; logits are divided by it
    rate: int = 0  # of sound, cells per second
    versions: Mapping[str, str] = field(default_factory=dict)


def as_config(saved: Saved, architecture: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of a config; `architecture` holds what timm says of the network itself."""
    own = dict(architecture.get("pretrained_cfg", {}))
    whole = saved.training.augment == "none" or min(saved.shape[1:]) <= _SMALL
    preprocessing = {
        "input_size": list(saved.shape),
        "interpolation": "bilinear",
        "crop_pct": 1.0 if whole else _CENTRE,
        "crop_mode": "squash" if whole else "center",
        "mean": list(saved.mean),
        "std": list(saved.std),
        "num_classes": saved.task.outputs,
    }
    return {
        "architecture": saved.training.model.removeprefix(_TIMM).partition(".")[0],
        "num_classes": saved.task.outputs,
        **{key: value for key, value in architecture.items() if key != "pretrained_cfg"},
        "label_names": list(saved.task.names),
        "pretrained_cfg": own | preprocessing,
        "batchmix": {
            "format": _FORMAT,
            "task": saved.task.kind,
            "form": saved.form,
            "temperature": saved.temperature,
            "rate": saved.rate,
            "training": asdict(saved.training),
            "versions": {
                "python": platform.python_version(),
                "batchmix": batchmix.__version__,
                "numpy": numpy.__version__,
                **saved.versions,
            },
        },
    }


def read_config(folder: Path) -> Saved:
    """The config of a folder. Whatever is wrong with it is one MixError."""
    path = folder / CONFIG
    try:
        return _read(read_json(path))
    except OSError as error:
        raise refused(path, f"{error.strerror}") from None
    except ValueError as error:  # a MixError is one
        raise refused(path, " ".join(str(error).split()).rstrip(".")) from None


def refused(path: Path, reason: str) -> MixError:
    """The one error of a model that cannot be read."""
    return mix_error(
        f"MODEL {str(path)!r}", f"{reason}.",
        f"A model is a folder with {WEIGHTS} and {CONFIG}, as train and compare write them.",
        "Pass such a folder.",
    )  # fmt: skip


def _read(config: Any) -> Saved:
    """ValueError says what is wrong."""
    own = _get(config, "batchmix", dict)
    if (found := own.get("format")) != _FORMAT:
        raise ValueError(f"its format is {found!r}, not {_FORMAT}")
    kind, form = own.get("task"), own.get("form")
    if kind not in get_args(Kind) or form not in get_args(Form):
        raise ValueError(f"it is for {kind!r} of {form!r}")
    names = tuple(_get(config, "label_names", list))
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError("'label_names' are no names")
    if len(set(names)) < len(names):
        raise ValueError("'label_names' has a name twice")
    if config.get("num_classes") != len(names):
        raise ValueError(f"it has {config.get('num_classes')!r} outputs and {len(names)} names")
    about = _get(config, "pretrained_cfg", dict)
    shape = _shape(about, 2 if form == "wave" else 3)
    mean, std = (_numbers(about, key, shape[0]) for key in ("mean", "std"))
    if min(std) <= 0:
        raise ValueError("'std' has a number that is not > 0")
    temperature = own.get("temperature")
    if temperature is not None and not (_is_number(temperature) and temperature > 0):
        raise ValueError(f"'temperature' is {temperature!r}")
    rate = own.get("rate")
    if type(rate) is not int or rate < 0 or (form != "image" and not rate):
        raise ValueError(f"'rate' is {rate!r}")
    training = _training(_get(own, "training", dict))
    if form == "image" and training.image_size and {*shape[1:]} != {training.image_size}:
        raise ValueError(f"'input_size' is {list(shape)}, image_size {training.image_size}")
    if not _NAME.fullmatch(training.model):  # no address, no path
        raise ValueError(f"its model is called {training.model!r}")
    check_model(training.model, form=form)
    if training.model.removeprefix(_TIMM).partition(".")[0] != config.get("architecture"):
        raise ValueError(f"it has the models {config.get('architecture')!r}, {training.model!r}")
    versions = {shown(key): shown(value) for key, value in _get(own, "versions", dict).items()}
    return Saved(
        training, Task(kind, tuple(map(shown, names))), form, shape, mean, std, temperature,
        rate, versions,
    )  # fmt: skip


def _get(config: Any, key: str, kind: type) -> Any:
    if not isinstance(config, dict) or not isinstance(config.get(key), kind):
        raise ValueError(f"{key!r} is missing, or no {kind.__name__}")
    return config[key]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _numbers(config: Any, key: str, count: int) -> tuple[float, ...]:
    found = _get(config, key, list)
    if len(found) != count or not all(_is_number(value) for value in found):
        raise ValueError(f"{key!r} is not {count} numbers")
    return tuple(float(value) for value in found)


def _shape(config: Any, axes: int) -> tuple[int, ...]:
    found = _get(config, "input_size", list)
    if len(found) != axes or not all(type(n) is int and n > 0 for n in found):
        raise ValueError(f"'input_size' is not {axes} numbers > 0")
    if math.prod(found) > _CELLS:
        raise ValueError(f"'input_size' has more than {_CELLS} cells")
    return tuple(found)


def _training(found: dict[str, Any]) -> Training:
    """Of the fields that this version knows; each has the type of the default or of the others."""
    known = Training.__dataclass_fields__
    kinds = {key: type(one.default) for key, one in known.items()}
    kinds |= {"model": str, "epochs": int, "batch_size": int, "lr": float, "image_size": int}
    for key, value in found.items():
        fits = key not in kinds or type(value) in (
            (float, int) if kinds[key] is float else (kinds[key],)
        )
        if type(value) in (int, float):
            fits = fits and (1 if key in _COUNTS else 0) <= value <= MOST_SEED
        if key in _CHOICES:
            fits = value in _CHOICES[key]
        if not (fits or (key == "image_size" and value is None)):
            raise ValueError(f"'training' has {key} = {repr(value)[:80]}")
    missing = {"model", "epochs", "batch_size", "lr"} - set(found)
    if missing:
        raise ValueError(f"'training' lacks {min(missing)!r}")
    return Training(**{key: value for key, value in found.items() if key in known})
