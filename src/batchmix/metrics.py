"""Metrics that tell whether mixing helped: on clean rows, and on mixed batches while training."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchmix.backends import backend_of
from batchmix.losses import soft_cross_entropy


def accuracy(logits: Any, y: Any) -> float:
    """Share of rows whose largest logit is at the label.

    Args:
      logits: [N, C].
      y: ids [N].

    Example:
      >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
      0.5
    """
    logits, y = _with_methods(logits), _with_methods(y)
    b = backend_of(logits, "accuracy()")
    return float(b.cast(logits.argmax(-1) == y, "float64").mean())


def mixed_accuracy(logits: Any, pairs: tuple[Any, Any, Any]) -> float:
    r"""Accuracy on a mixed batch: a hit on either label counts by its weight.

    .. math:: \frac{1}{B} \sum_i \lambda_i [\hat y_i = y_i] + (1 - \lambda_i) [\hat y_i = y_{p(i)}]

    A perfect model reaches the mean of ``max(lam, 1 - lam)``, not 1: compare it with itself over
    time, and use clean rows for the real figure.

    Args:
      logits: [B, C], for the mixed rows.
      pairs: (y, y_partner, lam), as `batchmix.pairs` returns.

    Example:
      >>> logits = np.array([[0.1, 0.9]])
      >>> mixed_accuracy(logits, (np.array([0]), np.array([1]), np.array([0.75])))
      0.25

    Differs from: accuracy against the unmixed label, which most training loops print under mixing,
    is near E[lam] for a perfect model and says nothing.
    """
    logits = _with_methods(logits)
    b = backend_of(logits, "mixed_accuracy()")
    y, y_partner, lam = map(_with_methods, pairs)
    predicted = logits.argmax(-1)
    own, others = b.cast(predicted == y, "float64"), b.cast(predicted == y_partner, "float64")
    return float((lam * own + (1 - lam) * others).mean())


def clean_accuracy(logits: Any, pairs: tuple[Any, Any, Any]) -> float:
    """Accuracy on the rows of a mixed batch that were left unmixed, as `Sometimes` leaves some.

    The one figure of a training step that can be compared with the accuracy on held-out rows.

    Args:
      logits: [B, C], for the mixed rows.
      pairs: (y, y_partner, lam), as `batchmix.pairs` returns.

    Returns:
      The share of hits among rows with lam = 1; NaN where there is none.

    Example:
      >>> logits = np.array([[0.1, 0.9], [0.8, 0.2]])
      >>> clean_accuracy(logits, (np.array([1, 1]), np.array([1, 1]), np.array([1.0, 0.5])))
      1.0
    """
    logits = _with_methods(logits)
    b = backend_of(logits, "clean_accuracy()")
    y, _, lam = map(_with_methods, pairs)
    clean = b.cast(lam == 1, "float64")
    hits, rows = b.cast(logits.argmax(-1) == y, "float64") * clean, float(clean.sum())
    return float(hits.sum()) / rows if rows else float("nan")


def nll(logits: Any, y: Any) -> float:
    """Mean negative log-likelihood of the labels, in nats.

    Args:
      logits: [N, C].
      y: ids [N].

    Example:
      >>> round(nll(np.zeros((2, 4)), np.array([0, 3])), 4)
      1.3863
    """
    logits = _with_methods(logits)
    return float(soft_cross_entropy(logits, _one_hot(logits, y)))


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
    logits = _with_methods(logits)
    probabilities = _probabilities(logits)
    return float(((probabilities - _one_hot(logits, y)) ** 2).sum(-1).mean())


def ece(logits: Any, y: Any, bins: int = 15) -> float:
    """Expected calibration error: mean gap between confidence and accuracy, 0..1.

    Mixing moves confidence down, so the raw value often rises while the ranking is as good: look at
    it after temperature scaling too, with `fit_temperature` on held-out rows.

    Args:
      logits: [N, C].
      y: ids [N].
      bins: of equal width, by the largest probability.

    Raises:
      ImportError: torch tensors without torchmetrics, which computes it for them.

    Example:
      >>> round(ece(np.array([[9.0, 0.0], [9.0, 0.0]]), np.array([0, 1])), 3)
      0.5

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017, eq. 3,
    https://arxiv.org/abs/1706.04599
    """
    logits, y = _with_methods(logits), _with_methods(y)
    return backend_of(logits, "ece()").calibration_error(_probabilities(logits), y, bins)


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
    b = backend_of(logits, "fit_temperature()")
    z, labels = b.to_numpy(logits), b.to_numpy(y)
    z = z - z.max(-1, keepdims=True)
    low, high = np.log(0.01), np.log(100.0)  # of 1 / T
    for _ in range(60):
        middle = (low + high) / 2
        p = np.exp(np.exp(middle) * z)
        p /= p.sum(-1, keepdims=True)
        slope = ((p * z).sum(-1) - z[np.arange(len(z)), labels]).mean()
        low, high = (middle, high) if slope < 0 else (low, middle)
    return float(np.exp(-(low + high) / 2))


def _with_methods(x: Any) -> Any:
    """`x`; a tensor of TensorFlow, which has no methods such as argmax, as a NumPy array."""
    return x if hasattr(x, "argmax") else backend_of(x, "metrics").to_numpy(x)


def _probabilities(logits: Any) -> Any:
    """softmax."""
    return np.e ** backend_of(logits, "metrics").log_softmax(logits)


def _one_hot(logits: Any, y: Any) -> Any:
    """[N, C] with 1 at the labels."""
    y = _with_methods(y)
    b = backend_of(y, "metrics")
    ones = b.array(np.ones(len(y), np.float32), y)
    return b.soft(y, y, ones, logits.shape[-1], 0.0, 1.0)
