"""A batch and what a plan does to it, as one picture for a notebook."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchmix._errors import mix_error
from batchmix._mixer import Mixer
from batchmix._numbers import is_whole
from batchmix._plan import Plan
from batchmix._show._look import look_of
from batchmix.fields import Field


@dataclass(frozen=True, repr=False)
class Picture:
    """A PNG: a notebook shows it, `save` writes it. Of sounds it has players too, if it can."""

    png: bytes
    players: str = ""  # HTML

    def __repr__(self) -> str:
        return f"Picture(PNG of {len(self.png):,} bytes; save(path) writes it)"

    def _repr_png_(self) -> bytes:
        return self.png

    def _repr_html_(self) -> str | None:
        if not self.players:
            return None  # the PNG is shown
        return f'<img src="data:image/png;base64,{b64encode(self.png).decode()}">{self.players}'

    def save(self, path: str | Path) -> None:
        """Write it as a PNG file."""
        Path(path).write_bytes(self.png)


def show(
    batch: Any,
    plan: Plan | Mixer,
    fields: str | Mapping[Any, Field] | None = None,
    *,
    rows: int = 8,
    classes: Sequence[str] | None = None,
    rate: int | None = None,
) -> Picture:
    r"""Draw the first rows of a batch: each row, its partners, what is pasted, and the mixed row.

    Under each mixed row is its label as a bar: blue is the row's own part, orange its partners'.
    Over an image its mask is drawn, with a colour for each id, and its bounding boxes with their
    masks and key points, each in the colour of the row it comes from. Needs matplotlib and typer.

    Args:
      batch: as it is before it is mixed: an array [B, ...] of any framework; or all of the batch,
        of which `fields` says what is where. Of a video the middle frame is drawn, of a volume the
        middle slice across each axis, of a table ("NC") the columns as a strip.
      plan: of this batch, as `draw` or `Mixer.draw` gave it; or a Mixer, of which the plan of step
        0 and the fields are taken. It does not count the batch.
      fields: a layout of the array, such as "NCHW"; or those of the Mixer, such as
        ``{0: Image("NCHW"), 1: Labels(10)}``, of which the first grid is drawn with the first
        Mask and BoundingBoxes, and the first Labels or Targets are named.
      rows: how many are drawn at most, 1..32.
      classes: names of the classes, of the boxes where there are no Labels; left out, numbers.
      rate: of sounds, cells per second: a notebook then plays each row before and after.

    Returns:
      A `Picture`: a notebook shows it, ``picture.save("batch.png")`` writes it. Floats that are
      not in 0..1 are scaled: the batch's smallest value is black, its largest white. Of other than
      1 or 3 channels the mean is drawn.

    Raises:
      MixError: what is none of these; a plan that is not of this batch, or takes partners from a
        second one; a `rate` of what is no sound; matplotlib or typer is missing.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> x = np.random.default_rng(0).random((8, 3, 16, 16), np.float32)
      >>> plan = bm.draw(bm.policies.CutMix(), bm.Key(0), 8, {"H": 16, "W": 16})
      >>> bm.show(x, plan, "NCHW").png[:4]
      b'\x89PNG'

    Differs from: other libraries draw mixed images alone, without partner, box and label.
    """
    if isinstance(plan, Mixer):
        fields = plan.fields if fields is None else fields
        plan = plan.draw(batch, step=0, epoch=0)
    if not isinstance(plan, Plan) or not isinstance(fields, str | Mapping):
        raise mix_error(
            "bm.show()", f"got a {type(plan).__name__} and a {type(fields).__name__}.",
            "After the batch come its plan, and a layout or the fields of the Mixer.",
            "Call it for example as bm.show(x, plan, 'NCHW').",
        )  # fmt: skip
    look = look_of(batch, plan, fields, rows, classes)
    if rate is not None and look.form != "wave":
        raise mix_error(
            "bm.show()", f"got rate={rate!r} of rows that are no sounds.",
            "It is how many cells a second has.", "Leave it out.",
        )  # fmt: skip
    if rate is not None and not (is_whole(rate) and 0 < rate < 2**28):
        raise mix_error(
            "bm.show()", f"got rate={rate!r}.", "It is how many cells a second has.",
            "Pass for example rate=16000.",
        )  # fmt: skip
    try:
        from batchmix.cli.show.one_batch import drawn
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise mix_error(
            "bm.show()", f"{package} is not installed.",
            "matplotlib draws the picture, with a part of the command line.",
            "pip install matplotlib typer",
        ) from None  # fmt: skip
    return Picture(*drawn(look, plan, rows, rate))
