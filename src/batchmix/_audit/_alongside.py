"""Checks of what goes along with the images: ids, masks, one-hot masks, bounding boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from batchmix._audit._boxes import wrong_boxes
from batchmix._audit._kinds import BatchKind
from batchmix._audit._seen import Seen
from batchmix._audit._session import Session
from batchmix._audit._worst import Worst, fitting

CLEAR = 0.501  # the largest share of a cell, above which there is no tie
_IDS = ("mask", "onehot_mask", "id")


def ids(session: Session, kind: BatchKind) -> Worst | None:
    """Ids keep their values and dtype; those of a mask follow the image and are never averaged."""
    for call, seen in enumerate(fitting(session.run(kind))):
        for name in (name for name in _IDS if name in seen.before):
            before, after = seen.before[name], seen.others.get(name)
            if after is None or after.shape != before.shape:
                came = "nothing" if after is None else f"shape {after.shape}"
                return Worst(np.inf, 0, call, f"{name} of shape {before.shape}: {came} comes back")
            if name != "onehot_mask" and after.dtype.kind not in "iu":
                return Worst(np.inf, 0, call, f"{name}: integers come back as floats")
            if name == "id" and (after != before).any():
                return Worst(np.inf, 0, call, "id: changed, though it is no image and no label")
            astray = np.zeros((kind.batch, 1), bool) if name == "id" else astray_cells(seen, name)
            if astray.any():
                row = int(astray.mean(1).argmax())
                what = "another row's id" if name == "mask" else "other weights than the image"
                words = f"{name}: {astray.mean():.0%} of cells hold {what}"
                return Worst(float(astray.mean()), 0, call, words, row)
    runs = session.run(kind).seen
    return Worst(0, 0, 0, "") if runs and set(_IDS) & set(runs[0].before) else None


def astray_cells(seen: Seen, name: str) -> NDArray[np.bool_]:
    """[B, cells]: where a mask is not what the pixels are. Ties may go either way.

    The id of a cell is that of the row with the largest share. A one-hot mask may hold that, or
    the shares themselves.
    """
    cells, mask = seen.cells, seen.others[name]
    clear = cells.max(-1) > CLEAR
    if name == "mask":
        wrong = mask.reshape(len(mask), -1) != seen.kind.ids()[cells.argmax(-1)]
        return np.asarray(wrong & clear)
    last = np.moveaxis(mask, seen.kind.layout.index("C"), -1).astype(np.float64)
    weights = last.reshape(len(mask), -1, last.shape[-1])
    off = 1 - weights.max(-1) if weights.shape[-1] else weights.sum(-1)
    shares = np.zeros_like(weights)
    shares[..., : cells.shape[-1]] = cells
    blended = np.abs(weights - shares).max(-1) <= seen.kind.close
    chosen = (off <= seen.kind.close) & (weights.argmax(-1) == cells.argmax(-1))
    return np.asarray(~(blended | chosen) & (clear | (off > seen.kind.close)))


def boxes(session: Session, kind: BatchKind) -> Worst | None:
    """Boxes that remain are of rows that show there; rows that show much are not without any."""
    worst: Worst | None = None
    for call, seen in enumerate(fitting(session.run(kind))):
        if "boxes" not in seen.before:
            return None
        after, before = seen.others.get("boxes"), seen.before["boxes"]
        if after is None or after.ndim != 3 or (len(after), after.shape[2]) != (
            len(before), before.shape[2],
        ):  # fmt: skip
            came = "nothing" if after is None else f"shape {after.shape}"
            return Worst(np.inf, 0, call, f"boxes of shape {before.shape}: {came} comes back")
        found, count = wrong_boxes(seen.kind, seen.cells, after)
        number = len(found) / max(count, len(found), 1)
        if worst is None or number > worst.number:
            row, words = found[0] if found else (None, "")
            worst = Worst(number, 0, call, words, row)
    return worst
