"""The arithmetic of a plan a second time: one row after the other, in float64, nothing clever.

A cell is a position per letter of the layout; a position may be an array of them.
"""

from fractions import Fraction

import numpy as np


def alpha(plan, row, cell):
    """Opacity of the partner at a cell of one row."""
    if plan.partner[row] == row and plan.others is None:
        return 0.0
    value = float(plan.opacity[row])
    if plan.mask is not None:
        value = value * share(plan, row, cell)
    for axis, letter in enumerate(plan.axes):
        lo, hi = plan.box[row, axis]
        value = value * ((lo <= cell[letter]) & (cell[letter] < hi))
    return value


def share(plan, row, cell):
    """The mask at a cell: the one of its cells in which the middle of that cell lies."""
    at = []
    for letter, n, of_mask in zip(plan.axes, plan.size, plan.mask.shape[1:]):
        at.append(np.floor((cell[letter] + 0.5) * of_mask / n).astype(int))
    value = plan.mask[(row, *at)].astype(float)
    return value / 255 if plan.mask.dtype == np.uint8 else value


def two_cells(start, stop, box, cell, steps):
    """Where the middle of a cell of the box falls between the middles of two of the source's."""
    lo, hi = box
    at = Fraction(2 * (cell - lo) + 1, 2) * (stop - start) / (hi - lo) - Fraction(1, 2)
    at = min(max(at, Fraction(0)), Fraction(stop - start - 1))
    first = at.numerator // at.denominator
    weight = (2 * (at - first) * steps + 1) // 2  # the nearest of the steps
    return start + first, float(Fraction(weight, steps))


def bilinear(partner, plan, row, layout):
    """The partner with its source blended over the box axis by axis; outside of it, nothing."""
    for axis, letter in enumerate(plan.axes):
        at = layout.index(letter) - 1
        box = [int(end) for end in plan.box[row, axis]]
        start, stop = (int(end) for end in plan.source[row, axis])
        made = np.zeros_like(partner)
        for cell in range(*box):
            first, weight = two_cells(start, stop, box, cell, 2 ** (16 // len(plan.axes)))
            value = np.take(partner, first, at)
            if weight > 0:
                value = (1 - weight) * value + weight * np.take(partner, first + 1, at)
            made[(slice(None),) * at + (cell,)] = value
        partner = made
    return partner


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
    given = np.asarray(partners[int(plan.partner[row])])
    partner = given.astype(np.float64)
    cell = dict(zip(layout[1:], np.indices(own.shape, sparse=True)))
    a = alpha(plan, row, cell)
    if plan.source is not None and plan.resample == "bilinear":
        theirs = bilinear(partner, plan, row, layout)
        theirs = np.rint(theirs) if given.dtype.kind in "iu" else theirs
    else:
        moved = source_cell(plan, row, cell)
        theirs = partner[tuple(moved[letter] for letter in layout[1:])]
    with np.errstate(invalid="ignore"):  # 0 times infinity, where one of the two has no part
        blend = (1 - a) * own + a * theirs
    return np.where(a == 0, own, np.where(a == 1, theirs, blend))


def mix(x, plan, layout, other=None):
    """The mixed batch, float64, before any rounding to the dtype of x but between two layers."""
    out, partners = np.array(x, np.float64), x if other is None else other
    for k, layer in enumerate(plan.layers):
        below = np.rint(out).astype(x.dtype) if k and x.dtype.kind in "iu" else out
        for row in range(len(plan)):
            out[row] = mix_row(below, row, layer, layout, partners)
    return out


def shares(plan):
    """[B, K + 1]: the mean of what is seen of each row itself, and of its partner in each layer."""
    found = np.zeros((len(plan), len(plan.layers) + 1))
    cell = dict(zip(plan.axes, np.indices(plan.size, sparse=True)))
    for row in range(len(plan)):
        seen = [np.ones(plan.size)]
        for layer in plan.layers:
            a = np.broadcast_to(alpha(layer, row, cell), plan.size)
            seen = [*(one * (1 - a) for one in seen), a]
        found[row] = [np.mean(one) for one in seen]
    return found


def lam(plan):
    """Weight of each row's own content: the mean of what is left of it."""
    return shares(plan)[:, 0]


def labels(y, plan, classes):
    """Soft labels, float64."""
    weights, soft = shares(plan), np.zeros((len(y), classes))
    for row, own in enumerate(y):
        soft[row, own] += weights[row, 0]
        for layer, weight in zip(plan.layers, weights[row, 1:]):
            soft[row, y[layer.partner[row]]] += weight
    return soft
