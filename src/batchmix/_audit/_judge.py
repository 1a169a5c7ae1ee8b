"""Runs all checks on one callable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from batchmix._audit import _generators
from batchmix._audit._checks import CHECKS, Check, Worst
from batchmix._audit._kinds import BatchKind, kinds
from batchmix._audit._probe import CALLS, Probe
from batchmix._audit._report import Audit, Finding, Verdict, load
from batchmix._audit._session import Session
from batchmix._errors import mix_error


def judge(
    fn: Callable[..., Any],
    array: Callable[[Any], Any] | None,
    options: Mapping[str, Any],
    accept: tuple[str, ...],
    replay: str | Path | None,
) -> Audit:
    """Does the work of `audit`; `options` are plain values, so that they can be saved."""
    stored = None if replay is None else load(replay)
    options = stored["options"] if stored else options
    check_options(options, accept)
    probe = Probe(array=array, **{name: options[name] for name in _PROBE})
    known = kinds(options["layout"], options["size"], options["batch"], options["classes"])
    checks = list(CHECKS.values())
    if stored:
        kind = BatchKind(**stored["kind"])
        known, checks = {kind.name: kind}, [CHECKS[stored["check"]]._replace(kinds=(kind.name,))]
    session = Session(fn, probe, known, options["calls"], options["max_unmixed"])
    first = next(iter(known.values()))
    with _generators.kept(_generators.known(probe.fields(first)["image"])):
        refused = session.run(first).stopped
        if not session.run(first).seen:
            raise mix_error(
                "audit()", f"{CALLS[options['call']]} raised {refused}",
                f"It has to take a plain batch: float32 {options['layout']}, labels "
                f"{options['labels']}.",
                "Say how it is called: call, keys, labels, layout, array.",
            )  # fmt: skip
        findings = tuple(_judged(session, check) for check in checks)
    return Audit(findings, options, accept)


_PROBE = ("call", "keys", "labels", "classes", "weight")


def _judged(session: Session, check: Check) -> Finding:
    """The finding of one check: its worst kind of batch, or why there is none."""
    worst: Worst | None = None
    at, why = None, Finding(check.name, "not applicable", where="nothing to check")
    for name in check.kinds or [n for n, kind in session.kinds.items() if not kind.nan]:
        kind = session.kinds.get(name)
        if kind is None:
            continue
        run = session.run(kind)
        if not run.seen:
            verdict: Verdict = "not applicable" if run.absent else "could not run"
            why = Finding(check.name, verdict, where=run.stopped)
            continue
        new = check.judge(session, kind)
        if new and (worst is None or _rank(new) > _rank(worst)):
            worst, at = new, kind
    if worst is None or at is None:
        return why
    seen = session.run(at).seen
    last = seen[min(worst.call, len(seen) - 1)]
    arrays = {f"in_{name}": value for name, value in last.before.items()}
    arrays |= {"out_image": last.images, "out_label": last.raw}
    arrays |= {f"out_{name}": value for name, value in last.others.items()}
    words, judged = worst.where, "found" if _rank(worst)[0] else "ok"
    if (run := session.run(at)).stopped and judged == "ok":
        words, judged = f"in call {len(run.seen)}: {run.stopped}", "could not run"
    return Finding(
        check.name, cast(Verdict, judged), worst.number, worst.limit, words, at, worst.call, arrays
    )


def _rank(worst: Worst) -> tuple[bool, float]:
    """Over the limit or not, then by size; NaN is worst."""
    number = np.inf if np.isnan(worst.number) else worst.number
    return number > worst.limit, number


def check_options(options: Mapping[str, Any], accept: Iterable[str]) -> None:
    """Refuse what cannot be run, before the code that is audited is even imported."""
    choices = {"call": list(CALLS), "labels": ["ids", "onehot"], "weight": ["own", "partner"]}
    wrong = [name for name, values in choices.items() if options[name] not in values]
    if wrong:
        raise _refused(f"{wrong[0]}={options[wrong[0]]!r}", f"It is one of {choices[wrong[0]]}.")
    layout, batch, keys = options["layout"], options["batch"], options["keys"]
    if layout[:1] != "N" or "C" not in layout or len(set(layout)) != len(layout):
        raise _refused(f"layout={layout!r}", "N comes first, and rows are told apart by channels.")
    if batch < 4 or batch % 2 or options["classes"] <= batch or options["calls"] < 2:
        got = ", ".join(f"{name}={options[name]}" for name in ("batch", "classes", "calls"))
        raise _refused(got, "batch is even and >= 4, classes are more than that, calls >= 2.")
    if not {"image", "label"} <= set(keys) <= {"image", "label", "mask", "id"}:
        raise _refused(f"keys={keys!r}", "They are those of image, label, and of mask and id.")
    if unknown := [name for name in accept if name not in CHECKS]:
        raise _refused(f"accept={unknown}", f"The checks are {list(CHECKS)}.")


def _refused(got: str, rule: str) -> Exception:
    return mix_error("audit()", f"got {got}.", rule, "See the arguments of batchmix.audit.")
