"""Lightning Fabric, imported without torchvision.

Fabric asks for the version of torchmetrics to know whether its detection of loss spikes would work,
and the import of torchmetrics brings torchvision with it: seconds, for what is not used here. So
while Fabric is imported, torchmetrics is as if it were not installed.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch

from batchmix._errors import mix_error

__all__ = ["DDPStrategy", "Fabric", "TensorBoardLogger", "enough_memory", "open_fabric"]

if _absent := "torchmetrics" not in sys.modules:
    sys.modules["torchmetrics"] = cast(Any, None)
try:
    from lightning_fabric import Fabric
    from lightning_fabric.loggers import TensorBoardLogger
    from lightning_fabric.strategies import DDPStrategy
finally:
    if _absent:
        del sys.modules["torchmetrics"]
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells of each process


def open_fabric(**options: Any) -> Fabric:
    """A Fabric for the device, precision and processes."""
    try:
        return Fabric(**options)
    except Exception as error:  # Fabric raises ValueError, TypeError and its own kinds
        raise mix_error(
            ", ".join(f"--{name} {value}" for name, value in options.items()),
            f"Lightning Fabric says: {str(error).rstrip('.')}.",
            "The machine must have what is asked for.",
            "Try --accelerator cpu --devices 1.",
        ) from None


@contextmanager
def enough_memory() -> Iterator[None]:
    """Memory that is not there is a MemoryError, on the host as on a device."""
    try:
        yield
    except RuntimeError as error:
        lacking = "can't allocate memory" in str(error)  # the host's has no class of its own
        if not lacking and not isinstance(error, torch.OutOfMemoryError):
            raise
        raise MemoryError("Lower --batch-size, --workers or --image-size.") from None
