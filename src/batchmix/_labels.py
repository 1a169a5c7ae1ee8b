"""Applying a plan to labels: dense soft targets, or pairs of hard ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchmix._batch import check_batch, shape_of
from batchmix._errors import MixError, mix_error
from batchmix._plan import Plan
from batchmix.backends import Backend, _formula, backend_of, called_as_is


@called_as_is
def mix_labels(
    y: Any, plan: Plan, classes: int | None = None, *, smoothing: float = 0.0, other: Any = None
) -> Any:
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
      other: labels that partners are taken from, as in `mix`.

    Returns:
      float32 [B, C] on the device of `y`. Rows sum to 1 where those of `y` do.

    Raises:
      MixError: ids without `classes` or outside 0..C-1 (seen on the host; on a device the scatter
        itself fails), shapes that do not fit.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], box=[], opacity=[0.25, 0], axes="", size=())
      >>> bm.mix_labels(np.array([0, 1]), plan, classes=2)
      array([[0.75, 0.25],
             [0.  , 1.  ]], dtype=float32)

    Differs from: smoothing is timm's, off = s / C; torchvision has none. In FFCV a row sums to
    1 - lam when both labels are equal.

    Source: Zhang et al., mixup, 2018, eq. 1, https://arxiv.org/abs/1710.09412
    """
    b = backend_of(y, "mix_labels()")
    check_batch(b, "mix_labels()", "y", y, plan, other)
    check_options("mix_labels()", classes, smoothing)
    others = y if other is None else other
    if b.is_integer(y) and tuple(y.shape)[1:] == (1,) and classes not in (None, 1):
        y, others = y[:, 0], others[:, 0]  # a column of ids, as in the data sets of Keras
    if len(y.shape) == 1 and b.is_integer(y):
        if classes is None:
            raise _no_classes(y)
        if not plan.above:
            off, on = smoothing / classes, 1 - smoothing
            soft = b.soft(y, others, plan.partner, _own_share(plan), classes, off, on)
            if soft is None:
                raise _no_class(b, y, others, classes)
            return soft
        y, others = (_one_hot(b, ids, plan, classes) for ids in (y, others))
    count = _checked_probabilities(b, y, classes)
    soft, shares = b.cast(y, "float32"), shares_of(plan, "mix_labels()")
    if not plan.above:
        partners = b.cast(b.take(others, b.array(plan.partner, y)), "float32")
        soft = _formula.blend(b, soft, partners, b.array(shares[1], y)[:, None])
    else:
        soft = soft * b.array(shares[0], y)[:, None]
        for layer, share in zip((plan, *plan.above), shares[1:]):
            partners = b.cast(b.take(others, b.array(layer.partner, y)), "float32")
            soft = soft + partners * b.array(share, y)[:, None]
    return soft * (1 - smoothing) + smoothing / count if smoothing else soft


@called_as_is
def pairs(y: Any, plan: Plan, *, other: Any = None) -> tuple[Any, Any, Any]:
    """Both targets of each row and the weight of the first, for losses that take hard labels.

    Use with `losses.pairwise`; no [B, C] array is made, whatever C is.

    Args:
      y: labels [B, ...] of any dtype.
      plan: as given to `mix`.
      other: labels that partners are taken from, as in `mix`.

    Returns:
      (y, y[partner], lam): two arrays like `y`, and float32 [B], the weight of the row's OWN label.

    Raises:
      MixError: B does not fit, or the plan has layers and so several partners a row.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], box=[], opacity=[0.25, 0], axes="", size=())
      >>> bm.pairs(np.array([7, 9]), plan)
      (array([7, 9]), array([9, 7]), array([0.75, 1.  ], dtype=float32))

    Differs from: Composer's MixUp returns the partner's weight, its CutMix the own one; kornia
    returns ids as floats.
    """
    b = backend_of(y, "pairs()")
    check_batch(b, "pairs()", "y", y, plan, other)
    if plan.above:
        raise mix_error(
            "pairs()", f"the plan has {1 + len(plan.above)} layers.",
            "A row has a partner in each.", "Use parts(y, plan), which has a label for each.",
        )  # fmt: skip
    partners = b.take(y if other is None else other, b.array(plan.partner, y))
    lam = _own_share(plan)
    # a copy: what is handed out may be written to, the plan may not
    return y, partners, b.array(lam.copy() if isinstance(lam, np.ndarray) else lam, y)


@called_as_is
def parts(y: Any, plan: Plan, *, other: Any = None) -> tuple[Any, Any]:
    """All targets of each row and their weights: `pairs` for any number of layers.

    Use with `losses.pairwise`.

    Args:
      y: labels [B, ...] of any dtype.
      plan: as given to `mix`.
      other: labels that partners are taken from, as in `mix`.

    Returns:
      (labels [B, K + 1, ...] like `y`, weights float32 [B, K + 1]): the row's own first, then the
      partner's of each layer. Weights of a row sum to 1.

    Raises:
      MixError: B does not fit.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], box=[], opacity=[0.25, 0], axes="", size=())
      >>> labels, weights = bm.parts(np.array([7, 9]), plan.then(plan))
      >>> labels.tolist(), weights.tolist()
      ([[7, 9, 9], [9, 7, 7]], [[0.5625, 0.1875, 0.25], [1.0, 0.0, 0.0]])

    Differs from: no other library mixes more than two rows with weights that follow the pixels.
    """
    b = backend_of(y, "parts()")
    check_batch(b, "parts()", "y", y, plan, other)
    others = y if other is None else other
    layers = (plan, *plan.above)
    labels = b.stack([y, *(b.take(others, b.array(layer.partner, y)) for layer in layers)])
    weights = b.stack([b.array(share, y) for share in shares_of(plan, "parts()")])
    axes = (1, 0, *range(2, len(y.shape) + 1))
    return b.transpose(labels, axes), b.transpose(weights, (1, 0))


def shares_of(plan: Plan, where: str) -> list[Any]:
    """[B] each: the weight of a row's own label, then of the partner's in each layer."""
    layers = (plan, *plan.above)
    if not plan.above:
        own = _own_share(plan)
        return [own, 1 - own]
    if all(layer.label_lam is None for layer in layers):
        return [plan.lam, *(layer.seen for layer in layers)]
    if not isinstance(plan.lam, np.ndarray):
        raise mix_error(
            where, "a plan with layers and labels of its own has no values yet.",
            "Such labels are counted on the host.", "Mix them outside of the compiled function.",
        )  # fmt: skip
    return [np.ascontiguousarray(share) for share in plan.label_weights.T]


def _own_share(plan: Plan) -> Any:
    """[B]: the weight of a row's own label, of a plan of one layer."""
    return plan.lam if plan.label_lam is None else plan.label_lam


def _one_hot(b: Backend, ids: Any, plan: Plan, classes: int) -> Any:
    """float32 [rows, classes] of ids that were checked."""
    rows = ids.shape[0]
    # in a graph that does not know, or in one of CUDA, which has no place for numbers of the host
    if rows is None or type(plan.partner) is not np.ndarray:
        first = b.cast(0 * ids, "int32")
        alone = b.cast(first + 1, "float32")
    else:
        first, alone = np.zeros(rows, np.int32), np.ones(rows, np.float32)
    soft = b.soft(ids, ids, first, alone, classes, 0.0, 1.0)
    if soft is None:
        raise _no_class(b, ids, ids, classes)
    return soft


def check_options(where: str, classes: int | None, smoothing: float) -> None:
    """A number of classes, or None, and a share to smooth by."""
    # tuples of types: torch.compile of PyTorch 2.4 to 2.6 traces no unions
    counts = isinstance(classes, (int, np.integer)) and not isinstance(classes, bool)
    if classes is not None and not (counts and 0 < classes < 2**31):
        raise mix_error(
            where, f"got classes={classes!r}.", "It counts classes, from 1.",
            "Pass an integer such as 10.",
        )  # fmt: skip
    if not (isinstance(smoothing, (int, float, np.floating)) and 0 <= smoothing < 1):
        raise mix_error(
            where, f"got smoothing={smoothing!r}.", "It is a share, 0 <= s < 1.",
            "0.1 is the usual value.",
        )  # fmt: skip


def _no_classes(y: Any) -> MixError:
    return mix_error(
        "mix_labels()", f"got integer labels of shape {tuple(y.shape)} and classes=None.",
        "Class ids cannot be averaged.",
        "Pass classes=<number of classes>, or one-hot labels of shape (B, C).",
    )  # fmt: skip


def _no_class(b: Backend, y: Any, other: Any, classes: int) -> MixError:
    seen = [ids for ids in map(b.on_host, (y, other)) if ids is not None]
    bad = [ids[(ids < 0) | (ids >= classes)] for ids in seen]
    return mix_error(
        "mix_labels()", f"got label {int(np.concatenate(bad)[0])} with classes={classes}.",
        f"Ids are 0..{classes - 1}.",
        "Raise `classes`, or drop or remap rows to ignore before mixing.",
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
