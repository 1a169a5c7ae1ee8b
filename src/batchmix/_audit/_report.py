"""What an audit found, as values; the worst calls as files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from batchmix._audit._kinds import BatchKind
from batchmix._audit._seen import Seen

Verdict = Literal["ok", "found", "not applicable", "could not run"]
FORMAT = 2  # of saved calls


@dataclass(frozen=True, eq=False)
class Finding:
    """One check: its verdict, the worst number of all calls, and where that was.

    `number` is NaN where nothing was measured, and inf where there is no number for what is wrong.
    `kind`, `call` and `row` say which was the worst; `arrays` are the call's inputs and outputs.
    """

    name: str
    verdict: Verdict
    number: float = float("nan")
    limit: float = float("nan")
    where: str = ""
    kind: BatchKind | None = None
    call: int = 0
    row: int | None = None
    seen: Seen | None = field(default=None, repr=False)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """in_image, out_image, out_label, ... of the worst call; none where nothing was called."""
        if self.seen is None:
            return {}
        found = {f"in_{name}": value for name, value in self.seen.before.items()}
        answers = {"image": self.seen.images, "label": self.seen.raw, **self.seen.others}
        return found | {f"out_{n}": value for n, value in answers.items() if value is not None}

    @property
    def number_text(self) -> str:
        """The number; '' where there is none, or where it is 0."""
        return f"{self.number:.3g}" if np.isfinite(self.number) and self.number else ""

    @property
    def headline(self) -> str:
        """The name, with the number and what it may be at most, if there are any."""
        if not self.number_text:
            return self.name
        return f"{self.name}: {self.number_text} (at most {self.limit:g})"

    def __str__(self) -> str:
        return f"{self.verdict:<15}{self.name:<35}{self.number_text:>8}  {self.where}".rstrip()


@dataclass(frozen=True, eq=False)
class Audit:
    """The verdicts of all checks, and how the callable was called, so that it can be replayed."""

    findings: tuple[Finding, ...]
    options: Mapping[str, Any]
    accepted: tuple[str, ...] = ()

    @property
    def found(self) -> tuple[Finding, ...]:
        """The findings that count: those of checks that were not accepted."""
        wrong = (f for f in self.findings if f.verdict == "found")
        return tuple(f for f in wrong if f.name not in self.accepted)

    def __getitem__(self, name: str) -> Finding:
        return next(f for f in self.findings if f.name == name)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __repr__(self) -> str:
        end = f"{len(self.found)} found" if self.found else "nothing found"
        if self.accepted:
            end += f"; accepted: {', '.join(self.accepted)}"
        return "\n".join([*map(str, self.findings), end])

    def assert_clean(self) -> Audit:
        """Raise an AssertionError that lists what was found, if anything was; for tests.

        Returns:
          The audit itself.

        Raises:
          AssertionError: for each finding its name, number and place, and how to see it.
        """
        if not self.found:
            return self
        lines = [f"{len(self.found)} of {len(self.findings)} checks of the audit found something"]
        for finding in self.found:
            lines += [finding.headline, *([f"    {finding.where}"] if finding.where else [])]
        first = file_of("batchmix-audit", self.found[0].name)
        lines += [
            'See it: batchmix audit MODULE:CALLABLE; or audit.save("batchmix-audit"), and then',
            f"    batchmix audit MODULE:CALLABLE --replay {first} --out batchmix-audit",
            f"Accept what is meant: batchmix.audit(..., accept=[{self.found[0].name!r}])",
        ]
        raise AssertionError("\n".join(lines))

    def save(self, folder: str | Path, **notes: Any) -> dict[str, Path]:
        """Write the worst call of each check that found something, as npz without pickle.

        Args:
          folder: made if it is not there.
          notes: plain values to be stored with them.

        Returns:
          Name of the check -> file. `audit(fn, replay=file)` repeats that call.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        files = {}
        for finding in self.findings:
            if finding.verdict == "found" and finding.kind is not None:
                files[finding.name] = path = file_of(folder, finding.name)
                about = {
                    "format": FORMAT, "check": finding.name, "call": finding.call,
                    "number": finding.number, "kind": finding.kind.record(),
                    "options": dict(self.options), "notes": notes,
                }  # fmt: skip
                arrays: dict[str, Any] = {"about": np.array(json.dumps(about)), **finding.arrays}
                with path.open("wb") as file:
                    np.savez_compressed(cast(BinaryIO, file), **arrays)
        return files


def file_of(folder: str | Path, check: str) -> Path:
    """Where `Audit.save` writes the worst call of a check."""
    return Path(folder) / f"{check.replace(',', '').replace(' ', '-')}.npz"
