"""Metrics that tell whether mixing helped: on clean rows, and on mixed batches while training.

All count on the host in float64, whatever framework the arrays are of; each is NaN for no rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix._numbers import is_whole
from batchmix.backends import backend_of


def accuracy(logits: Any, y: Any) -> float:
    """Share of rows whose largest logit is at the label.

    Args:
      logits: [N, C].
      y: ids [N].

    Example:
      >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
      0.5
    """
    z, ids = _checked("accuracy()", logits, y)
    return _mean(z.argmax(1) == ids)


def mixed_accuracy(logits: Any, pairs: tuple[Any, ...]) -> float:
    r"""Accuracy on a mixed batch: a hit on one of its labels counts by its weight.

    .. math:: \frac{1}{B} \sum_i \sum_k w_{ik} [\hat y_i = y_{ik}]

    A perfect model reaches the mean of the largest weights, ``max(lam, 1 - lam)``, not 1: compare
    it with itself over time, and use clean rows for the real figure.

    Args:
      logits: [B, C], for the mixed rows.
      pairs: (y, y_partner, lam) of `batchmix.pairs`, or (labels, weights) of `batchmix.parts`.

    Example:
      >>> logits = np.array([[0.1, 0.9]])
      >>> mixed_accuracy(logits, (np.array([0]), np.array([1]), np.array([0.75])))
      0.25

    Differs from: accuracy against the unmixed label, which most training loops print under mixing,
    is near E[lam] for a perfect model and says nothing.
    """
    z, labels, weights = _checked_pairs("mixed_accuracy()", logits, pairs)
    predicted = z.argmax(1)
    return _mean(sum(weight * (predicted == y) for y, weight in zip(labels, weights)))


def clean_accuracy(logits: Any, pairs: tuple[Any, ...]) -> float:
    """Accuracy on the rows of a mixed batch that were left unmixed, as `Sometimes` leaves some.

    The one figure of a training step that can be compared with the accuracy on held-out rows.

    Args:
      logits: [B, C], for the mixed rows.
      pairs: (y, y_partner, lam) of `batchmix.pairs`, or (labels, weights) of `batchmix.parts`.

    Returns:
      The share of hits among rows with lam = 1; NaN where there is none.

    Example:
      >>> logits = np.array([[0.1, 0.9], [0.8, 0.2]])
      >>> clean_accuracy(logits, (np.array([1, 1]), np.array([1, 1]), np.array([1.0, 0.5])))
      1.0
    """
    z, (own, *_), (lam, *_) = _checked_pairs("clean_accuracy()", logits, pairs)
    return _mean((z.argmax(1) == own)[lam == 1])


def nll(logits: Any, y: Any) -> float:
    """Mean negative log-likelihood of the labels, in nats.

    Args:
      logits: [N, C].
      y: ids [N].

    Example:
      >>> round(nll(np.zeros((2, 4)), np.array([0, 3])), 4)
      1.3863
    """
    z, ids = _checked("nll()", logits, y)
    return _mean(-_log_softmax(z)[np.arange(len(z)), ids])


def brier(logits: Any, y: Any) -> float:
    r"""Mean squared distance between probabilities and the one-hot label, 0..2.

    .. math:: \frac{1}{N} \sum_i \sum_c (p_{ic} - [y_i = c])^2

    Args:
      logits: [N, C].
      y: ids [N].

    Example:
      >>> brier(np.zeros((1, 2)), np.array([0]))
      0.5

    Differs from: scikit-learn's brier_score_loss halves it for two classes.
    """
    z, ids = _checked("brier()", logits, y)
    apart = np.exp(_log_softmax(z))
    apart[np.arange(len(z)), ids] -= 1
    return _mean((apart**2).sum(1))


def ece(logits: Any, y: Any, bins: int = 15) -> float:
    """Expected calibration error: mean gap between confidence and accuracy, 0..1.

    Mixing moves confidence down, so the raw value often rises while the ranking is as good: look at
    it after temperature scaling too, with `fit_temperature` on held-out rows.

    Args:
      logits: [N, C].
      y: ids [N].
      bins: of equal width, by the largest probability.

    Raises:
      MixError: as for the other metrics; bins < 1.

    Example:
      >>> round(ece(np.array([[9.0, 0.0], [9.0, 0.0]]), np.array([0, 1])), 3)
      0.5

    Differs from: torchmetrics' multiclass_calibration_error gives the same.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017, eq. 3,
    https://arxiv.org/abs/1706.04599
    """
    z, ids = _checked("ece()", logits, y)
    if not (is_whole(bins) and bins > 0):
        raise mix_error("ece()", f"got bins={bins!r}.", "It counts bins, from 1.", "Pass 15.")
    probabilities = np.exp(_log_softmax(z)).astype(np.float32)
    # as in torchmetrics: bins [k / n, (k + 1) / n), edges in float32, 1.0 in one of its own
    edges = np.linspace(0, 1, bins + 1, dtype=np.float32)
    confidence, hit = probabilities.max(1), z.argmax(1) == ids
    at = np.searchsorted(edges, confidence, side="right") - 1
    gaps = np.bincount(at, confidence, bins + 1) - np.bincount(at, hit, bins + 1)
    return float(np.abs(gaps).sum() / len(z)) if len(z) else float("nan")


def fit_temperature(logits: Any, y: Any) -> float:
    """The temperature T that minimises the NLL of ``logits / T``; fit it on held-out rows.

    T < 1 says that the model was under-confident, which is what mixing does. The NLL is convex in
    1 / T, so bisection on its slope finds the minimum.

    Args:
      logits: [N, C], of rows that were neither trained nor tested on.
      y: ids [N].

    Returns:
      T in 0.01..100; the lower end where every row is right and confidence has no limit, the
      upper end where the logits say nothing about the labels.

    Example:
      >>> logits, y = np.array([[2.0, 0.0]] * 4), np.array([0, 0, 0, 1])
      >>> round(fit_temperature(logits, y), 2)                # log(3) / 2 is the right logit gap
      1.82

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017, section 4.2,
    https://arxiv.org/abs/1706.04599
    """
    z, labels = _checked("fit_temperature()", logits, y)
    z = z - z.max(-1, keepdims=True)
    low, high = np.log(0.01), np.log(100.0)  # of 1 / T
    for _ in range(60):
        middle = (low + high) / 2
        p = np.exp(np.exp(middle) * z)
        p /= p.sum(-1, keepdims=True)
        slope = _mean((p * z).sum(-1) - z[np.arange(len(z)), labels])
        low, high = (middle, high) if slope < 0 else (low, middle)
    return float(np.exp(-(low + high) / 2))


def _checked(where: str, logits: Any, *labels: Any) -> tuple[NDArray[Any], ...]:
    """On the host: logits float64 [N, C], C > 0, and each of `labels` ids [N] in 0..C-1."""
    z = _values(where, "logits", logits).astype(np.float64, copy=False)
    ids = [_values(where, "y", y) for y in labels]
    if z.ndim != 2 or not z.shape[1]:
        raise mix_error(
            where, f"`logits` has shape {z.shape}.", "It is [N, C]: one number a row and class.",
            "Bring the classes to the last axis, and the others into the first by reshape.",
        )  # fmt: skip
    for y in ids:
        if y.shape != z.shape[:1] or y.dtype.kind not in "iu":
            raise mix_error(
                where, f"`y` has shape {y.shape} and dtype {y.dtype}, `logits` shape {z.shape}.",
                "Labels are integer ids, one for each row: [N].",
                "Drop an axis of 1 with y[:, 0]; take y.argmax(1) of one-hot labels.",
            )  # fmt: skip
        if y.size and not (y.min() >= 0 and y.max() < z.shape[1]):
            bad = y[(y < 0) | (y >= z.shape[1])][0]
            raise mix_error(
                where, f"got label {bad} for {z.shape[1]} classes.",
                f"Ids are 0..{z.shape[1] - 1}.", "Drop rows to ignore before.",
            )  # fmt: skip
    return z, *ids


def _checked_pairs(where: str, logits: Any, pairs: Any) -> tuple[Any, list[Any], list[Any]]:
    """(logits, labels, weights) on the host, an array [B] for each part of a row."""
    if not isinstance(pairs, (tuple, list)) or len(pairs) not in (2, 3):
        raise mix_error(
            where, f"`pairs` is a {type(pairs).__name__}.",
            "It is (y, y_partner, lam), or (labels, weights).",
            "Pass what batchmix.pairs or batchmix.parts returned.",
        )  # fmt: skip
    many = len(pairs) == 2
    given = [pairs[0][:, k] for k in range(pairs[0].shape[1])] if many else pairs[:2]
    z, *labels = _checked(where, logits, *given)
    lam = _values(where, "lam", pairs[-1])
    if lam.shape != (labels[0].shape[0], len(labels))[: 1 + many]:
        raise mix_error(
            where, f"`lam` has shape {lam.shape}, `y` {labels[0].shape}.",
            "Each label has one weight.", "Pass what batchmix.pairs or batchmix.parts returned.",
        )  # fmt: skip
    return z, labels, list(lam.T) if many else [lam, 1 - lam]


def _values(where: str, name: str, x: Any) -> NDArray[Any]:
    b = backend_of(x, where)
    values = b.to_numpy(x) if b.blendable(x) or b.is_integer(x) else None
    if values is None:
        raise mix_error(
            where, f"`{name}` is a {type(x).__name__} of dtype {x.dtype} without real numbers.",
            "Metrics count on the host, outside of functions that are traced.",
            "Return it from the traced function, and count then.",
        )  # fmt: skip
    return values


def _mean(x: NDArray[Any]) -> float:
    return float(x.mean()) if len(x) else float("nan")


def _log_softmax(z: NDArray[np.float64]) -> NDArray[np.float64]:
    log: NDArray[np.float64] = backend_of(z, "metrics").log_softmax(z)
    return log
