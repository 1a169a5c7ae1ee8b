"""Metrics of what a model predicts, for each kind of task."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from batchmix import metrics
from batchmix.cli.lab.outcome import BINS, METRICS, headline
from batchmix.cli.lab.rows import Kind, Task


def scores(task: Task, logits: Tensor, y: NDArray[Any]) -> dict[str, Any]:
    """Metrics by name (see METRICS); for classes also "recall" and "reliability"."""
    if task.kind == "classes":
        return _of_classes(logits, y)
    if task.kind == "labels":
        return _of_labels(logits.double().numpy(), y)
    return _of_numbers(logits.double().numpy(), np.asarray(y, np.float64))


def held_out(task: Task, logits: Tensor, y: NDArray[Any]) -> tuple[float, float]:
    """The headline metric, and what breaks its ties: NLL, for numbers RMSE."""
    if task.kind == "classes":
        return metrics.accuracy(logits, y), metrics.nll(logits, y)
    found = scores(task, logits, y)
    return found[headline(task.kind)], found["nll" if task.kind == "labels" else "rmse"]


def rank(kind: Kind, found: tuple[float, float]) -> tuple[float, float]:
    """Larger is better: the headline metric, then a low NLL."""
    return (found[0] if METRICS[headline(kind)].high else -found[0]), -found[1]


def scaled(logits: Tensor, y: NDArray[Any], temperature: float) -> dict[str, Any]:
    """What a temperature makes of NLL, ECE and reliability; classes only."""
    logits = logits / temperature
    confidence, chosen = (part.numpy() for part in logits.double().softmax(1).max(1))
    return {
        "temperature": temperature,
        "nll_scaled": metrics.nll(logits, y),
        "ece_scaled": metrics.ece(logits, y),
        "reliability_scaled": _reliability(confidence, chosen == y),
    }


def memorised(logits: Tensor, labels: NDArray[Any], wrong: NDArray[np.bool_]) -> float:
    """Share of the rows with a wrong label for which the model predicts that wrong label."""
    return float((logits.numpy().argmax(1) == labels)[wrong].mean())


def _of_classes(logits: Tensor, y: NDArray[Any]) -> dict[str, Any]:
    """Balanced accuracy is the mean recall of the classes that have a row."""
    classes, z = logits.shape[1], logits.double().numpy()
    hit = z.argmax(1) == y
    count = np.bincount(y, minlength=classes)
    hits = np.bincount(y, hit, minlength=classes)
    recall = [float(h / n) if n else None for h, n in zip(hits, count)]
    seen = [share for share in recall if share is not None]
    return {
        "accuracy": metrics.accuracy(logits, y),
        "balanced": float(np.mean(seen)),
        "nll": metrics.nll(logits, y),
        "brier": metrics.brier(logits, y),
        "ece": metrics.ece(logits, y, BINS),
        "recall": recall,
        "reliability": _reliability(logits.softmax(1).amax(1).double().numpy(), hit),
    }


def _reliability(confidence: NDArray[Any], hit: NDArray[Any]) -> dict[str, list[Any]]:
    """Mean confidence, accuracy and number of rows per bin of equal width; 0 where it is empty."""
    at = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(at, minlength=BINS)
    mean = [np.bincount(at, v, minlength=BINS) / np.maximum(count, 1) for v in (confidence, hit)]
    return {"confidence": mean[0].tolist(), "accuracy": mean[1].tolist(), "count": count.tolist()}


def _of_labels(z: NDArray[Any], y: NDArray[Any]) -> dict[str, Any]:
    """Mean average precision over the labels that some row has and another lacks; NLL per label."""
    from sklearn.metrics import average_precision_score

    seen = [k for k in range(y.shape[1]) if 0 < y[:, k].sum() < len(y)]
    each = [average_precision_score(y[:, k], z[:, k]) for k in seen]
    nll = np.logaddexp(0, z) - y * z
    return {"map": float(np.mean(each)) if each else 0.0, "nll": float(nll.mean())}


def _of_numbers(found: NDArray[Any], y: NDArray[Any]) -> dict[str, Any]:
    """In the units of the data, the mean over the numbers where there are several."""
    from sklearn.metrics import r2_score

    return {
        "rmse": float(np.sqrt(((found - y) ** 2).mean(0)).mean()),
        "mae": float(np.abs(found - y).mean()),
        "r2": float(r2_score(y, found)) if len(y) > 1 else 0.0,
    }
