"""A trial and what came of it: the words in which training, store, verdict and report speak.

Everything here goes through JSON and back unchanged.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from batchmix.cli.lab.rows import Kind


@dataclass(frozen=True)
class Metric:
    """A figure of a model: how it is called, shown and read."""

    heading: str
    scale: float = 1.0  # times this when shown
    decimals: int = 2
    unit: str = ""
    high: bool = False  # whether high is good

    def words(self, value: float) -> str:
        """A value as it is shown."""
        form = "f" if abs(value) < 1e6 else "e"  # of a run that diverges, 40 digits say nothing
        return f"{value * self.scale:.{self.decimals}{form}} {self.unit}".rstrip()


METRICS: dict[str, Metric] = {
    "accuracy": Metric("accuracy", 100, 1, "%", high=True),
    "balanced": Metric("balanced accuracy", 100, 1, "%", high=True),
    "nll": Metric("NLL"),
    "brier": Metric("Brier"),
    "ece": Metric("ECE", 100, 1, "%"),
    "ece_scaled": Metric("ECE after TS", 100, 1, "%"),
    "nll_scaled": Metric("NLL after TS"),
    "temperature": Metric("temperature"),
    "memorised": Metric("memorised", 100, 1, "%"),
    "map": Metric("mAP", 100, 1, "%", high=True),
    "rmse": Metric("RMSE", 1, 3),
    "mae": Metric("MAE", 1, 3),
    "r2": Metric("R2", 1, 3, high=True),
}
# the metric by which arms are ranked and epochs are chosen
_HEADLINE: dict[Kind, str] = {"classes": "accuracy", "labels": "map", "numbers": "rmse"}


def headline(kind: Kind) -> str:
    """The metric by which arms are compared and an epoch is chosen on held-out rows."""
    return _HEADLINE[kind]


def limit_of(temperature: float) -> str:
    """What it means that the temperature is at an end of its range, where it is."""
    if temperature > 99.99:
        return "the logits of the held-out rows tell nothing of their labels"
    if temperature < 0.010001:
        return "every held-out row is right, so that nothing limits how sure it is"
    return ""


@dataclass(frozen=True)
class Trial:
    """One run of a comparison. With the data's fingerprint and the training it decides all."""

    arm: str  # a word of `_words.parse`
    noise: float = 0.0  # share of wrong training labels
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    `last` and `best` hold metrics on the test rows, by name (see METRICS), with the weights of the
    last epoch, and with those of the epoch that was best on held-out rows whose labels are as noisy
    as the training rows'. Both have "epoch" (0, 1, ...), and for classes "recall" (a number per
    class) and "reliability" ({"confidence", "accuracy", "count"}, a number per bin of 15), and
    "reliability_scaled", the same after temperature scaling.
    `history` has a list per name, one entry per epoch: "loss", "lr", "held_out" (headline metric,
    labels as noisy as in training) and "held_out_clean" (the same rows, labels as given).
    """

    trial: Trial
    last: dict[str, Any]
    best: dict[str, Any]
    history: dict[str, list[float]]
    rows: dict[str, int]  # how many "train", "held_out", "test"
    seconds: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain lists, dicts, numbers and strings."""
        return asdict(self)

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> Outcome:
        """The outcome that `as_json` made."""
        return cls(**(found | {"trial": Trial(**found["trial"])}))
