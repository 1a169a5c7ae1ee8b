"""From finished runs to the figures of the page: means, spreads, and differences paired by seed."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from batchmix.cli.lab.findings.paired import Difference, corrected, difference
from batchmix.extend import mix_error
from cifar.mixing import OURS, RIVALS

Line = Mapping[str, Any]
Group = tuple[str, str, float, str, str]  # part, recipe, noise, arm, library
_TEN = 10  # epochs at the end, whose median papers report

# what is told of a run: accuracies in percent; None where it was not measured
MEASURES: dict[str, Callable[[Line], float | None]] = {
    "last": lambda line: _percent(line["last"].get("accuracy")),
    "median of last ten": lambda line: 100 * statistics.median(line["test"][-_TEN:]),
    "highest": lambda line: 100 * max(line["test"]),
    "best": lambda line: _percent(line["best"].get("accuracy")),
    "best epoch": lambda line: line["best"].get("epoch"),
    "last nll": lambda line: line["last"].get("nll"),
    "last ece": lambda line: _percent(line["last"].get("ece")),
    "last ece scaled": lambda line: _percent(line["last"].get("ece_scaled")),
    "best nll": lambda line: line["best"].get("nll"),
    "best ece": lambda line: _percent(line["best"].get("ece")),
    "best ece scaled": lambda line: _percent(line["best"].get("ece_scaled")),
    "last memorised": lambda line: _percent(line["last"].get("memorised")),
    "best memorised": lambda line: _percent(line["best"].get("memorised")),
    "minutes": lambda line: line["seconds"] / 60,
    "images per second": lambda line: line["images_per_s"],
    "step ms": lambda line: statistics.median(line["steps_ms"]),
    "mix ms": lambda line: line["mix_ms"],
}


def report(lines: Sequence[Line]) -> dict[str, Any]:
    """All that the page shows, of runs as the page has them, on one set of data."""
    runs = [line for line in lines if not line["overrides"]]
    if not runs:
        raise mix_error(
            "report", "no run has finished that may be shown.",
            "Runs with --limit, --epochs, other data or --device cpu are no evidence.",
            "Run a part on a GPU first.",
        )  # fmt: skip
    if len({line["data"] for line in runs}) > 1:
        raise mix_error(
            "report", "runs.jsonl holds runs with different data.", "They are not one experiment.",
            "Keep those of one archive.",
        )  # fmt: skip
    twice = [one for one, count in Counter(str(line["run"]) for line in runs).items() if count > 1]
    if twice:
        raise mix_error(
            "report", f"runs.jsonl holds a run twice: {twice[0]}.", "Each seed counts once.",
            "Remove one of the lines.",
        )  # fmt: skip
    groups = dict[Group, list[Line]]()
    for line in runs:
        groups.setdefault(_group(line), []).append(line)
    arms = [_arm(key, found) for key, found in groups.items()]
    _compare(arms)
    return {
        "data": runs[0]["data"],
        "hours": round(sum(line["seconds"] for line in runs) / 3600, 2),
        "machines": _different({k: line[k] for k in ("device", "versions")} for line in runs),
        "sources": _different({k: line[k] for k in ("revision", "sources")} for line in runs),
        "settings": {
            recipe: _different(line["settings"] for line in runs if line["run"]["recipe"] == recipe)
            for recipe in dict.fromkeys(line["run"]["recipe"] for line in runs)
        },
        "arms": arms,
    }


def _group(line: Line) -> Group:
    run = line["run"]
    return run["part"], run["recipe"], run["noise"], run["arm"], run["library"]


def _arm(key: Group, found: Sequence[Line]) -> dict[str, Any]:
    """One arm; runs that failed are counted, and no part of its means."""
    found = sorted(found, key=lambda line: line["run"]["seed"])
    whole = [line for line in found if not line["problem"]]
    names = ("part", "recipe", "noise", "arm", "library")
    return dict(zip(names, key)) | {
        "seeds": [line["run"]["seed"] for line in whole],
        "failed": [f"seed {line['run']['seed']}: {line['problem']}" for line in found
                   if line["problem"]],
        "hours": round(sum(line["seconds"] for line in found) / 3600, 3),
        "measures": {
            name: spread([float(value) for value in values])
            for name, measure in MEASURES.items()
            if (values := [v for line in whole if (v := measure(line)) is not None])
        },
    }  # fmt: skip


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation over seeds, standard error of the mean, and the values."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    return {
        "mean": short(statistics.fmean(values)),
        "sd": short(sd),
        "se": short(None if sd is None else sd / math.sqrt(len(values))),
        "values": [short(value) for value in values],
    }


def _compare(arms: Sequence[dict[str, Any]]) -> None:
    """Add to each arm its difference to its reference, seed by seed.

    That is `none` of the same recipe, corrected for the number of arms; in the part `equal` the
    other library with the same policy, each a question of its own.
    """
    for name in ("last", "best"):
        for ours, theirs in RIVALS.items():
            for arm in arms:
                if arm["library"] == ours:
                    other = _other(arms, arm, {"library": theirs})
                    _tell(name, {arm["arm"]: (arm, other)}, many=False)
        for key in dict.fromkeys((a["part"], a["recipe"], a["noise"]) for a in arms):
            own = [a for a in arms if (a["part"], a["recipe"], a["noise"]) == key]
            pairs = {
                a["arm"]: (a, _other(own, a, {"arm": "none"}))
                for a in own
                if a["library"] == OURS and a["arm"] != "none"
            }
            _tell(name, pairs, many=True)


def _other(
    arms: Sequence[dict[str, Any]], arm: Mapping[str, Any], but: Mapping[str, str]
) -> dict[str, Any] | None:
    """The arm that is like this one but for what is given."""
    names = ("part", "recipe", "noise", "arm", "library")
    wanted = {name: but.get(name, arm[name]) for name in names}
    return next((a for a in arms if {name: a[name] for name in names} == wanted), None)


def _tell(
    name: str, pairs: Mapping[str, tuple[dict[str, Any], dict[str, Any] | None]], *, many: bool
) -> None:
    found = dict[str, Difference]()
    for key, (arm, other) in pairs.items():
        if other and name in arm["measures"] and name in other["measures"]:
            a, b = (
                dict(zip(one["seeds"], one["measures"][name]["values"])) for one in (arm, other)
            )
            shared = sorted(a.keys() & b.keys())
            if shared:
                found[key] = difference([a[s] for s in shared], [b[s] for s in shared])
    for key, one in (corrected(found) if many else found).items():
        interval = one.interval()
        pairs[key][0].setdefault("against", {})[name] = {
            "mean": short(one.mean),
            "se": short(one.error),
            "interval": interval and [short(end) for end in interval],
            "agree": one.agree,
            "seeds": one.seeds,
            "p": short(one.p),
            "real": one.real,
        }


def _different(found: Iterable[Any]) -> list[Any]:
    kept = list[Any]()
    for one in found:
        if one not in kept:
            kept.append(one)
    return kept


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def short(value: float | None) -> float | None:
    """Six digits."""
    return None if value is None else float(f"{value:.6g}")
