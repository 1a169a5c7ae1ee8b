"""Applying a plan to labels: dense soft targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchmix._batch import check_batch, shape_of
from batchmix._errors import MixError, mix_error
from batchmix._label_rules import Rule, check_options
from batchmix._pairs import own_share, shares_of
from batchmix._plan import Plan
from batchmix.backends import Backend, _formula, backend_of, called_as_is

_NEAR = 1e-6  # what weights that are added up may miss a threshold by


@called_as_is
def mix_labels(
    y: Any, plan: Plan, classes: int | None = None, *, smoothing: float = 0.0,
    ignore: int | None = None, rule: Rule = "blend", threshold: float = 0.5, other: Any = None,
) -> Any:  # fmt: skip
    r"""Soft labels that match what `mix` did to the pixels.

    .. math:: \tilde y_i = \lambda_i y_i + (1 - \lambda_i) y_{p(i)}

    `lam[i]` is the share of row i's own content, measured on the integer box, so it is exact also
    where the box was clipped at the border.

    Args:
      y: class ids, integers [B] or a column [B, 1] where C > 1, or probabilities (one-hot,
        multi-label) [B, C].
      plan: as given to `mix`.
      classes: C; needed for ids.
      smoothing: share s of the label that is spread over all C classes, 0 <= s < 1: the own class
        starts from 1 - s + s / C.
      ignore: an id that is no class, such as -100, of rows whose label nobody knows. They count
        nothing: a soft label sums to the share of the row that is known, and a cross-entropy
        weights it by that. Smoothing spreads the known share alone.
      rule: "blend" as above; "union": of each class the largest label of all that has a weight
        above 0, so that every sound in a mix of sounds is there in full; "threshold": 1 where the
        blend is `threshold` or more (to 1e-6, a rounding), else 0.
      threshold: of that rule, 0 < t <= 1.
      other: labels that partners are taken from, as in `mix`.

    Returns:
      float32 [B, C] on the device of `y`. Rows sum to 1 where those of `y` do.

    Raises:
      MixError: ids without `classes` or outside 0..C-1 (seen on the host; on a device the scatter
        itself fails), shapes that do not fit, `ignore` for labels that are no ids, smoothing or a
        threshold with a rule that has none.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], box=[], opacity=[0.25, 0], axes="", size=())
      >>> bm.mix_labels(np.array([0, 1]), plan, classes=2)
      array([[0.75, 0.25],
             [0.  , 1.  ]], dtype=float32)
      >>> bm.mix_labels(np.array([0, -100]), plan, classes=2, ignore=-100).tolist()
      [[0.75, 0.0], [0.0, 0.0]]
      >>> bm.mix_labels(np.array([0, 1]), plan, classes=2, rule="union").tolist()
      [[1.0, 1.0], [0.0, 1.0]]

    Differs from: smoothing is timm's, off = s / C; torchvision has none. In FFCV a row sums to
    1 - lam when both labels are equal. None of them takes rows without a label.

    Source: Zhang et al., mixup, 2018, eq. 1, https://arxiv.org/abs/1710.09412
    """
    b = backend_of(y, "mix_labels()")
    check_batch(b, "mix_labels()", "y", y, plan, other)
    check_options("mix_labels()", classes, smoothing, ignore, rule, threshold)
    others = y if other is None else other
    if b.is_integer(y) and tuple(y.shape)[1:] == (1,) and classes not in (None, 1):
        y, others = y[:, 0], others[:, 0]  # a column of ids, as in the data sets of Keras
    if len(y.shape) == 1 and b.is_integer(y):
        if classes is None:
            raise _no_classes(y)
        soft = _of_ids(b, y, others, plan, classes, smoothing, ignore, rule)
    else:
        count = _checked_probabilities(b, y, classes)
        if ignore is not None:
            raise _no_ids(y, ignore)
        rows, partners = (b.cast(labels, "float32") for labels in (y, others))
        soft = _smoothed(_of_rows(b, rows, partners, plan, rule), smoothing, count)
    if rule == "threshold":  # NaN stays: in a compiled step it tells of an id that is no class
        soft = b.where(soft != soft, soft, b.cast(soft > threshold - _NEAR, "float32"))
    return soft


def _of_ids(
    b: Backend, y: Any, others: Any, plan: Plan, classes: int, smoothing: float,
    ignore: int | None, rule: Rule,
) -> Any:  # fmt: skip
    """Of class ids; what is to be ignored is a class more, and then left out."""
    own, theirs, count, spread = y, others, classes, smoothing
    if ignore is not None:
        own = _one_more(b, y, classes, ignore)
        theirs = own if others is y else _one_more(b, others, classes, ignore)
        count, spread = classes + 1, 0.0
    if plan.above or rule == "union":
        hot = _one_hot(b, own, plan, count)
        soft = hot if hot is None or theirs is own else _one_hot(b, theirs, plan, count)
        if soft is not None:
            soft = _smoothed(_of_rows(b, hot, soft, plan, rule), spread, count)
    else:
        off, on = spread / count, 1 - spread
        soft = b.soft(own, theirs, plan.partner, own_share(plan), count, off, on)
    if soft is None:
        raise _no_class(b, y, others, classes, ignore)
    if ignore is None:
        return soft
    known, soft = 1 - soft[:, classes:], soft[:, :classes] * (1 - smoothing)
    return soft + known * (smoothing / classes) if smoothing else soft


def _one_more(b: Backend, ids: Any, classes: int, ignore: int) -> Any:
    """int64: `classes` for what is to be ignored; what has that id by itself is no class."""
    ids = b.cast(ids, "int64")
    none, more = 0 * ids - 1, 0 * ids + classes
    return b.where(ids == ignore, more, b.where(ids == classes, none, ids))


def _of_rows(b: Backend, y: Any, others: Any, plan: Plan, rule: Rule) -> Any:
    """float32 [B, C] of such labels."""
    shares, layers = shares_of(plan, "mix_labels()"), (plan, *plan.above)
    own, *theirs = (b.array(share, y)[:, None] for share in shares)
    partners = [b.take(others, b.array(layer.partner, y)) for layer in layers]
    if rule == "union":
        found = b.where(own > 0, y, 0.0)
        for labels, share in zip(partners, theirs):
            more = (share > 0) & ((labels > found) | (labels != labels))
            found = b.where(more, labels, found)
        return found
    if not plan.above:
        return _formula.blend(b, y, partners[0], theirs[0])
    # chosen before they are weighted: NaN times 0 is NaN
    soft = b.where(own > 0, y, 0.0) * own
    for labels, share in zip(partners, theirs):
        soft = soft + b.where(share > 0, labels, 0.0) * share
    return soft


def _smoothed(soft: Any, smoothing: float, classes: int) -> Any:
    return soft * (1 - smoothing) + smoothing / classes if smoothing else soft


def _one_hot(b: Backend, ids: Any, plan: Plan, classes: int) -> Any:
    """float32 [rows, classes]; None where the host can see an id that is no class."""
    rows = ids.shape[0]
    # in a graph that does not know, or in one of CUDA, which has no place for numbers of the host
    if rows is None or type(plan.partner) is not np.ndarray:
        first = b.cast(0 * ids, "int32")
        alone = b.cast(first + 1, "float32")
    else:
        first, alone = np.zeros(rows, np.int32), np.ones(rows, np.float32)
    return b.soft(ids, ids, first, alone, classes, 0.0, 1.0)


def _no_classes(y: Any) -> MixError:
    return mix_error(
        "mix_labels()", f"got integer labels of shape {tuple(y.shape)} and classes=None.",
        "Class ids cannot be averaged.",
        "Pass classes=<number of classes>, or one-hot labels of shape (B, C).",
    )  # fmt: skip


def _no_ids(y: Any, ignore: int) -> MixError:
    return mix_error(
        "mix_labels()", f"got ignore={ignore} and labels of shape {tuple(y.shape)}, "
        f"dtype {y.dtype}.",
        "What is ignored is an id, and these labels are none.",
        "Leave `ignore` out: a row of zeros has no label.",
    )  # fmt: skip


def _no_class(b: Backend, y: Any, other: Any, classes: int, ignore: int | None) -> MixError:
    seen = [ids for ids in map(b.on_host, (y, other)) if ids is not None]
    bad = [ids[((ids < 0) | (ids >= classes)) & (ids != ignore)] for ids in seen]
    return mix_error(
        "mix_labels()", f"got label {int(np.concatenate(bad)[0])} with classes={classes}.",
        f"Ids are 0..{classes - 1}.",
        "Raise `classes`; for rows without a label pass ignore=<their id>, such as -100.",
    )  # fmt: skip


def _checked_probabilities(b: Backend, y: Any, classes: int | None) -> int:
    """C of labels [B, C]; integers among them are one-hot or multi-hot, not several ids."""
    shape = shape_of(y, "mix_labels()")
    values = b.on_host(y) if b.is_integer(y) else None
    hot = values is None or ((values == 0) | (values == 1)).all()
    hot = hot and (b.is_integer(y) or b.blendable(y))
    count = {n for n in (classes, shape[-1]) if n is not None}  # a graph may not know its C
    if len(shape) == 2 and len(count) == 1 and 0 not in count and hot:
        return count.pop()
    raise mix_error(
        "mix_labels()", f"got labels of shape {shape}, dtype {y.dtype} and classes={classes}.",
        "Labels are integer ids [B], or probabilities (integers: 0, 1) [B, C] with C = classes.",
        "For masks of ids use fields.Ids; for other targets use pairs.",
    )  # fmt: skip
