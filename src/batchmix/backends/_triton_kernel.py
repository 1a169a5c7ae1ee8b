"""The kernels for GPUs, in Triton: a plan executed in one launch, soft labels in another.

A program has a tile of a row, which `_triton_tile` mixes. `_triton` launches them.
"""

# mypy: ignore-errors
import triton
import triton.language as tl

from batchmix.backends._triton_tile import lines_in, mixed, tap

# Counts that change from batch to batch, and on which no load depends: Triton would compile a
# kernel anew where one is 1, or a multiple of 16, and was not.
_ANY = ["rows", "lines", "tiles", "across", "steps_at", "columns_at"]


@triton.jit(do_not_specialize=_ANY)
def paste(
    x, other, out, words, masks, x_row, other_row, out_row, rows, lines, cells, after, tiles,
    across, steps_at, columns_at, LAYERS: tl.constexpr, AXES: tl.constexpr, ENTRY: tl.constexpr,
    SOURCE: tl.constexpr, PARTS: tl.constexpr, WIDE: tl.constexpr, MASK: tl.constexpr,
    CHOOSE: tl.constexpr, COMPUTE: tl.constexpr, INTEGER: tl.constexpr, IN_PLACE: tl.constexpr,
    CHAINED: tl.constexpr, LINES: tl.constexpr, CELLS: tl.constexpr,
):  # fmt: skip
    """A tile of a row; if CHAINED of all rows that depend on one another, in the order of that."""
    group, tile = tl.program_id(0) // tiles, tl.program_id(0) % tiles
    line = tile // across * LINES + tl.arange(0, LINES)
    first = tile % across * CELLS
    cell = first + tl.arange(0, CELLS)
    at = line[:, None] * cells + cell[None, :]
    steps = words + steps_at
    kept, kept_row = tl.full([LINES, CELLS], 0, x.dtype.element_ty), -1
    if not CHAINED:
        row = tl.load(steps + group) >> 1
        value, written = mixed(
            x + row.to(tl.int64) * x_row, other, other_row, words, masks, row, rows, kept,
            kept_row, 0, line, first, lines, cells, after, columns_at, LAYERS, AXES, ENTRY, SOURCE,
            PARTS, WIDE, MASK, CHOOSE, COMPUTE, INTEGER, 1, True, False, CELLS,
        )  # fmt: skip
        if not IN_PLACE:
            written = (line < lines)[:, None] & (cell < cells)[None, :]
        tl.store(out + row.to(tl.int64) * out_row + at, value, mask=written)
    else:
        begin, end = tl.load(steps + rows + group), tl.load(steps + rows + group + 1)
        last = tl.load(steps + end - 1) >> 1
        for step in range(begin, end):
            told = tl.load(steps + step)
            row = told >> 1
            own = x + row.to(tl.int64) * x_row
            if told & 1:  # the last of a cycle reads what was written over before
                kept_row = row
                reads = lines_in(words, words + columns_at + last * ENTRY, line, lines, AXES)
                kept = tap(own, line, cell, cells, 0, reads[:, None] & (cell < cells)[None, :], 1)
            value, written = mixed(
                own, other, other_row, words, masks, row, rows, kept, kept_row, 0, line, first,
                lines, cells, after, columns_at, LAYERS, AXES, ENTRY, SOURCE, PARTS, WIDE, MASK,
                CHOOSE, COMPUTE, INTEGER, 1, True, True, CELLS,
            )  # fmt: skip
            tl.debug_barrier()  # all threads have read a row before any writes to it
            tl.store(out + row.to(tl.int64) * out_row + at, value, mask=written)


@triton.jit(do_not_specialize=[*_ANY, "scale_at"])
def normalize(
    x, out, words, masks, x_row, out_row, rows, lines, cells, tiles, across, steps_at, columns_at,
    scale_at, LAYERS: tl.constexpr, AXES: tl.constexpr, ENTRY: tl.constexpr, SOURCE: tl.constexpr,
    WIDE: tl.constexpr, MASK: tl.constexpr, CHANNELS: tl.constexpr, LINES: tl.constexpr,
    CELLS: tl.constexpr,
):  # fmt: skip
    """A tile of pixels [H, W, C] of 8 bits, mixed and normalised, as [C, H, W]."""
    place, tile = tl.program_id(0) // tiles, tl.program_id(0) % tiles
    row = tl.load(words + steps_at + place) >> 1
    line = tile // across * LINES + tl.arange(0, LINES)
    first = tile % across * CELLS
    cell = first + tl.arange(0, CELLS)
    at = line[:, None] * cells + cell[None, :]
    written = (line < lines)[:, None] & (cell < cells)[None, :]
    for channel in tl.static_range(CHANNELS):
        value, _ = mixed(
            x + row.to(tl.int64) * x_row, x, x_row, words, masks, row, rows, 0, -1, channel, line,
            first, lines, cells, 1, columns_at, LAYERS, AXES, ENTRY, SOURCE, 0, WIDE, MASK, False,
            tl.float32, True, CHANNELS, False, False, CELLS,
        )  # fmt: skip
        scale = tl.load(words + scale_at + channel).to(tl.float32, bitcast=True)
        bias = tl.load(words + scale_at + CHANNELS + channel).to(tl.float32, bitcast=True)
        to = out + row.to(tl.int64) * out_row + channel * lines * cells + at
        tl.store(to, (value * scale + bias).to(out.dtype.element_ty), mask=written)


@triton.jit(do_not_specialize=["rows"])
def soft(ids, theirs, out, words, rows, classes, off, on, wrong, CLASSES: tl.constexpr):
    """Soft labels of a row; of one that has an id that is no class, `wrong` throughout."""
    row = tl.program_id(0)
    partner = tl.load(words + row)
    lam = tl.load(words + rows + row).to(tl.float32, bitcast=True)
    own, other = tl.load(ids + row).to(tl.int64), tl.load(theirs + partner).to(tl.int64)
    at = tl.program_id(1) * CLASSES + tl.arange(0, CLASSES)
    value = tl.where(at == own, off + lam * on, off)
    value = tl.where(at == other, value + (1 - lam) * on, value)
    known = (at >= 0) & (own >= 0) & (own < classes) & (other >= 0) & (other < classes)
    to = out + row.to(tl.int64) * classes + at
    tl.store(to, tl.where(known, value, wrong), mask=at < classes)
