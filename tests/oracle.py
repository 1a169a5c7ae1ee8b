"""The arithmetic of a plan a second time: one row after the other, in float64, nothing clever.

A cell is a position per letter of the layout; a position may be an array of them.
"""

import numpy as np


def alpha(plan, row, cell):
    """Opacity of the partner at a cell of one row."""
    if plan.partner[row] == row:
        return 0.0
    value = float(plan.opacity[row])
    if plan.mask is not None:
        value = value * plan.mask[(row, *(cell[letter] for letter in plan.axes))].astype(float)
    for axis, letter in enumerate(plan.axes):
        lo, hi = plan.box[row, axis]
        value = value * ((lo <= cell[letter]) & (cell[letter] < hi))
    return value


def source_cell(plan, row, cell):
    """The cell of the partner that is pasted on `cell`; where nothing is pasted, any cell."""
    if plan.source is None:
        return cell
    moved = dict(cell)
    for axis, letter in enumerate(plan.axes):
        lo, hi = plan.box[row, axis]
        start, stop = plan.source[row, axis]
        middle = (cell[letter] - lo + 0.5) / max(hi - lo, 1)
        found = np.floor(start + middle * (stop - start)).astype(int)
        moved[letter] = np.clip(found, 0, plan.size[axis] - 1)
    return moved


def mix_row(x, row, plan, layout, other=None):
    """One row of the mixed batch; `x` may be a list of rows."""
    own = np.asarray(x[row], np.float64)
    partners = x if other is None else other
    partner = np.asarray(partners[int(plan.partner[row])], np.float64)
    cell = dict(zip(layout[1:], np.indices(own.shape, sparse=True)))
    a = alpha(plan, row, cell)
    moved = source_cell(plan, row, cell)
    theirs = partner[tuple(moved[letter] for letter in layout[1:])]
    with np.errstate(invalid="ignore"):  # 0 times infinity, where one of the two has no part
        blend = (1 - a) * own + a * theirs
    return np.where(a == 0, own, np.where(a == 1, theirs, blend))


def mix(x, plan, layout, other=None):
    """The mixed batch, float64, before any rounding to the dtype of x."""
    out = np.array(x, np.float64)
    for row in range(len(plan)):
        out[row] = mix_row(x, row, plan, layout, other)
    return out


def lam(plan):
    """Weight of each row's own content: the mean of what is left of it."""
    cell = dict(zip(plan.axes, np.indices(plan.size, sparse=True)))
    shape = plan.size
    left = [1 - np.broadcast_to(alpha(plan, row, cell), shape) for row in range(len(plan))]
    return np.array([np.mean(row) for row in left])


def labels(y, plan, classes):
    """Soft labels, float64."""
    own = lam(plan)
    soft = np.zeros((len(y), classes))
    for row, partner in enumerate(plan.partner):
        soft[row, y[row]] += own[row]
        soft[row, y[partner]] += 1 - own[row]
    return soft
