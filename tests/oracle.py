"""The arithmetic of a plan a second time: one cell after the other, in float64, nothing clever."""

import itertools

import numpy as np


def alpha(plan, row, cell):
    """Opacity of the partner at one cell of one row; `cell` maps letters to positions."""
    if plan.partner[row] == row:
        return 0.0
    for axis, letter in enumerate(plan.axes):
        lo, hi = plan.box[row, axis]
        if not lo <= cell[letter] < hi:
            return 0.0
    value = float(plan.opacity[row])
    if plan.mask is not None:
        value *= float(plan.mask[(row, *(cell[letter] for letter in plan.axes))])
    return value


def source_cell(plan, row, cell):
    """The cell of the partner that is pasted on `cell`."""
    if plan.source is None:
        return cell
    moved = dict(cell)
    for axis, letter in enumerate(plan.axes):
        lo, hi = plan.box[row, axis]
        start, stop = plan.source[row, axis]
        middle = (cell[letter] - lo + 0.5) / (hi - lo)
        moved[letter] = int(start + middle * (stop - start))
    return moved


def mix(x, plan, layout, other=None):
    """The mixed batch, float64, before any rounding to the dtype of x."""
    x = np.asarray(x, np.float64)
    other = x if other is None else np.asarray(other, np.float64)
    out = x.copy()
    for row in range(len(plan)):
        for index in itertools.product(*map(range, x.shape[1:])):
            cell = dict(zip(layout[1:], index))
            a = alpha(plan, row, cell)
            moved = source_cell(plan, row, cell) if a else cell
            theirs = other[(plan.partner[row], *(moved[letter] for letter in layout[1:]))]
            if a == 1:
                out[(row, *index)] = theirs
            elif a:
                out[(row, *index)] = (1 - a) * x[(row, *index)] + a * theirs
    return out


def lam(plan):
    """Weight of each row's own content: the mean of what is left of it."""
    cells = list(itertools.product(*map(range, plan.size)))
    return np.array(
        [
            np.mean([1 - alpha(plan, row, dict(zip(plan.axes, index))) for index in cells])
            for row in range(len(plan))
        ]
    )


def labels(y, plan, classes):
    """Soft labels, float64."""
    own = lam(plan)
    soft = np.zeros((len(y), classes))
    for row, partner in enumerate(plan.partner):
        soft[row, y[row]] += own[row]
        soft[row, y[partner]] += 1 - own[row]
    return soft
