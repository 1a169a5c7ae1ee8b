"""Launches the kernels of `_triton_kernel`, with what `_triton_words` tells them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import triton.language as tl
from numpy.typing import NDArray

from batchmix.backends import _triton_kernel as kernel
from batchmix.backends._contract import COMPUTE
from batchmix.backends._formula import parts_of
from batchmix.backends._memory import alike, axes_of, in_c_order
from batchmix.backends._native import unfit
from batchmix.backends._torch_gpu import BLENDED, Form, as_batch, give_up, joined
from batchmix.backends._torch_memory import memory, overlap
from batchmix.backends._triton_words import (
    chain_of,
    check,
    flat,
    in_full,
    is_wide,
    on_device,
    order_of,
    tiles_of,
    too_large,
    words_of,
)  # fmt: skip

_launched: list[bool] = []
_CHANNELS = 16  # of an image that is normalised: the loop over them is unrolled


def paste(x: Any, other: Any, out: Any, columns: Any, masks: list[Any], form: Form) -> bool:
    """Execute a plan; False where the kernel cannot, and nothing was done.

    `columns`, `masks`: as `told` gives them, of the host or of the device of `x`.
    """
    columns = joined(columns, form)
    chosen = x.dtype not in BLENDED  # cells are taken and not averaged: their bits are enough
    if chosen:
        bits = getattr(torch, f"int{8 * x.element_size()}")
        x, other, out = x.view(bits), other.view(bits), out.view(bits)
    own, theirs, made = memory(x), memory(other), memory(out)
    axes = "" if in_full(columns, masks, form) else form.axes
    item = x.element_size()
    table = axes_of(form.layout, made.shape[1:], made.strides[1:], item, axes)
    if (
        table is None
        or not (alike(own, made) and alike(theirs, made))
        or too_large(x, columns, masks, form)
    ):
        return False
    check(columns, len(other), form)
    in_place = overlap(out, x) == "same"
    reads = in_place and overlap(other, x) == "same"
    chain = chain_of(columns, x) if reads and not form.source else None
    if reads and chain is None:  # rows are pasted as they were given
        other = x.clone()
        theirs = memory(other)
    chained, order = chain is not None, chain or order_of(columns, x)
    tiles = tiles_of(table, item, form.source or bool(masks))
    words, steps_at, columns_at = words_of(columns, masks, tiles.axes, order, None, x)
    compute = "float32" if chosen else COMPUTE[BLENDED[x.dtype]]
    strides = [m.strides[0] // item for m in (own, theirs, made)]
    groups = len(order.starts) - 1 if chained else len(x)
    return _launch(
        kernel.paste, (groups * tiles.all,), x, other, out, words, flat(masks, x), *strides, len(x),
        tiles.lines, tiles.cells, tiles.after, tiles.all, tiles.across, steps_at, columns_at,
        LAYERS=len(columns), AXES=len(tiles.axes), ENTRY=columns.shape[2], SOURCE=form.source,
        PARTS=parts_of(len(form.axes)) if form.bilinear and not chosen else 0,
        WIDE=is_wide(form), MASK=bool(masks), CHOOSE=chosen, INTEGER=not x.is_floating_point(),
        COMPUTE=getattr(tl, compute), IN_PLACE=in_place, CHAINED=chained,
        LINES=tiles.high, CELLS=tiles.wide,
    )  # fmt: skip


def normalize(
    rows: Any, out: Any, columns: Any, masks: list[Any], form: Form,
    mean: NDArray[np.float32], std: NDArray[np.float32],
) -> bool:  # fmt: skip
    """8-bit rows [H, W, C] mixed and normalised into `out` [B, C, H, W]; False where it cannot."""
    height, width, channels = rows[0].shape
    if not in_c_order(memory(out), out.element_size()) or channels > _CHANNELS or form.bilinear:
        return False
    x, columns = as_batch(rows), joined(columns, form)
    if too_large(x, columns, masks, form):
        return False
    check(columns, len(x), form)
    table = np.array([(height, 0), (width, 1)], np.int64).tobytes()
    tiles = tiles_of(table, 2, True)
    order = order_of(columns, x)
    numbers = np.concatenate([1 / std, -mean / std]).astype(np.float32).view(np.int32)
    words, steps_at, columns_at = words_of(columns, masks, tiles.axes, order, numbers, x)
    return _launch(
        kernel.normalize, (len(rows) * tiles.all,), x, out, words, flat(masks, x), x.stride(0),
        out.stride(0), len(rows), height, width, tiles.all, tiles.across, steps_at, columns_at,
        columns_at - 2 * channels, LAYERS=len(columns), AXES=2, ENTRY=columns.shape[2],
        SOURCE=form.source, WIDE=is_wide(form), MASK=bool(masks), CHANNELS=channels,
        LINES=tiles.high, CELLS=tiles.wide,
    )  # fmt: skip


def soft(ids: Any, other: Any, partner: Any, lam: Any, classes: int, off: float, on: float) -> Any:
    """float32 [B, classes] in one launch; NaN for a row with an id that is no class.

    None where Triton does not work.
    """
    out = torch.empty((len(ids), classes), dtype=torch.float32, device=ids.device)
    if isinstance(partner, np.ndarray):
        if partner.size and not 0 <= partner.min() <= partner.max() < len(other):
            raise unfit("a partner lies outside")
        words = on_device(np.concatenate([partner, lam.view(np.int32)]), ids)
    else:
        words = torch.cat([partner, lam.view(torch.int32)])
    block = min(1024, 1 << (classes - 1).bit_length())
    done = _launch(
        kernel.soft, (len(ids), -(-classes // block)), ids.contiguous(), other.contiguous(), out,
        words, len(ids), classes, off, on, float("nan"), CLASSES=block,
    )  # fmt: skip
    return out if done else None


def _launch(function: Any, grid: tuple[int, ...], x: Any, *told: Any, **constants: Any) -> bool:
    """On the device of `x`; False where the first launch shows that Triton does not work."""
    try:
        with torch.cuda.device_of(x):
            function[grid](x, *told, **constants, num_warps=4, enable_fp_fusion=False)
    except Exception as problem:  # no compiler, no place for its cache, a GPU that it does not know
        if _launched:
            raise
        give_up(problem)
        return False
    _launched[:] = [True]
    return True
