"""Plans and mixers as tables for notebooks, drawn without a library."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from batchmix._layers import weights

if TYPE_CHECKING:
    from batchmix._mixer import Mixer
    from batchmix._plan import Plan

_ROWS, _LAYERS, _SIDE, _CELLS = 8, 4, 56, 8  # of them at most; pixels; cells of a mask per axis
_OWN, _PARTNER = "#2b6cb0", "#d98a1f"
_EDGE = ' stroke="white" stroke-width=".6"'


def as_html(plan: Plan) -> str:
    """For Jupyter: the first rows, each with what is pasted over it and the weights of its label.

    Blue is a row's own content, orange its partners'.
    """
    head = f"<code>{escape(repr(plan))}</code>"
    if not len(plan) or not isinstance(plan.lam, np.ndarray):
        return head
    shown = range(min(_ROWS, len(plan)))
    lines = [
        ("row", [str(i) for i in shown]),
        ("partner", [_partners(plan, i) for i in shown]),
        ("pasted", [_picture(plan, i) for i in shown]),
        ("own weight", [_bar(plan, i) for i in shown]),
    ]
    body = "".join(
        f"<tr><th>{name}</th>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
        for name, cells in lines
    )
    rest = f"<p>and {len(plan) - _ROWS} more rows</p>" if len(plan) > _ROWS else ""
    return f"<div>{head}<table>{body}</table>{rest}</div>"


def mixer_as_html(mixer: Mixer) -> str:
    """For Jupyter: what is drawn, what it acts on, where its count is, and its last plan."""
    told = [(f"field {place!r}", repr(field)) for place, field in mixer.fields.items()]
    state = ", ".join(f"{name} {n}" for name, n in mixer.state_dict().items() if name != "told")
    lines = [
        ("policy", repr(mixer.policy)),
        ("pairing", repr(mixer.pairing)),
        *told,
        ("next", state),
    ]
    body = "".join(
        f"<tr><th>{escape(name)}</th><td><code>{escape(text)}</code></td></tr>"
        for name, text in lines
    )
    last = f"<p>the last batch:</p>{as_html(mixer._last)}" if mixer._last is not None else ""
    return f"<div><table>{body}</table>{last}</div>"


def _partners(plan: Plan, row: int) -> str:
    """Numbers of the rows that something is seen of."""
    seen = weights(plan)[row, 1:] > 0
    found = [str(p.partner[row]) for p, one in zip((plan, *plan.above), seen) if one]
    return ", ".join(found[:_LAYERS]) + (", …" if len(found) > _LAYERS else "") or "-"


def _picture(plan: Plan, row: int) -> str:
    """The row as a rectangle, with what is pasted over it, one layer over the other."""
    height, width = _sides(plan)
    inner = f'<rect width="{width}" height="{height}" fill="{_OWN}" fill-opacity=".25"/>'
    inner += "".join(_layer(layer, row, height, width) for layer in (plan, *plan.above))
    return (
        f'<svg role="img" aria-label="own weight {plan.lam[row]:.2f}" '
        f'width="{width}" height="{height}" shape-rendering="crispEdges">{inner}</svg>'
    )


def _sides(plan: Plan) -> tuple[int, int]:
    """Pixels; the last two axes are seen, and of one or none a strip."""
    if len(plan.size) < 2:
        return _SIDE // 4, _SIDE
    high, wide = plan.size[-2:]
    scale = _SIDE / max(high, wide)
    return max(4, round(high * scale)), max(4, round(wide * scale))


def _layer(layer: Plan, row: int, height: int, width: int) -> str:
    """Its box, or the cells of its mask in it."""
    if not layer.opacity[row]:
        return ""
    size = (1, 1, *layer.size)[-2:]
    box = np.array([[0, n] for n in size])
    spatial = layer.box[row][-2:]
    box[len(box) - len(spatial) :] = spatial
    scale = np.array([height, width])[:, None] / np.array(size)[:, None]
    (top, bottom), (left, right) = (box * scale).tolist()
    if layer.mask is None:
        return _rectangle(left, top, right - left, bottom - top, float(layer.opacity[row]), _EDGE)
    shares = _coarse(layer.mask[row]) * float(layer.opacity[row])
    high, wide = height / shares.shape[0], width / shares.shape[1]
    found = []
    for (i, j), share in np.ndenumerate(shares):
        x, y = max(left, j * wide), max(top, i * high)
        across, down = min(right, (j + 1) * wide) - x, min(bottom, (i + 1) * high) - y
        if share > 0.01 and across > 0 and down > 0:
            found.append(_rectangle(x, y, across, down, float(share)))
    return "".join(found)


def _coarse(mask: NDArray[np.float32] | NDArray[np.uint8]) -> NDArray[np.float64]:
    """[at most _CELLS, at most _CELLS]: shares 0..1, means of the last two axes' cells."""
    shares = mask / 255 if mask.dtype == np.uint8 else mask.astype(np.float64)
    while shares.ndim > 2:
        shares = shares.mean(0)
    shares = np.atleast_2d(shares)
    parts = [np.array_split(np.arange(n), min(n, _CELLS)) for n in shares.shape]
    return np.array([[shares[np.ix_(i, j)].mean() for j in parts[1]] for i in parts[0]])


def _rectangle(
    x: float, y: float, width: float, height: float, share: float, edge: str = ""
) -> str:
    return (
        f'<rect x="{x:.4g}" y="{y:.4g}" width="{width:.4g}" height="{height:.4g}" '
        f'fill="{_PARTNER}" fill-opacity="{share:.2g}"{edge}/>'
    )


def _bar(plan: Plan, row: int) -> str:
    own = float(plan.lam[row])
    return (
        f'<svg aria-hidden="true" width="{_SIDE}" height="8">'
        f'<rect width="{_SIDE * own:.4g}" height="8" fill="{_OWN}"/>'
        f'<rect x="{_SIDE * own:.4g}" width="{_SIDE * (1 - own):.4g}" height="8" '
        f'fill="{_PARTNER}"/></svg><br/>{own:.2f}'
    )
