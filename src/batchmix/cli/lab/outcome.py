"""A trial and what came of it: the words in which training, store, verdict and report speak.

Everything here goes through JSON and back unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from batchmix.cli._output import MOST_SEED
from batchmix.cli.lab.rows import Kind, Task

BINS = 15  # of a reliability diagram


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
    class) and "reliability" ({"confidence", "accuracy", "count"}, a number per bin of BINS), and
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
    def of_json(cls, found: Any, task: Task | None = None) -> Outcome:
        """The outcome that `as_json` made; ValueError where it made no such, or not of this task.

        A figure that is not a number is null; what arms are compared by is one always.
        """
        _check("a trial", found, _PARTS)
        for name, forms in _INSIDE.items():
            _check(name, found[name], forms)
        kinds = {kind for kind, name in _HEADLINE.items() if name in found["best"]}
        epochs = len(found["history"]["loss"])
        for part in (found["last"], found["best"]):
            _check("a trial", part, _FIGURES, needed=[headline(k) for k in kinds] + ["epoch"])
            if len(kinds) != 1 or (task and task.kind not in kinds):
                raise ValueError(
                    f"'best' has figures of {' and '.join(sorted(kinds)) or 'nothing'}"
                )
            if not part["epoch"] < epochs:
                raise ValueError(f"epoch {part['epoch']} of {epochs}")
            if task and "recall" in part and len(part["recall"]) != task.outputs:
                raise ValueError(f"'recall' has {len(part['recall'])} classes of {task.outputs}")
        if {len(values) for values in found["history"].values()} != {epochs}:
            raise ValueError("'history' has lists of several lengths")
        return cls(**(found | {"trial": Trial(**found["trial"])}))


_Form = Callable[[Any], bool]


def _number(low: float = -1e100, high: float = 1e100) -> _Form:
    """Its square is a number too."""
    return lambda value: type(value) in (float, int) and low <= value <= high


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST_SEED


def _list(form: _Form) -> _Form:
    return lambda value: isinstance(value, list) and all(map(form, value))


def _or_null(form: _Form) -> _Form:
    return lambda value: value is None or form(value)


def _is(*kinds: type) -> _Form:
    return lambda value: type(value) in kinds


def _is_reliability(value: Any) -> bool:
    forms = {"confidence": _SHARE, "accuracy": _SHARE, "count": _count}
    return (
        isinstance(value, dict)
        and value.keys() == forms.keys()
        and all(_list(form)(value[name]) for name, form in forms.items())
        and {len(each) for each in value.values()} == {BINS}
    )


_SHARE = _number(0, 1)
_PARTS = {
    "trial": _is(dict), "last": _is(dict), "best": _is(dict), "history": _is(dict),
    "rows": _is(dict), "seconds": _number(0),
    "notes": lambda notes: _is(dict)(notes) and all(map(_is(str, int), notes.values())),
}  # fmt: skip
_INSIDE: Mapping[str, Mapping[str, _Form]] = {
    "trial": {"arm": _is(str), "noise": _SHARE, "seed": _count},
    "history": dict.fromkeys(("loss", "lr", "held_out", "held_out_clean"), _list(_number())),
    "rows": dict.fromkeys(("train", "held_out", "test"), _count),
}
_FIGURES: Mapping[str, _Form] = {
    **{name: _or_null(_SHARE if m.unit else _number()) for name, m in METRICS.items()},
    **{name: _SHARE if METRICS[name].unit else _number() for name in _HEADLINE.values()},
    "epoch": _count,
    "recall": _list(_or_null(_SHARE)),
    "reliability": _is_reliability,
    "reliability_scaled": _is_reliability,
}


def _check(
    what: str, found: Any, forms: Mapping[str, _Form], needed: Sequence[str] | None = None
) -> None:
    """ValueError unless each name has its form, and the needed ones, or else all, are there."""
    if not isinstance(found, dict):
        raise ValueError(f"{what} is {repr(found)[:80]}")
    for name in forms if needed is None else needed:
        if name not in found:
            raise ValueError(f"{what} has no {name!r}")
    for name, value in found.items():
        if name not in forms:
            raise ValueError(f"{what} has {repr(name)[:80]}")
        if not forms[name](value):
            raise ValueError(f"{name!r} is {repr(value)[:80]}")
