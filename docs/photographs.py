"""The photographs of the documentation's figures, and what policies make of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label, median_filter

import batchmix as bm
from batchmix.cli._mixing import Mixing
from batchmix.cli.show.opened import open_source
from batchmix.cli.show.shown import Batch, Shown
from batchmix.cli.show.theme import DARK, LIGHT, Theme
from batchmix.policies import Policy

Draw = Callable[[Theme], bytes]
THEMES: Mapping[str, Theme] = {"": LIGHT, "-dark": DARK}  # what the name of a file ends in


def photographs(*names: str) -> Batch:
    """Rows of the data set `photos`, such as 'cat-0', in this order."""
    source = open_source("photos")
    numbers = {name.partition("/")[2]: i for i, name in enumerate(source.data.train.names)}
    rows = np.array([numbers[f"{name}.jpg"] for name in names])
    return Batch(source, source.read(rows), source.y[rows], Mixing())


FIVE = photographs("cat-0", "flower-1", "temple-1", "coffee-1", "astronaut-1")


def shown(
    name: str,
    policy: Policy,
    key: bm.Key = bm.Key(0),  # noqa: B008  an immutable value
    pairing: bm.pairing.Pairing = bm.pairing.Roll(1),  # noqa: B008  an immutable value
    batch: Batch = FIVE,
    hints: Mapping[str, Any] | None = None,
) -> Shown:
    """A policy on the rows of a figure; the neighbour is the partner, so that classes differ."""
    plan = bm.draw(policy, key, len(batch), batch.size, pairing=pairing, hints=hints)
    return batch.apply(name, plan)


def shades(x: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Classes of pixels [B, H, W]: dark, grey, light."""
    return median_filter(np.digitize(x.mean(-1), [70, 150]), (1, 7, 7))


def instances(x: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Things that are orange [B, H, W], in each picture by number; 0 is all else."""
    red, green, blue = np.moveaxis(x.astype(int), -1, 0)
    orange = (red > 120) & (red > 1.25 * green) & (red > 1.4 * blue)
    return np.stack([label(median_filter(one, 9))[0] for one in orange])


def small(content: bytes, scale: float = 1.0, colours: int = 128) -> bytes:
    """A PNG of few colours; that of the page, in the corner, becomes transparent."""
    made, whole = io.BytesIO(), Image.open(io.BytesIO(content)).convert("RGB")
    if scale != 1:
        size = (round(whole.width * scale), round(whole.height * scale))
        whole = whole.resize(size, Image.Resampling.LANCZOS)
    few = whole.quantize(colours, kmeans=4, dither=Image.Dither.NONE)
    few.save(made, "png", optimize=True, transparency=few.getpixel((0, 0)))
    return made.getvalue()
