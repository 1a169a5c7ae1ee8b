"""Losses for mixed labels: dense soft targets, or any loss on pairs of hard ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from batchmix._errors import mix_error
from batchmix._numbers import is_number
from batchmix.backends import Backend, backend_of, called_as_is

Reduction = Literal["mean", "none"]


@called_as_is
def soft_cross_entropy(
    logits: Any, target: Any, reduction: Reduction = "mean", *, weight: Any = None
) -> Any:
    r"""Cross-entropy with a distribution as target.

    .. math:: \ell_i = -\sum_c w_c\, \tilde y_{ic} \log \mathrm{softmax}(z_i)_c

    It is linear in the target, so it equals ``lam * CE(y) + (1 - lam) * CE(y_partner)``.

    Args:
      logits: [B, C], unnormalised.
      target: [B, C], rows sum to 1, as `mix_labels` returns; rows that sum to less, where labels
        are not known, count less.
      reduction: "mean" over rows, or "none".
      weight: [C], of each class, >= 0; numbers, or an array beside the logits. The mean is over
        rows, whatever they weigh.

    Returns:
      A scalar, or [B].

    Raises:
      MixError: shapes differ, or are not [B, C]; another number of weights.

    Example:
      >>> import numpy as np
      >>> float(soft_cross_entropy(np.zeros((1, 4)), np.full((1, 4), 0.25)).round(4))
      1.3863

    Differs from: torch.nn.CrossEntropyLoss with probabilities gives the same, also with `weight`;
    with its own `label_smoothing` on top, labels would be smoothed twice. Of class ids it divides
    by the sum of their weights and not by the rows: ``loss.sum() / (target @ weight).sum()`` of
    what ``reduction="none"`` returns.
    """
    b = _checked("soft_cross_entropy()", logits, target, reduction)
    if len(logits.shape) != 2:
        raise mix_error(
            "soft_cross_entropy()", f"`logits` has shape {tuple(logits.shape)}.",
            "Each row has one distribution over its classes: [B, C].",
            "Bring the classes to the last axis, and the others into the first by reshape.",
        )  # fmt: skip
    log, target = b.promoted(b.log_softmax(logits), target)
    target = _weighted(b, "soft_cross_entropy()", target, weight)
    return _reduced(b, -b.sum(target * log), reduction)


@called_as_is
def soft_binary_cross_entropy(
    logits: Any, target: Any, *, threshold: float | None = None, reduction: Reduction = "mean",
    weight: Any = None,
) -> Any:  # fmt: skip
    r"""Binary cross-entropy on every class, with soft or two-hot targets.

    .. math:: \ell_{ic} = -w_c \big(t_{ic} \log \sigma(z_{ic})
              + (1 - t_{ic}) \log \sigma(-z_{ic})\big)

    With `threshold`, t is 1 where the soft label is above it and else 0: both classes of a mix
    become full positives, and lam matters only through the threshold.

    Args:
      logits: [B, C].
      target: [B, C] in 0..1.
      threshold: 0 <= threshold < 1, or None for soft targets.
      reduction: "mean" over rows and classes, or "none".
      weight: [C], of each class, >= 0, as torch's `weight`. The mean is over rows and classes,
        whatever they weigh.

    Returns:
      A scalar, or [B, C].

    Raises:
      MixError: shapes differ, the threshold is out of range, or another number of weights.

    Example:
      >>> import numpy as np
      >>> soft = np.array([[0.7, 0.3, 0.0]])
      >>> float(soft_binary_cross_entropy(np.zeros((1, 3)), soft, threshold=0.2).round(2))
      0.69

    Differs from: timm's BinaryCrossEntropy(target_threshold=...) gives the same.

    Source: Wightman et al., ResNet strikes back, 2021, section 3, https://arxiv.org/abs/2110.00476
    """
    b = _checked("soft_binary_cross_entropy()", logits, target, reduction)
    if threshold is not None:
        if not (is_number(threshold) and 0 <= threshold < 1):
            raise mix_error(
                "soft_binary_cross_entropy()", f"got threshold={threshold!r}.",
                "A soft label above it counts as 1; labels lie in 0..1.", "0.2 is a usual value.",
            )  # fmt: skip
        target = b.cast(target > threshold, "float32")
    logits, _ = b.promoted(logits, logits)
    yes, target = b.promoted(b.log_sigmoid(logits), target)
    loss = -(target * yes + (1 - target) * b.log_sigmoid(-logits))
    return _reduced(b, _weighted(b, "soft_binary_cross_entropy()", loss, weight), reduction)


def pairwise(
    loss: Callable[[Any, Any], Any],
    logits: Any,
    pairs: tuple[Any, Any, Any] | tuple[Any, Any],
    reduction: Reduction = "mean",
) -> Any:
    r"""Any loss on hard labels, weighted by what each row holds.

    .. math:: \ell_i = \lambda_i\, \ell(z_i, y_i) + (1 - \lambda_i)\, \ell(z_i, y_{p(i)})

    Args:
      loss: callable (logits, y) -> one value per row, [B] or [B, ...]: no reduction.
      logits: what the model returned for the mixed rows.
      pairs: (y, y_partner, lam), as `batchmix.pairs` returns, or (labels, weights) of
        `batchmix.parts`: then the sum over all of a row's labels, each by its weight. For losses of
        masks lam may have a value for each cell, [B, H, W].
      reduction: "mean" over all values, or "none".

    Returns:
      A scalar, or the shape that `loss` returned.

    Raises:
      MixError: `loss` reduced over the batch.

    Example:
      >>> import numpy as np
      >>> squared = lambda z, y: (z - y) ** 2
      >>> y, y_partner, lam = np.array([0.0]), np.array([2.0]), np.array([0.75])
      >>> float(pairwise(squared, np.array([0.0]), (y, y_partner, lam)))
      1.0

    Differs from: ``mean(loss) * mean(lam)``, what comes out when the loss reduces first, is another
    number as soon as lam differs between rows.
    """
    _check_reduction(reduction)
    if not isinstance(pairs, (tuple, list)) or len(pairs) not in (2, 3):
        raise mix_error(
            "pairwise()", f"`pairs` is a {type(pairs).__name__}.",
            "It is (y, y_partner, lam): two targets a row, and the weight of the first; or "
            "(labels, weights), one of each for every part of a row.",
            "Pass what batchmix.pairs or batchmix.parts returned.",
        )  # fmt: skip
    if len(pairs) == 3:
        labels, weights = list(pairs[:2]), [pairs[2], 1 - pairs[2]]
    else:
        labels = [pairs[0][:, k] for k in range(pairs[0].shape[1])]
        weights = [pairs[1][:, k] for k in range(len(labels))]
    b = backend_of(weights[0], "pairwise()")
    total = None
    for y, weight in zip(labels, weights):
        part = loss(logits, y)
        shape, known = tuple(getattr(part, "shape", ())), tuple(weight.shape)
        if not shape or shape[: len(known)] != known or backend_of(part, "pairwise()") is not b:
            raise mix_error(
                "pairwise()", f"`loss` returned a {type(part).__name__} of shape {shape} for "
                f"{' x '.join(map(str, known))} {'rows' if len(known) == 1 else 'cells'}.",
                "Each row has a weight of its own, so the loss must not average over rows.",
                "Pass reduction='none' to the loss.",
            )  # fmt: skip
        weight, part = b.promoted(weight[(..., *[None] * (len(shape) - len(known)))], part)
        total = weight * part if total is None else total + weight * part
    return _reduced(b, total, reduction)


def _checked(where: str, logits: Any, target: Any, reduction: Reduction) -> Backend:
    """The backend, once logits and target are numbers of one shape."""
    _check_reduction(reduction)
    b = backend_of(logits, where)
    for name, x in (("logits", logits), ("target", target)):
        if backend_of(x, where) is not b or not (b.blendable(x) or b.is_integer(x)):
            raise mix_error(
                where, f"`{name}` is a {type(x).__name__} of dtype {x.dtype}.",
                "Logits and targets are real numbers, in arrays of one framework.",
                "Convert one of them.",
            )  # fmt: skip
    if tuple(logits.shape) != tuple(target.shape):
        raise mix_error(
            where, f"`logits` has shape {tuple(logits.shape)}, `target` {tuple(target.shape)}.",
            "Each logit has a target.", "Make dense targets with mix_labels, or use pairwise.",
        )  # fmt: skip
    return b


def _weighted(b: Backend, where: str, x: Any, weight: Any) -> Any:
    """[..., C] by a weight of each class; as it is without."""
    if weight is None:
        return x
    host = isinstance(weight, (list, tuple, np.ndarray))  # on no device, whatever x is
    given = np.asarray(weight) if host else weight
    fit = tuple(getattr(given, "shape", ())) == (x.shape[-1],)
    if host:
        fit = fit and given.dtype.kind in "iuf" and bool(((given >= 0) & (given < np.inf)).all())
        given = b.array(given.astype(np.float64), x) if fit else given
    if not (fit and backend_of(given, where) is b and b.together(given, x)):
        raise mix_error(
            where, f"`weight` is a {type(weight).__name__}, {weight!r}.",
            f"It has a finite number >= 0 for each of the {x.shape[-1]} classes, in a list or in "
            "an array beside the logits.",
            "Pass for example 1 / np.bincount(labels).clip(1).",
        )  # fmt: skip
    return x * b.rounded(given, x)


def _check_reduction(reduction: Reduction) -> None:
    if reduction not in ("mean", "none"):
        raise mix_error(
            "losses", f"got reduction={reduction!r}.", "It is 'mean' or 'none'.",
            "Pass one of the two.",
        )  # fmt: skip


def _reduced(b: Backend, loss: Any, reduction: Reduction) -> Any:
    return b.mean(loss) if reduction == "mean" else loss
