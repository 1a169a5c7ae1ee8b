"""What a search found, and how much of it fresh seeds confirm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from batchmix.cli.lab.findings.paired import Difference, difference
from batchmix.cli.lab.findings.verdict import amount
from batchmix.cli.lab.outcome import METRICS, Outcome
from batchmix.cli.lab.search.candidates import Candidate, best_epoch, ranked

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN = 5


@dataclass
class Found:
    """A search, finished or broken off; `candidates` begin with no mixing."""

    metric: str
    candidates: Sequence[Candidate]
    seeds: Sequence[int]  # of each candidate
    held_out: int  # rows by which candidates are judged
    importances: Mapping[str, float] = field(default_factory=dict)

    @property
    def none(self) -> Candidate | None:
        return next((c for c in self.candidates if c.arm == "none"), None)

    @property
    def order(self) -> list[Candidate]:
        """Those that were finished, the best first."""
        return ranked(list(self.candidates), METRICS[self.metric].high)

    @property
    def best(self) -> Candidate | None:
        """The best of those that mix."""
        return next((c for c in self.order if c.arm != "none"), None)

    def count(self, state: str) -> int:
        return sum(c.state == state for c in self.candidates)

    def gain(self, candidate: Candidate) -> float | None:
        """What it has over no mixing, on held-out rows."""
        if candidate.value is None or self.none is None or self.none.value is None:
            return None
        return candidate.value - self.none.value

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {
            "metric": self.metric,
            "seeds": list(self.seeds),
            "held_out_rows": self.held_out,
            "trials": {s: self.count(s) for s in ("finished", "pruned", "failed")},
            "epochs": sum(c.epochs for c in self.candidates),
            "best": self.best.arm if self.best else None,
            "candidates": [asdict(c) for c in self.candidates],
            "importances": dict(self.importances),
        }


@dataclass(frozen=True)
class Confirmed:
    """The best candidate's gain over no mixing: in the search, and with fresh seeds."""

    search: float  # at its best epoch, on held-out rows
    held_out: Difference  # the same figure of fresh seeds
    test: Difference  # on test rows

    @property
    def luck(self) -> float:
        """What the search saw and fresh seeds do not give."""
        return self.search - self.held_out.mean

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        fresh = {
            name: {"mean": d.mean, "standard_error": d.error, "seeds": d.seeds}
            for name, d in (("held_out", self.held_out), ("test", self.test))
        }
        return {"search_held_out": self.search, "luck": self.luck, "fresh": fresh}


def confirmed(found: Found, outcomes: Sequence[Outcome]) -> Confirmed | None:
    """None where a seed of both is missing."""
    best, high = found.best, METRICS[found.metric].high
    if best is None or found.gain(best) is None:
        return None
    arms: dict[str, dict[int, Outcome]] = {best.arm: {}, "none": {}}
    for one in outcomes:
        arms.get(one.trial.arm, {})[one.trial.seed] = one
    mixed, none = arms[best.arm], arms["none"]
    seeds = sorted(mixed.keys() & none.keys())
    if not seeds:
        return None
    held = [[best_epoch(arm[s].history["held_out"], high) for s in seeds] for arm in (mixed, none)]
    test = [[arm[s].best[found.metric] for s in seeds] for arm in (mixed, none)]
    gain = found.gain(best)
    assert gain is not None
    return Confirmed(gain, difference(*held), difference(*test))


def worth(metric: str, candidate: Candidate) -> str:
    """What came of a candidate, such as 'held-out accuracy 57.3 %'."""
    if candidate.state == "pruned":
        return f"pruned after {candidate.epochs} epochs"
    if candidate.value is None:
        return f"failed: {candidate.why}"
    how = METRICS[metric]
    value = amount(metric, candidate.value, sign="-")
    return f"held-out {how.heading} {value} {how.unit}".rstrip()


def print_found(found: Found, console: Console) -> None:
    """The best five candidates, no mixing beside them, and what mattered."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    how = METRICS[found.metric]
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    grid.add_column("candidate", overflow="fold")
    for heading in (f"held-out {how.heading} {how.unit}".rstrip(), "against none"):
        grid.add_column(heading, justify="right", no_wrap=True)
    shown = found.order[:_SHOWN]
    if found.none is not None and found.none not in shown:
        shown.append(found.none)
    for one in shown:
        gain = found.gain(one)
        beside = "" if one.arm == "none" or gain is None else amount(found.metric, gain)
        value = "" if one.value is None else amount(found.metric, one.value, sign="-")
        grid.add_row(Text(one.arm), value, beside)
    console.print(grid, width=max(console.width, 80), crop=False)
    for sentence in sentences(found):
        console.print(f"\n{sentence}", markup=False, highlight=False)


def sentences(found: Found) -> list[str]:
    """How much was tried, and which settings matter."""
    seeds = f"{len(found.seeds)} seed{'' if len(found.seeds) == 1 else 's'} each"
    counts = [f"{found.count('finished')} finished", f"{found.count('pruned')} pruned"]
    counts += [f"{found.count('failed')} failed"] if found.count("failed") else []
    said = [
        f"The search tried {len(found.candidates)} candidates, {seeds} ({', '.join(counts)}), "
        f"and judged them at their best epoch by {found.held_out:,} held-out training rows."
    ]
    if found.importances:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in found.importances.items())
        said.append(f"What matters, of the finished ones: {shares}.")
    return said


def luck(found: Found, fresh: Confirmed, trials: int) -> str:
    """The gap between what the search saw and what fresh seeds gave, and what all rests on."""
    metric, how = found.metric, METRICS[found.metric]
    unit = "points of " if how.unit else "in "
    count = f"{fresh.test.seeds} fresh seed{'' if fresh.test.seeds == 1 else 's'}"
    gap = fresh.luck if how.high else -fresh.luck
    gave = "Fresh seeds give no less than the search saw."
    if gap > 0:
        gave = f"So {amount(metric, gap, sign='-')} {unit}{how.heading} were the search's luck."
    return (
        f"In the search {found.best.arm if found.best else ''} was {amount(metric, fresh.search)} "
        f"{unit}{how.heading} from none, on held-out rows; with {count} it "
        f"is {amount(metric, fresh.held_out.mean, fresh.held_out.error)} on theirs and "
        f"{amount(metric, fresh.test.mean, fresh.test.error)} on the test rows. {gave} "
        f"The answer rests on {len(found.candidates) * len(found.seeds)} trials of the search "
        f"({found.count('pruned')} pruned) and {trials} with fresh seeds."
    )
