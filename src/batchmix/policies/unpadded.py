"""Unpadded: mix where both rows have content, and label by content."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._columns import LATTICE
from batchmix._errors import mix_error
from batchmix._weights import Layer, seen
from batchmix.policies._paste import Paste, Policy, Request, check_policy, layers_of, reads_of


@dataclass(frozen=True)
class Unpadded:
    r"""Mix rows of different lengths as `policy` does, where both have content.

    .. math:: [0, T) \to [\max(s, s_p), \min(e, e_p)), \qquad
              \lambda_y = \frac{\text{own content that shows}}{\text{own content}}

    for content in :math:`[s, e)` of the row and :math:`[s_p, e_p)` of its partner: what the policy
    draws on the axis T is squeezed into the stretch that both have. So padding never covers
    content, nothing is pasted on padding, and **a row keeps its length**: its padding mask is right
    as it was. A source (`ResizeMix`) is taken from the partner's content, and stretched over the
    row's own. Labels count cells of content; what is blended over the common stretch alone counts
    as much as that stretch is of the row. A rule of the policy's own stays (`BetweenClass`). Rows
    that have no stretch in common are left alone.

    Reads: "padding", [B, T] or more axes of the grid: 1 where there is content, 0 where there is
    none; and what the policy reads. The content of a row is one stretch of T.

    Args:
      policy: any that pastes on the axis T; `PerBatch`, `PerPair` and `Layers` go inside.

    Raises:
      MixError: at the draw, no axis T, or a padding mask of another size or with holes.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> content = np.arange(100) < [[100], [40]]
      >>> plan = bm.draw(Unpadded(bm.policies.CutMix(minmax=(1, 1))), bm.Key(0), 2, {"T": 100},
      ...                pairing=bm.pairing.Reverse(), hints={"padding": content})
      >>> plan.box[:, 0].tolist(), plan.label_lam.astype(float).round(2).tolist()
      ([[0, 40], [0, 40]], [0.6, 0.0])

    Differs from: elsewhere batches are padded first and mixed as if the padding were content: the
    label counts silence, and one clip ends in the other's.
    """

    policy: Policy

    def __post_init__(self) -> None:
        check_policy("Unpadded", self.policy)

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*reads_of(self.policy), "padding")))

    @property
    def layers(self) -> int:
        return layers_of(self.policy)

    def sample(self, request: Request) -> Paste:
        """The policy's draw, moved to where both rows have content."""
        if "T" not in request.size:
            raise mix_error(
                "Unpadded", f"the draw has size={dict(request.size)}.",
                "Rows end somewhere on the axis T, time.",
                "Draw with size={'T': cells}; a Mixer takes axes='T'.",
            )  # fmt: skip
        own, theirs = (_stretches(hints["padding"], request) for hints in
                       (request.hints, request.theirs))  # fmt: skip
        drawn = self.policy.sample(request)
        layers = [
            _moved(replace(layer, above=()), own, theirs[partner], request)
            for layer, partner in zip(
                (drawn, *drawn.above), (request.partner, *request.later), strict=False
            )
        ]
        first, *above = _labelled(layers, request, own)
        return replace(first, above=tuple(above))


def _stretches(padding: NDArray[Any], request: Request) -> NDArray[np.int64]:
    """[B, 2]: where the content of each row starts and ends on T."""
    there = np.asarray(padding) != 0
    axes = list(request.size)
    if there.ndim == 2 and there.shape[1:] == (request.size["T"],):
        along = there
    elif there.shape[1:] == (*request.size.values(),):
        along = there.any(tuple(k + 1 for k, axis in enumerate(axes) if axis != "T"))
    else:
        raise mix_error(
            "Unpadded", f"the hint 'padding' has shape {there.shape}; the draw has "
            f"size={dict(request.size)}.", "It says of each cell of time whether it is content.",
            f"Pass a mask [B, {request.size['T']}], 1 for content.",
        )  # fmt: skip
    start = along.argmax(1)
    count = along.sum(1)
    end = np.where(count > 0, along.shape[1] - along[:, ::-1].argmax(1), 0)
    holes = np.flatnonzero(end - np.where(count > 0, start, 0) != count)
    if holes.size:
        raise mix_error(
            "Unpadded", f"the content of row {holes[0]} has holes.",
            "Content is one stretch, with padding before or after it.",
            "Pass 1 for content and 0 for padding; cells without sound are content too.",
        )  # fmt: skip
    return np.stack([np.where(count > 0, start, 0), end], 1)


def _moved(
    paste: Paste, own: NDArray[np.int64], theirs: NDArray[np.int64], request: Request
) -> Paste:
    """One layer, squeezed into what both rows have on T."""
    cells, axis = request.size["T"], list(request.size).index("T")
    both = np.stack([np.maximum(own[:, 0], theirs[:, 0]), np.minimum(own[:, 1], theirs[:, 1])], 1)
    both[:, 1] = np.maximum(both[:, 1], both[:, 0])
    if paste.source is not None:
        both = own
    box = np.array(paste.box)
    box[:, axis] = _squeezed(box[:, axis], both, cells)
    some = both[:, 1] > both[:, 0]
    columns: dict[str, Any] = {"box": box, "opacity": np.where(some, paste.opacity, 0)}
    if paste.source is not None:
        source = np.array(paste.source)
        found = _squeezed(source[:, axis], theirs, cells)
        found[:, 1] = np.maximum(found[:, 1], np.minimum(found[:, 0] + 1, theirs[:, 1]))
        found[:, 0] = np.minimum(found[:, 0], found[:, 1] - 1).clip(0)
        source[:, axis] = found
        empty = theirs[:, 1] <= theirs[:, 0]
        box[empty, axis], source[empty, axis] = 0, (0, 1)
        columns["source"] = source
    if paste.mask is not None:
        columns["mask"] = _mask(paste.mask, both, cells, axis)
    return replace(paste, **columns)


def _squeezed(ends: NDArray[Any], to: NDArray[np.int64], cells: int) -> NDArray[np.int64]:
    """[B, 2]: ranges of 0..cells as the same shares of `to`, rounded to the nearest cell."""
    low, length = to[:, :1], to[:, 1:] - to[:, :1]
    found: NDArray[np.int64] = low + (2 * np.asarray(ends, np.int64) * length + cells) // (
        2 * cells
    )
    return found


def _mask(mask: NDArray[Any], to: NDArray[np.int64], cells: int, axis: int) -> NDArray[Any]:
    """The mask with its axis of time squeezed into `to`; each cell shows the nearest."""
    parts = mask.shape[axis + 1]
    low, length = to[:, :1], np.maximum(to[:, 1:] - to[:, :1], 1)
    at = (2 * (np.arange(cells) - low) + 1) * parts // (2 * length)
    shape = [len(mask), *[1] * (mask.ndim - 1)]
    shape[axis + 1] = cells
    return np.take_along_axis(mask, at.clip(0, parts - 1).reshape(shape), axis + 1)


def _labelled(layers: list[Paste], request: Request, own: NDArray[np.int64]) -> list[Paste]:
    """The layers, each with the share of content that it leaves to what lies below it."""
    cover = [
        Layer(np.asarray(one.box), np.rint(np.asarray(one.opacity, float) * LATTICE) / LATTICE,
              one.mask) for one in layers
    ]  # fmt: skip
    found = seen(cover, tuple(request.size.values()))
    # all that is pasted lies on content, so that the padding is among what shows of the row itself
    content = (own[:, 1] - own[:, 0]) / request.size["T"]
    content = np.where(content > 0, content, 1)
    found[:, 0] -= 1 - content
    below = found.cumsum(1)
    labelled = []
    for k, layer in enumerate(layers):
        whole = np.where(below[:, k + 1] > 0, below[:, k + 1], 1)
        kept = np.where(below[:, k + 1] > 0, below[:, k] / whole, 1).clip(0, 1)
        kept = np.where(found[:, k + 1] > 0, kept, 1)
        given = layer.label_lam
        if given is not None:  # a rule of the policy's own, where anything is pasted
            kept = np.where(np.isnan(given) | (kept == 1), kept, given)
        labelled.append(replace(layer, label_lam=kept))
    return labelled
