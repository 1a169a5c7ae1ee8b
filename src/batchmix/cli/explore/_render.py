"""What the page shows for a view: a pure function, without a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix.cli.explore._cards import cards, drawing, spread
from batchmix.cli.explore._code import code_of, command_of
from batchmix.cli.explore._view import View
from batchmix.cli.show.shown import Batch, Shown, Source
from batchmix.cli.show.shown import lam as lam_of_many
from batchmix.policies._paste import reads_of


class Answer(NamedTuple):
    """What the page shows for a view."""

    shown: Shown
    cards: str  # HTML
    spread: str  # HTML
    code: str
    command: str


def render(view: View, sources: Mapping[str, Source]) -> Answer:
    """Everything on the page except the controls; it shows no data other than `sources`."""
    if view.data not in sources:
        raise mix_error(
            "data",
            f"got {view.data!r}.",
            f"This page shows {', '.join(sources)}.",
            "Start batchmix explore with the folder you want to see.",
        )
    source = sources[view.data]
    numbers, x, own = _chosen(source, view.rows, view.first)
    batch = Batch(source, x, source.y[numbers], view.mixing)
    shown = batch.show(view.entry)
    policy = view.entry.policy
    if reads_of(policy):  # then it depends on the rows
        lam = batch.lam(policy)
    else:
        lam = _lam(replace(view, data="", first=0, rows=2, step=0), tuple(batch.size.items()))
    return Answer(
        shown,
        cards(shown, own),
        spread(lam, shown.plan),
        code_of(view, batch),
        command_of(view, source),
    )


# the next move of a slider needs the same rows; they are never written to
@lru_cache(maxsize=16)
def _chosen(source: Source, count: int, first: int) -> tuple[NDArray[Any], NDArray[Any], list[str]]:
    """Numbers of rows, the rows as they were read, and drawings of them."""
    numbers = source.choose(count, first)
    x = source.read(numbers)
    return numbers, x, [drawing(row, x, source.form) for row in x]


@lru_cache(maxsize=256)
def _lam(view: View, size: tuple[tuple[str, int], ...]) -> NDArray[np.float32]:
    """The distribution of lam, which depends on neither rows nor step."""
    return lam_of_many(view.entry.policy, view.mixing, dict(size), np.zeros((1, 1)))
