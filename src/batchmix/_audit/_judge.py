"""Runs all checks on one callable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from batchmix._audit import _generators
from batchmix._audit._case import read_case
from batchmix._audit._checks import CHECKS, Check
from batchmix._audit._kinds import default_size, kinds
from batchmix._audit._options import check_options
from batchmix._audit._probe import CALLS, Probe
from batchmix._audit._report import Audit, Finding, Verdict
from batchmix._audit._session import Session
from batchmix._audit._worst import Worst
from batchmix._errors import mix_error


def judge(
    fn: Callable[..., Any],
    array: Callable[[Any], Any] | None,
    options: Mapping[str, Any],
    accept: tuple[str, ...],
    replay: str | Path | None,
) -> Audit:
    """Does the work of `audit`; `options` are plain values, so that they can be saved."""
    case = None if replay is None else read_case(replay)
    options = case.options if case else options
    check_options(options, accept)
    options = {**options, "size": default_size(options["layout"]) | dict(options["size"])}
    probe = Probe(array=array, **{name: options[name] for name in _PROBE})
    known = kinds(options["layout"], options["size"], options["batch"], options["classes"])
    checks = list(CHECKS.values())
    if case:
        name = case.kind.name
        known, checks = {name: case.kind}, [CHECKS[case.check]._replace(kinds=(name,))]
    session = Session(fn, probe, known, options["calls"], options["max_unmixed"])
    first = next(iter(known.values()))
    with _generators.kept(_generators.known(probe.fields(first)["image"])):
        refused = session.run(first).stopped
        if not session.run(first).seen:
            raise mix_error(
                "audit()", f"{CALLS[options['call']]} raised "
                f"{str(refused).rstrip('.')}.",
                f"It has to take a plain batch: float32 {options['layout']}, labels "
                f"{options['labels']}.",
                "Pass an instance of the class." if isinstance(fn, type)
                else "Say how it is called: call, keys, labels, layout, array.",
            )  # fmt: skip
        findings = tuple(_judged(session, check) for check in checks)
    return Audit(findings, options, accept)


_PROBE = ("call", "keys", "labels", "classes", "weight", "box_format")


def _judged(session: Session, check: Check) -> Finding:
    """The finding of one check: its worst kind of batch, or why there is none."""
    worst: Worst | None = None
    at, nothing, why = None, False, Finding(check.name, "not applicable", where="nothing to check")
    for name in check.kinds or [n for n, kind in session.kinds.items() if not kind.nan]:
        kind = session.kinds.get(name)
        if kind is None:
            continue
        run = session.run(kind)
        if not run.seen:
            verdict: Verdict = "not applicable" if run.absent else "could not run"
            why = Finding(check.name, verdict, where=run.stopped)
            continue
        with np.errstate(over="ignore", invalid="ignore"):  # whatever numbers came back
            new = check.judge(session, kind)
        if new is None:
            nothing = True
        elif worst is None or _rank(new) > _rank(worst):
            worst, at = new, kind
    if worst is None or at is None:
        return Finding(check.name, "not applicable", where="nothing to check") if nothing else why
    seen = session.run(at).seen
    last = seen[min(worst.call, len(seen) - 1)]
    words, judged = worst.where, "found" if _rank(worst)[0] else "ok"
    if (run := session.run(at)).stopped and judged == "ok":
        words, judged = f"in call {len(run.seen)}: {run.stopped}", "could not run"
    return Finding(
        check.name, cast(Verdict, judged), worst.number, worst.limit, words, at, worst.call,
        worst.row, last,
    )  # fmt: skip


def _rank(worst: Worst) -> tuple[bool, float]:
    """Over the limit or not, then by size; NaN is worst."""
    number = np.inf if np.isnan(worst.number) else worst.number
    return number > worst.limit, number
