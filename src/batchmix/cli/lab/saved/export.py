"""A trained model as a folder that this command line, timm and the Hub can read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from batchmix._errors import MixError
from batchmix._regular import check_regular
from batchmix.cli._output import write_together
from batchmix.cli.lab.engine.models import build
from batchmix.cli.lab.rows import Form, Task
from batchmix.cli.lab.saved.config import CONFIG, WEIGHTS, Saved, as_config, read_config, refused
from batchmix.cli.lab.training import Training

# of timm's own description of a network, what stays true of trained weights
_KEPT = ("fixed_input_size", "pool_size", "first_conv", "classifier", "license", "paper_ids")


def save_model(
    folder: Path,
    model: nn.Module,
    *,
    training: Training,
    task: Task,
    form: Form,
    shape: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    temperature: float | None = None,
    rate: int = 0,
) -> None:
    """Write model.safetensors and config.json, each whole or not at all, and of one model.

    `shape` is that of a row as it enters the model, channels last; `mean` and `std` are those of
    `feed.prepare`; `rate` is that of sound.
    """
    model = _plain(model)
    tensors = {
        # own memory each, as two names may share one
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }
    saved = Saved(
        training, task, form, (shape[-1], *shape[:-1]), tuple(mean), tuple(std), temperature, rate,
        {"torch": torch.__version__},
    )  # fmt: skip
    content = json.dumps(as_config(saved, _architecture(model, saved)), indent=2)
    weights = save(tensors, metadata={"format": "pt"})
    write_together({folder / WEIGHTS: weights, folder / CONFIG: (content + "\n").encode()})


def load_model(folder: Path) -> tuple[nn.Module, Saved]:
    """The model in evaluation mode, on the host, and what is known of it.

    Nothing but numbers is taken from the weights. Whatever does not fit is one MixError.
    """
    saved, path = read_config(folder), folder / WEIGHTS
    try:
        check_regular(path)
        with safe_open(path, "pt") as file:
            names = file.keys()
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
            model = _built(saved, shapes, path)
            tensors = {name: file.get_tensor(name) for name in shapes}
    except (
        OSError,
        SafetensorError,
        AttributeError,
    ) as error:  # the last for dtypes of newer torch
        raise refused(path, f"it cannot be read ({error})") from None
    for name, value in model.state_dict().items():
        found = tensors[name]
        if found.dtype != value.dtype:
            raise refused(path, f"{name!r} is {found.dtype}, the model's is {value.dtype}")
        if not torch.isfinite(found).all():
            raise refused(path, f"{name!r} has a value that is not finite")
    model.load_state_dict(tensors)
    return model.eval(), saved


def _built(saved: Saved, shapes: Mapping[str, tuple[int, ...]], path: Path) -> nn.Module:
    """The network that the config names, whose tensors must have the names and shapes found."""
    if saved.task.outputs not in {shape[0] for shape in shapes.values() if shape}:
        raise refused(path, f"no tensor is for {saved.task.outputs} outputs")
    try:
        with torch.device("meta"):  # so that no size and no name in a file can fill the memory
            blank = _network(saved, path)
    except MixError:
        if not saved.training.model.startswith("timm:"):
            raise  # some models of older timm cannot be built without memory
    else:
        _check(blank.state_dict(), shapes, path)
    model = _network(saved, path)
    _check(model.state_dict(), shapes, path)
    return model


def _network(saved: Saved, path: Path) -> nn.Module:
    shape: Any = saved.shape
    with torch.random.fork_rng(devices=[]):
        try:
            return build(saved.training.model, shape, saved.task.outputs, saved.training.seed)
        except Exception as error:  # timm's models raise whatever does not fit them
            said = " ".join(str(error).split()).rstrip(".")
            raise refused(path, f"the model cannot be built ({said})") from None


def _check(
    expected: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], path: Path
) -> None:
    if set(expected) != set(shapes):
        lacks, more = set(expected) - set(shapes), set(shapes) - set(expected)
        said = f"lacks the tensor {min(lacks)!r}" if lacks else f"holds a tensor {min(more)!r}"
        raise refused(path, f"it {said}{'' if lacks else ', which the model has not'}")
    for name, value in expected.items():
        if tuple(value.shape) != shapes[name]:
            raise refused(
                path, f"{name!r} has the shape {shapes[name]}, the model's {tuple(value.shape)}"
            )


def _plain(model: Any) -> nn.Module:
    """The network itself, out of what Fabric, DDP and torch.compile put around it."""
    while True:
        inner = getattr(model, "_orig_mod", None) or getattr(model, "module", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def _architecture(model: Any, saved: Saved) -> dict[str, Any]:
    """What timm needs to build the network again; nothing for our own."""
    if not saved.training.model.startswith("timm:"):
        return {}
    about = model.pretrained_cfg
    kept = {key: about[key] for key in _KEPT if key in about}
    arguments: dict[str, Any] = {}
    if saved.shape[0] != 3:
        arguments["in_chans"] = saved.shape[0]
    if about.get("fixed_input_size") and tuple(about["input_size"][1:]) != saved.shape[1:]:
        arguments["img_size"] = list(saved.shape[1:])
    found = {"num_features": model.num_features, "pretrained_cfg": kept}
    return found | ({"model_args": arguments} if arguments else {})
