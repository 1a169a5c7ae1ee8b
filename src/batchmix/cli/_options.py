"""Options that several commands share; None where the data decides (see `lab.defaults`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument, Option

from batchmix.cli._output import MOST_PIXELS
from batchmix.cli.lab.training import Augment, MixOn, Optimizer, Training

_DATA, _TRAINING, _MACHINE = "Data", "Training", "Machine"

DataName = Annotated[
    str, Argument(help="'digits', a folder of images or WAV files, or a Hugging Face data set.")
]
DataOrTable = Annotated[
    str,
    Argument(help="'digits', a folder of images or WAV files, a CSV, or a Hugging Face data set."),
]
Targets = Annotated[
    Path | None,
    Option(help="CSV of targets: a column 'file', then labels or numbers.", rich_help_panel=_DATA),
]
Target = Annotated[
    str | None,
    Option(metavar="COLUMN", help="Of a CSV, the column that is learnt.", rich_help_panel=_DATA),
]
Sound = Annotated[
    Literal["mel", "wave"] | None,
    Option(help="WAV files as 'mel' (log-mel, default) or 'wave'.", rich_help_panel=_DATA),
]
Seconds = Annotated[
    float | None, Option(help="Length of every sound. Default: the median.", rich_help_panel=_DATA)
]
SkipBad = Annotated[
    bool, Option("--skip-bad", help="Leave out files that cannot be read.", rich_help_panel=_DATA)
]
LimitTrain = Annotated[
    int | None,
    Option(min=1, help="Training rows at most. digits: 600, else all.", rich_help_panel=_DATA),
]
ImageSize = Annotated[
    int | None,
    Option(min=1, max=MOST_PIXELS, help="Resize images to N x N.", rich_help_panel=_DATA),
]

Model = Annotated[
    str | None,
    Option(
        help="mlp, convnet, resnet20, m5 or timm:NAME. Default: by the data.",
        rich_help_panel=_TRAINING,
    ),
]
Pretrained = Annotated[
    bool, Option("--pretrained", help="Begin with timm's weights.", rich_help_panel=_TRAINING)
]
Finetune = Annotated[
    bool,
    Option("--finetune", help="The head alone first, then all.", rich_help_panel=_TRAINING),
]
Epochs = Annotated[
    int | None,
    Option(min=1, help="Default: by the rows, 150 down to 5.", rich_help_panel=_TRAINING),
]
BatchSize = Annotated[
    int | None,
    Option(
        min=1,
        help="Rows per step and device. Default: 64; 128 for many rows.",
        rich_help_panel=_TRAINING,
    ),
]
Accumulate = Annotated[
    int | None,
    Option(min=1, help="Passes that make up a step. Default: 1.", rich_help_panel=_TRAINING),
]
OptimizerName = Annotated[
    Optimizer | None,
    Option("--optimizer", help="SGD with momentum 0.9, or AdamW.", rich_help_panel=_TRAINING),
]
Lr = Annotated[
    float | None,
    Option(help="Highest learning rate; a cosine takes it to 0.", rich_help_panel=_TRAINING),
]
Warmup = Annotated[
    float | None, Option(min=0, help="Epochs in which the rate rises.", rich_help_panel=_TRAINING)
]
WeightDecay = Annotated[
    float | None, Option(min=0, help="How fast weights shrink.", rich_help_panel=_TRAINING)
]
Ema = Annotated[
    float | None,
    Option(
        min=0, max=1, help="Decay of averaged weights. Default: 0, none.", rich_help_panel=_TRAINING
    ),
]
AugmentName = Annotated[
    Augment | None,
    Option(
        "--augment",
        help="light: crop and flip; timm: RandAugment and random erasing too.",
        rich_help_panel=_TRAINING,
    ),
]
MixOnName = Annotated[
    MixOn | None,
    Option("--mix-on", help="Where rows are mixed. Default: device.", rich_help_panel=_TRAINING),
]
Precision = Annotated[
    str | None, Option(help="32-true (default), bf16-mixed or 16-mixed.", rich_help_panel=_TRAINING)
]
Compile = Annotated[bool, Option("--compile", help="torch.compile.", rich_help_panel=_TRAINING)]

Workers = Annotated[
    int | None,
    Option(min=0, help="Processes that decode, per training; 0: none.", rich_help_panel=_MACHINE),
]
Accelerator = Annotated[
    Literal["auto", "cpu", "cuda", "gpu", "mps"] | None,
    Option(help="What the model runs on.", rich_help_panel=_MACHINE),
]
Jobs = Annotated[
    int | None,
    Option(
        min=1,
        help="Trainings side by side. Default: one per core; one per GPU with cuda.",
        rich_help_panel=_MACHINE,
    ),
]

Threads = Annotated[
    int,
    Option(
        min=1,
        help="Of each training on the CPU; results depend on it in their last digits.",
        rich_help_panel=_MACHINE,
    ),
]


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a command's options that are a training's and were given."""
    names = {field.name for field in fields(Training)}
    return {k: v for k, v in options.items() if k in names and v is not None and v is not False}
