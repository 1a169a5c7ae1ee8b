"""Checks of shares: labels against pixels, cells against each other, rows against partners."""

from __future__ import annotations

import numpy as np

from batchmix._audit._kinds import BatchKind
from batchmix._audit._seen import Seen
from batchmix._audit._session import Session
from batchmix._audit._worst import Worst, fitting, labelled, peak


def labels(session: Session, kind: BatchKind) -> Worst | None:
    """The label weight of each row against its share of pixels."""
    run = session.run(kind)
    for call, seen in enumerate(run.seen):
        if seen.problem:
            return Worst(np.inf, 0, call, seen.problem)
    told = labelled(run)
    if not told:
        return None
    errors = [np.abs(seen.labels - seen.pixels) for seen in told]
    call, row, whose = peak(errors)
    seen = told[call]
    words = (
        f"row {row}: label {seen.labels[row, whose]:.3f} of row {whose}, "
        f"pixels {seen.pixels[row, whose]:.3f}; "
        f"mean over rows {np.mean([error.max(1) for error in errors]):.3f}"
    )
    return Worst(float(errors[call][row, whose]), kind.close, call, words, row)


def blend(session: Session, kind: BatchKind) -> Worst | None:
    """In each cell the shares of all rows are 0..1 and sum to 1."""
    worst = [
        np.maximum(np.abs(seen.cells.sum(-1) - 1), -seen.cells.min(-1))
        for seen in fitting(session.run(kind))
    ]
    if not worst:
        return None
    call, row, _ = peak(worst)
    return Worst(float(worst[call].max()), 4 * kind.close, call, f"{kind.name}, row {row}", row)


def sums(session: Session, kind: BatchKind) -> Worst | None:
    """Each label sums to 1."""
    worst = [
        np.abs(seen.raw.sum(1, dtype=float) - 1)[:, None]
        for seen in labelled(session.run(kind))
        if seen.raw is not None
    ]
    if not worst:
        return None
    call, row, _ = peak(worst)
    return Worst(float(worst[call][row, 0]), 1e-3, call, f"{kind.name}, row {row}", row)


def own_partner(session: Session, kind: BatchKind) -> Worst | None:
    """Share of the rows that are certainly their own partners."""
    alone = [_alone(seen) for seen in fitting(session.run(kind))]
    if not alone:
        return None
    counts = [len(rows) for rows in alone]
    share, call = sum(counts) / len(counts) / kind.batch, int(np.argmax(counts))
    words = f"in {sum(map(bool, counts))} of {len(counts)} batches of {kind.batch}"
    return Worst(share, 0, call, words, alone[call][0] if alone[call] else None)


def _alone(seen: Seen) -> list[int]:
    """Rows that are certainly their own partners.

    Labels may name the partners. If they do not: where exactly one row is unmixed and the other
    partners are all different, that row is its own partner if and only if nobody else uses it.
    """
    rows = np.arange(seen.kind.batch)
    if seen.partner is not None:
        return [int(r) for r in np.flatnonzero(seen.partner == rows)]
    others = seen.pixels - np.diag(np.diag(seen.pixels)) > 1e-6
    unmixed = np.flatnonzero(~others.any(1))
    used = others.argmax(1)[others.any(1)]
    single = (others.sum(1) <= 1).all() and len(set(used)) == len(used)
    return [int(r) for r in unmixed if single and len(unmixed) == 1 and r not in used]


def unmixed(session: Session, kind: BatchKind) -> Worst | None:
    """Share of the rows that are returned unchanged."""
    same = [np.abs(np.diag(seen.pixels) - 1) < 1e-6 for seen in fitting(session.run(kind))]
    if not same:
        return None
    share, call = float(np.mean(same)), int(np.argmax(np.mean(same, 1)))
    words = f"{share:.0%} of {np.size(same)} rows"
    return Worst(share, session.max_unmixed, call, words, int(np.argmax(same[call])))


def nan(session: Session, kind: BatchKind) -> Worst | None:
    """A NaN reaches only the cells in which its row has a share."""
    leaks = [seen.leaks for seen in fitting(session.run(kind))]
    if not leaks:
        return None
    call, row, _ = peak([leak.astype(float) for leak in leaks])
    count = int(sum(leak.any(1).sum() for leak in leaks))
    words = f"{count} of {len(leaks) * kind.batch} rows; call {call}, row {row}"
    share = count / (len(leaks) * kind.batch)
    return Worst(share, 0, call, words if count else "", row if count else None)
