"""Applying a plan to labels: dense soft targets, or pairs of hard ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchmix._errors import MixError, mix_error
from batchmix._mix import check_batch, shape_of
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
    own_weight = plan.lam if plan.label_lam is None else plan.label_lam
    if len(y.shape) == 1 and b.is_integer(y):
        if classes is None:
            raise _no_classes(y)
        off, on = smoothing / classes, 1 - smoothing
        soft = b.soft(y, others, plan.partner, own_weight, classes, off, on)
        if soft is None:
            raise _no_class(b, y, others, classes)
        return soft
    count = _checked_probabilities(b, y, classes)
    partners = b.cast(b.take(others, b.array(plan.partner, y)), "float32")
    theirs = 1 - b.array(own_weight, y)[:, None]
    soft = _formula.blend(b, b.cast(y, "float32"), partners, theirs)
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
      MixError: B does not fit.

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
    partners = b.take(y if other is None else other, b.array(plan.partner, y))
    lam = plan.lam if plan.label_lam is None else plan.label_lam
    # a copy: what is handed out may be written to, the plan may not
    return y, partners, b.array(lam.copy() if isinstance(lam, np.ndarray) else lam, y)


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
