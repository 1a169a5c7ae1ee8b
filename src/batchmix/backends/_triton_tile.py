"""A tile of a row, mixed: what the kernels in `_triton_kernel` are made of.

A tile is some lines by some cells. A line is what lies in memory along the last axis that has
boxes, and the axes after it: cells. So positions on axes, and all divisions for them, are of lines
and of cells, never of single elements. A load is as wide as memory allows while its mask is alike
along a line. What `words` are, `_triton` says; `entry` points to those of a row.

Conditions of a whole tile are numbers, 0 or 1, for Triton's interpreter spreads no scalar truth.
"""

# mypy: ignore-errors
import triton
import triton.language as tl

_ONE = tl.constexpr(0x3F800000)  # the bits of 1.0


@triton.jit
def _blend(own, theirs, share):
    """Copies at 0 and 1, so that NaN and inf stay where they are."""
    mixed = own * (1 - share) + theirs * share
    return tl.where(share > 0, tl.where(share == 1, theirs, mixed), own)


@triton.jit
def _rounded(value, like: tl.constexpr, INTEGER: tl.constexpr):
    """Integers, of 16 bits at most, half to even: what is added leaves no room for fractions."""
    if INTEGER:
        value = (value + 12582912.0) - 12582912.0
    return value.to(like)


@triton.jit
def _if(condition, line):
    """All lines, or none."""
    return line >= (1 - condition) * (1 << 30)


@triton.jit
def _at(words, m: tl.constexpr, line, cell, after, AXES: tl.constexpr):
    """Positions on an axis with boxes: of lines, on the last one of cells."""
    if m < AXES - 1:
        at = line // tl.load(words + (2 * m + 1)) % tl.load(words + 2 * m)
    else:
        at = cell // after
    return at


@triton.jit
def lines_in(words, entry, line, lines, AXES: tl.constexpr):
    """Which lines are inside of the box."""
    inside = line < lines
    for m in tl.static_range(AXES - 1):
        at = _at(words, m, line, line, 1, AXES)
        lo, hi = tl.load(entry + (2 + 2 * m)), tl.load(entry + (3 + 2 * m))
        inside = inside & (at >= lo) & (at < hi)
    return inside


@triton.jit
def _source(
    entry, m: tl.constexpr, at, AXES: tl.constexpr, PARTS: tl.constexpr, WIDE: tl.constexpr
):
    """Of positions on an axis: how far the partner's is, how far the next one, and its weight."""
    lo, hi = tl.load(entry + (2 + 2 * m)), tl.load(entry + (3 + 2 * m))
    start = tl.load(entry + (2 + 2 * AXES + 2 * m))
    count = tl.load(entry + (3 + 2 * AXES + 2 * m)) - start
    inside = (at >= lo) & (at < hi)
    middle = 2 * tl.where(inside, at - lo, 0) + 1
    if WIDE:  # products of two positions do not fit
        middle = middle.to(tl.int64)
        count = count.to(tl.int64)
    width = tl.maximum(hi - lo, 1)
    if PARTS == 0:
        cell = middle * count // (2 * width)
        more, weight = tl.where(inside, 0, 0), tl.where(inside, 0.0, 0.0)
    else:
        place = tl.maximum(tl.minimum(middle * count - width, (count - 1) * 2 * width), 0)
        cell = place // (2 * width)
        share = tl.where(inside, (place % (2 * width) * PARTS + width) // (2 * width), 0)
        weight = share.to(tl.float32) * (1.0 / PARTS)  # a power of two: exact
        more = tl.where(share > 0, 1, 0)
    return tl.where(inside, start + cell.to(tl.int32) - at, 0), more, weight


@triton.jit
def tap(row, line, cell, cells, channel, wanted, CHANNELS: tl.constexpr):
    """What lies at lines and cells of a row, where wanted."""
    at = line[:, None] * cells + cell[None, :]
    if CHANNELS > 1:
        at = at * CHANNELS + channel
    return tl.load(row + at, mask=wanted, other=0)


@triton.jit
def _theirs(
    row, words, entry, line, cell, cells, after, channel, wanted, AXES: tl.constexpr,
    SOURCE: tl.constexpr, PARTS: tl.constexpr, WIDE: tl.constexpr, COMPUTE: tl.constexpr,
    INTEGER: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """What the partner has for a tile; of a source that is stretched linearly, rounded once."""
    if not SOURCE:
        value = tap(row, line, cell, cells, channel, wanted, CHANNELS)
    else:
        to_line = line
        for m in tl.static_range(AXES - 1):
            far, _, _ = _source(entry, m, _at(words, m, line, cell, after, AXES), AXES, PARTS, WIDE)
            to_line += far * tl.load(words + (2 * m + 1))
        far, more, weight = _source(entry, AXES - 1, cell // after, AXES, PARTS, WIDE)
        to_cell = cell + far * after
        if PARTS == 0:
            value = tap(row, to_line, to_cell, cells, channel, wanted, CHANNELS)
        else:
            low = _over_lines(
                row, words, entry, line, to_line, to_cell, cells, wanted, AXES, PARTS, WIDE,
                COMPUTE,
            )  # fmt: skip
            high = _over_lines(
                row, words, entry, line, to_line, to_cell + more * after, cells, wanted, AXES,
                PARTS, WIDE, COMPUTE,
            )  # fmt: skip
            value = _blend(low, high, weight[None, :].to(COMPUTE))
            value = _rounded(value, row.dtype.element_ty, INTEGER)
    return value


@triton.jit
def _over_lines(
    row, words, entry, line, to_line, cell, cells, wanted, AXES: tl.constexpr, PARTS: tl.constexpr,
    WIDE: tl.constexpr, COMPUTE: tl.constexpr,
):  # fmt: skip
    """Between neighbours on the outer axes, two at most: the second between two of the first."""
    value = tap(row, to_line, cell, cells, 0, wanted, 1).to(COMPUTE)
    if AXES > 1:
        _, more, weight = _source(
            entry, 0, _at(words, 0, line, line, 1, AXES), AXES, PARTS, WIDE
        )  # fmt: skip
        more, weight = more * tl.load(words + 1), weight[:, None].to(COMPUTE)
        next_ = tap(row, to_line + more, cell, cells, 0, wanted, 1).to(COMPUTE)
        value = _blend(value, next_, weight)
        if AXES > 2:
            _, far, outer = _source(
                entry, 1, _at(words, 1, line, line, 1, AXES), AXES, PARTS, WIDE
            )  # fmt: skip
            to_line = to_line + far * tl.load(words + 3)
            low = tap(row, to_line, cell, cells, 0, wanted, 1).to(COMPUTE)
            high = tap(row, to_line + more, cell, cells, 0, wanted, 1).to(COMPUTE)
            value = _blend(value, _blend(low, high, weight), outer[:, None].to(COMPUTE))
    return value


@triton.jit
def _masked(
    share, words, masks, layer: tl.constexpr, row, line, cell, after, inside, AXES: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """Opacity of each cell, seen through the mask of its layer, if that has one."""
    grid = words + (2 * AXES + layer * (2 + 2 * AXES))
    spot = tl.load(grid)
    there = inside & _if((spot >= 0).to(tl.int32), line)[:, None]
    to_line, to_cell = tl.where(line < 0, 1, 0), tl.where(cell < 0, 1, 0)
    for m in tl.static_range(AXES):
        middle = 2 * _at(words, m, line, cell, after, AXES) + 1
        if WIDE:
            middle = middle.to(tl.int64)
        shown = middle * tl.load(grid + (2 + 2 * m)) // (2 * tl.load(words + 2 * m))
        shown = shown.to(tl.int32) * tl.load(grid + (3 + 2 * m))
        if m < AXES - 1:
            to_line += shown
        else:
            to_cell += shown
    own = masks + spot + row.to(tl.int64) * tl.load(grid + 1)
    value = tl.load(own + to_line[:, None] + to_cell[None, :], mask=there, other=0).to(tl.float32)
    if masks.dtype.element_ty == tl.uint8:
        value = tl.div_rn(value, tl.full(value.shape, 255.0, tl.float32))
    return tl.where(there, share * value, share)


@triton.jit
def mixed(
    own, other, other_row, words, masks, row, rows, kept, kept_row, channel, line, first, lines,
    cells, after, columns_at, LAYERS: tl.constexpr, AXES: tl.constexpr, ENTRY: tl.constexpr,
    SOURCE: tl.constexpr, PARTS: tl.constexpr, WIDE: tl.constexpr, MASK: tl.constexpr,
    CHOOSE: tl.constexpr, COMPUTE: tl.constexpr, INTEGER: tl.constexpr, CHANNELS: tl.constexpr,
    ROUND: tl.constexpr, CHAINED: tl.constexpr, CELLS: tl.constexpr,
):  # fmt: skip
    """The tile of a row at lines `line` and cells from `first` on, and what of it was touched.

    CHAINED: `kept` is the tile of the row `kept_row`, which was written since.
    """
    like: tl.constexpr = own.dtype.element_ty if ROUND else COMPUTE
    cell = first + tl.arange(0, CELLS)
    tile = (line < lines)[:, None] & (cell < cells)[None, :]
    touched = tile & (line < 0)[:, None]
    value = tl.full(tile.shape, 0, like)
    for layer in tl.static_range(LAYERS):
        entry = words + (columns_at + (layer * rows + row) * ENTRY)
        partner, bits = tl.load(entry), tl.load(entry + 1)
        opacity = bits.to(tl.float32, bitcast=True)
        pasted = (bits != 0).to(tl.int32)
        opaque = (bits == _ONE).to(tl.int32)
        cell_in = cell < cells
        if AXES > 0:
            lo = tl.load(entry + 2 * AXES) * after
            hi = tl.load(entry + (2 * AXES + 1)) * after
            cell_in = (cell >= lo) & (cell < hi)
            pasted *= (lo < first + CELLS).to(tl.int32) * (hi > first).to(tl.int32)
            opaque *= (lo <= first).to(tl.int32)
            opaque *= (hi >= tl.minimum(first + CELLS, cells)).to(tl.int32)
        line_in = lines_in(words, entry, line, lines, AXES) & _if(pasted, line)
        wanted = tile & line_in[:, None]
        if layer == 0:
            visible = tile
            if not MASK:  # what is pasted over as a whole is not loaded
                hidden = line_in & _if(opaque, line)
                visible = tile & (hidden == 0)[:, None]
            value = tap(own, line, cell, cells, channel, visible, CHANNELS).to(like)
        loaded = wanted
        if CHAINED:
            loaded = wanted & _if((partner != kept_row).to(tl.int32), line)[:, None]
        theirs = _theirs(
            other + partner.to(tl.int64) * other_row, words, entry, line, cell, cells, after,
            channel, loaded, AXES, SOURCE, PARTS, WIDE, COMPUTE, INTEGER, CHANNELS,
        )  # fmt: skip
        if CHAINED:
            theirs = tl.where(partner == kept_row, kept, theirs)
        inside = wanted & cell_in[None, :]
        share = tl.where(inside, opacity, 0.0)
        if MASK:
            share = _masked(share, words, masks, layer, row, line, cell, after, inside, AXES, WIDE)
        if CHOOSE:
            value = tl.where(share > 0, theirs, value)
        else:
            blended = _blend(value.to(COMPUTE), theirs.to(COMPUTE), share.to(COMPUTE))
            value = _rounded(blended, like, INTEGER and ROUND)
        touched = touched | wanted
    return value, touched
