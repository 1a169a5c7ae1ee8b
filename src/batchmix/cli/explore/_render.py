"""What the page shows for a view: a pure function, without a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from batchmix._errors import MixError, mix_error
from batchmix.cli._output import shown
from batchmix.cli.explore._cards import cards, legend
from batchmix.cli.explore._code import code_of, command_of
from batchmix.cli.explore._controls import controls
from batchmix.cli.explore._files import KINDS, file_of
from batchmix.cli.explore._own import MOST_PICTURES, PREFIX, SIDE, Own
from batchmix.cli.explore._policies import POLICIES
from batchmix.cli.explore._scene import Scene, lam, plan, possible, scene
from batchmix.cli.explore._spread import lines, spread
from batchmix.cli.explore._view import View, read
from batchmix.cli.show.shown import Shown, Source


@dataclass(frozen=True)
class Answer:
    """What the page shows for a view."""

    view: View  # what is really shown
    notes: list[str]  # what was corrected, and what was made up
    controls: list[dict[str, Any]]
    shown: list[Shown]  # one, or two that are compared
    legend: str  # HTML, of the cards
    cards: str  # HTML
    spread: str  # HTML
    code: str
    command: str

    def document(self) -> dict[str, Any]:
        """As the page's script reads it."""
        names = ("notes", "controls", "legend", "cards", "spread", "code", "command")
        own = {"side": SIDE, "most": MOST_PICTURES}
        return {"query": self.view.query(), "own": own} | {
            name: getattr(self, name) for name in names
        }


def render(query: Mapping[str, str], sources: Mapping[str, Source], own: Own | None = None,
           moved: str = "") -> Answer:  # fmt: skip
    """Everything on the page; it shows no data other than `sources` and pictures of its own.

    `moved` is the control that was moved last.
    """
    view, notes = read(query, moved)
    view, found = _found(view, sources, own or Own(), notes)
    view = possible(found, view, notes)
    made = [found.show(view, second) for second in view.sides]
    words = [view.policy, view.versus]
    notes += [note for word in words if word and (note := POLICIES[word].note)]
    spreads = ""
    for second, word in zip(view.sides, words):
        lam_of_many, steps = lam(found, view, second)
        size = tuple(found.size.values())
        theory = lines(word, view.numbers(second), view.prob, size)
        title = f"{'AB'[second]}, {POLICIES[word].title}" if view.versus else POLICIES[word].title
        spreads += spread(title, lam_of_many, steps, plan(found, view, second), theory)
    return Answer(
        view,
        list(dict.fromkeys(notes)),
        controls(view, found, sources),
        made,
        legend(*(one.name for one in made)),
        cards(*made),
        spreads,
        code_of(view, found),
        command_of(view, found.source),
    )


def download(
    kind: str, query: Mapping[str, str], sources: Mapping[str, Source], own: Own | None = None
) -> tuple[str, str, bytes]:
    """(name, type, content) of a file that holds what a view shows."""
    if kind not in KINDS:
        raise mix_error("file", f"got {kind!r}.", f"It is one of {', '.join(KINDS)}.", "Name one.")
    view, notes = read(query)
    view, found = _found(view, sources, own or Own(), notes)
    return (*KINDS[kind], file_of(kind, possible(found, view, notes), found))


def _found(
    view: View, sources: Mapping[str, Source], own: Own, notes: list[str]
) -> tuple[View, Scene]:
    """The view with data that there are, and its rows."""
    first = next(iter(sources))
    source = sources.get(view.data or first) or own.get(view.data)
    if source is None:
        if view.data.startswith(PREFIX):
            notes.append(
                "Those pictures were held in memory, and are gone. Drop or paste them again."
            )
        else:
            name = repr(shown(view.data[:60]))
            notes.append(f"Data {name}: this page shows {', '.join(map(shown, sources))}.")
        view, source = replace(view, data=""), sources[first]
    if view.data == first:
        view = replace(view, data="")
    count = len(source.y)
    if view.first >= count:
        notes.append(f"These data have {count} rows, from 0: first row {count - 1} it is.")
        view = replace(view, first=count - 1)
    if view.rows > count:
        if view.rows != View().rows:
            notes.append(f"These data have {count} rows: {count} are shown.")
        view = replace(view, rows=count)
    try:
        return view, scene(source, view.rows, view.first)
    except MixError as error:
        if source is sources[first]:
            raise
        notes.append(shown(" ".join(str(error).split())))
        view = replace(view, data="", first=0, rows=View().rows)
        return _found(view, sources, own, notes)
