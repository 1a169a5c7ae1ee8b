"""A search as Optuna keeps it: in SQLite, every candidate and epoch as it comes."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL

from batchmix._regular import check_regular
from batchmix.cli.lab.search.candidates import (
    Candidate,
    Search,
    State,
    check_candidate,
    check_same,
    unreadable,
)


def open_study(path: Path, search: Search, made_with: Mapping[str, Any]) -> optuna.Study:
    """The study kept in a file; candidates whose training was broken off are tried again."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        _check_tables(path)
        study = optuna.create_study(
            storage=str(URL.create("sqlite", database=str(path))),
            study_name="batchmix",
            direction="maximize" if search.high else "minimize",
            load_if_exists=True,
            pruner=_pruner(search),
        )
        was = _made_with(study)
    except Exception as error:  # SQLAlchemy's, SQLite's and Optuna's kinds
        raise unreadable(path, (str(error) or repr(error)).splitlines()[0]) from None
    check_same(path, dict(made_with), was)
    study.set_user_attr("made_with", dict(made_with))
    for lost in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(lost.number, state=TrialState.FAIL)
        if "arm" in lost.user_attrs and not counts(lost):
            study.enqueue_trial(lost.params)
    return study


def _check_tables(path: Path) -> None:
    """A database of something else is not added to."""
    for journal in path.parent.glob(f"{path.name}-*"):
        check_regular(journal)
    if not path.exists():
        return
    check_regular(path)
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
        found = {name for (name,) in file.execute("select name from sqlite_master")}
    if found and not found >= {"studies", "trials", "trial_values", "version_info"}:
        raise ValueError("it is a database of something else")


def _made_with(study: optuna.Study) -> dict[str, Any] | None:
    """How a study was made, once all of it has been read and makes sense."""
    made_with = study.user_attrs.get("made_with")
    if not isinstance(made_with, dict | None):
        raise ValueError(f"'made_with' is {made_with!r}")
    for one in tried(study):
        check_candidate(one)
    return made_with


def _pruner(search: Search) -> optuna.pruners.BasePruner:
    """No candidate ends before a third of its first training: mixing learns slowly at first."""
    start = max(1, search.space.epochs // 3)
    if search.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=start)
    if search.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=start, max_resource=search.most)
    return optuna.pruners.NopPruner()


def tried(study: optuna.Study, first: int = 0) -> list[Candidate]:
    """The candidates that are over, in the order in which they were begun, from a number on."""
    states: dict[TrialState, State] = {
        TrialState.COMPLETE: "finished",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "failed",
    }
    return [
        Candidate(
            trial.user_attrs.get("arm", ""),
            states[trial.state],
            trial.value,
            len(trial.intermediate_values),
            trial.user_attrs.get("why", ""),
        )
        for trial in study.get_trials(deepcopy=False)[first:]
        if counts(trial)
    ]


def counts(trial: FrozenTrial) -> bool:
    """Whether it is over, other than by the end of the whole search."""
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or "why" in trial.user_attrs


def importances(study: optuna.Study) -> dict[str, float]:
    """Share of each setting in what makes a candidate good; empty where too few were finished."""
    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < 10:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on few trials for a setting
        return dict(optuna.importance.get_param_importances(study))
