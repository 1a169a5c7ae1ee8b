"""What both estimators for scikit-learn do: arguments, tables, mixed rows, what is asked of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

import batchmix as bm
from batchmix.extend import Untold, mix_error
from batchmix.pairing import Derangement


def given_by_estimator(name: str) -> Callable[[Callable[..., Any]], Any]:
    """Marks a method that is there where the estimator has it."""

    def has(model: Any) -> bool:
        getattr(getattr(model, "estimator_", model.estimator), name)
        return True

    found: Callable[[Callable[..., Any]], Any] = available_if(has)
    return found


def asked(model: Any, name: str, X: Any) -> Any:
    """The answer of the fitted estimator for rows as they are."""
    check_is_fitted(model)
    x = validate_data(model, X, reset=False, **numbers(model))
    return getattr(model.estimator_, name)(x)


def numbers(model: Any) -> dict[str, Any]:
    """What a table is: floats, with NaN where the estimator takes it."""
    nan = get_tags(model.estimator).input_tags.allow_nan
    return {"dtype": [np.float64, np.float32], "ensure_all_finite": "allow-nan" if nan else True}


def take_over(tags: Any, inner: Any) -> None:
    """What the rows may hold: as the estimator has it, but for sparse tables."""
    tags.input_tags.allow_nan = inner.input_tags.allow_nan
    tags.input_tags.positive_only = inner.input_tags.positive_only


def check(model: Any, is_kind: Callable[[Any], bool], what: str, other: str) -> None:
    """The arguments that scikit-learn has kept as they were given."""
    where = type(model).__name__
    some = hasattr(model.estimator, "fit") and not isinstance(model.estimator, type)
    if not (some and is_kind(model.estimator)):
        raise mix_error(
            where, f"got the estimator {model.estimator!r}.", f"It is to predict {what}.",
            f"Pass an object of such a class, or take {other}.",
        )  # fmt: skip
    copies = model.copies
    if not isinstance(copies, Integral) or isinstance(copies, bool) or copies < 1:
        raise mix_error(
            where, f"got copies={copies!r}.", "It counts how often each row is mixed, from 1.",
            "For no mixing pass policy=None.",
        )  # fmt: skip
    if not isinstance(model.keep, bool | np.bool_):
        raise mix_error(
            where, f"got keep={model.keep!r}.", "It says whether rows as they are go in as well.",
            "Pass True or False.",
        )  # fmt: skip


def mixed_rows(
    model: Any, x: NDArray[Any], hints: Mapping[str, Any]
) -> Iterator[tuple[NDArray[Any], bm.Plan]]:
    """The rows of each copy and what was done to them, then those that are kept."""
    seed, size = model.random_state, {"C": x.shape[1]}
    if not isinstance(seed, Integral):
        seed = check_random_state(seed).randint(2**31 - 1)
    pairing = Derangement() if model.pairing is None else model.pairing
    for copy in range(model.copies):
        key = bm.Key(int(seed), Untold(copy))  # a copy is no epoch that a Schedule could follow
        plan = bm.draw(model.policy, key, len(x), size, pairing=pairing, hints=hints)
        yield bm.mix(x, plan, "NC"), plan
    if model.keep:
        yield x, bm.Plan.identity(len(x), "C", tuple(size.values()))
