"""The checks: each gives the worst number of all calls with one kind of batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._audit._kinds import NAN_ROW, BatchKind
from batchmix._audit._probe import Seen
from batchmix._audit._session import Answers, Session

BASE = "even batch"  # the kind that every callable must take


class Worst(NamedTuple):
    """The worst number of a check, found if it is over the limit; its call, and where in it."""

    number: float
    limit: float
    call: int
    where: str


class Check(NamedTuple):
    """A name, the kinds of batches it looks at (() for all), and what judges one of them."""

    name: str
    kinds: tuple[str, ...]
    judge: Callable[[Session, BatchKind], Worst | None]


def _labels(session: Session, kind: BatchKind) -> Worst | None:
    """The label weight of each row against its share of pixels."""
    run = session.run(kind)
    for call, seen in enumerate(run.seen):
        if seen.problem:
            return Worst(np.inf, 0, call, seen.problem)
    errors = [np.abs(seen.labels - seen.pixels) for seen in run.seen]
    call, row, whose = _peak(errors)
    seen = run.seen[call]
    words = (
        f"row {row}: label {seen.labels[row, whose]:.3f} of row {whose}, "
        f"pixels {seen.pixels[row, whose]:.3f}; "
        f"row mean {np.mean([error.max(1) for error in errors]):.3f}"
    )
    return Worst(float(errors[call][row, whose]), kind.close, call, words)


def _blend(session: Session, kind: BatchKind) -> Worst | None:
    """In each cell the shares of all rows are 0..1 and sum to 1."""
    worst = [
        np.maximum(np.abs(seen.cells.sum(-1) - 1), -seen.cells.min(-1))
        for seen in _fitting(session.run(kind))
    ]
    if not worst:
        return None
    call, row, _ = _peak(worst)
    return Worst(float(worst[call].max()), 4 * kind.close, call, f"{kind.name}, row {row}")


def _sums(session: Session, kind: BatchKind) -> Worst | None:
    """Each label sums to 1."""
    worst = [
        np.abs(seen.raw.sum(1, dtype=float) - 1)[:, None] for seen in _fitting(session.run(kind))
    ]
    if not worst:
        return None
    call, row, _ = _peak(worst)
    return Worst(float(worst[call][row, 0]), 1e-3, call, f"{kind.name}, row {row}")


def _dtypes(session: Session, kind: BatchKind) -> Worst | None:
    """Images keep their dtype."""
    for call, seen in enumerate(session.run(kind).seen):
        if seen.dtypes[0] != seen.dtypes[1]:
            return Worst(np.inf, 0, call, "{} becomes {}".format(*seen.dtypes))
    return Worst(0, 0, 0, "") if session.run(kind).seen else None


def _own_partner(session: Session, kind: BatchKind) -> Worst | None:
    """Share of the rows that are certainly their own partners."""
    counts = [len(_alone(seen)) for seen in _fitting(session.run(kind))]
    if not counts:
        return None
    share = sum(counts) / len(counts) / kind.batch
    words = f"in {sum(map(bool, counts))} of {len(counts)} batches of {kind.batch}"
    return Worst(share, 0, int(np.argmax(counts)), words)


def _alone(seen: Seen) -> list[int]:
    """Rows that are certainly their own partners.

    Labels may name the partners. If they do not: where exactly one row is unmixed and the other
    partners are all different, that row is its own partner if and only if nobody else uses it.
    """
    rows = np.arange(seen.kind.batch)
    if seen.partner is not None:
        return list(np.flatnonzero(seen.partner == rows))
    others = seen.pixels - np.diag(np.diag(seen.pixels)) > 1e-6
    unmixed = np.flatnonzero(~others.any(1))
    used = others.argmax(1)[others.any(1)]
    single = (others.sum(1) <= 1).all() and len(set(used)) == len(used)
    return [int(r) for r in unmixed if single and len(unmixed) == 1 and r not in used]


def _unmixed(session: Session, kind: BatchKind) -> Worst | None:
    """Share of the rows that are returned unchanged."""
    runs = _fitting(session.run(kind))
    same = [np.abs(np.diag(seen.pixels) - 1) < 1e-6 for seen in runs]
    if not same:
        return None
    share = float(np.mean(same))
    words = f"{share:.0%} of {np.size(same)} rows"
    return Worst(share, session.max_unmixed, int(np.argmax(np.mean(same, 1))), words)


def _written(session: Session, kind: BatchKind) -> Worst | None:
    """Inputs are not written to."""
    seen = session.run(kind).seen
    for call, one in enumerate(seen):
        if one.written:
            return Worst(np.inf, 0, call, f"{kind.name}: writes to {', '.join(one.written)}")
    return Worst(0, 0, 0, "") if seen else None


def _global(session: Session, kind: BatchKind) -> Worst | None:
    """Mixes depend on a seed of their own, not on global generators."""
    first, again = (_mixes(session.run(kind, turn=turn)) for turn in (0, 1))
    if drawn := sorted(session.run(kind).generators):
        return Worst(np.inf, 0, 0, f"draws from {', '.join(drawn)}")
    other = _mixes(session.run(kind, seed=1))
    if _alike(first, again) and not _alike(first, other):
        return Worst(np.inf, 0, 0, "another global seed gives other mixes")
    return Worst(0, 0, 0, "")


def _again(session: Session, kind: BatchKind) -> Worst | None:
    """Calls give different mixes, and so do epochs where they can be set."""
    mixes = _mixes(session.run(kind))
    if len(mixes) < 2 or all(_alike([m], [np.eye(kind.batch)]) for m in mixes):
        return None
    if all(_alike([m], mixes[:1]) for m in mixes[1:]):
        return Worst(np.inf, 0, 1, f"{len(mixes)} calls give one mix")
    if hasattr(session.fn, "set_epoch"):
        both = _mixes(session.run(kind, epochs=(0, 1)))
        if _alike(both[: session.calls], both[session.calls :]):
            return Worst(np.inf, 0, 0, "epoch 1 repeats epoch 0")
    return Worst(0, 0, 0, "")


def _nan(session: Session, kind: BatchKind) -> Worst | None:
    """A NaN reaches only the cells in which its row has a share.

    The NaN is in the channel of its row. If the other channels of a cell sum to 1, the NaN row has
    no share there, so NaN must not appear. Shares too small to be seen so are read from the label.
    """
    leaks = []
    for seen in _fitting(session.run(kind)):
        cells = seen.cells
        bad = np.isnan(cells[..., NAN_ROW])
        rest = np.delete(cells, NAN_ROW, -1)
        none = np.abs(rest.sum(-1) - 1) < 1e-6
        weight = seen.labels[:, NAN_ROW][:, None]
        known = (weight > 1e-3) | (weight == 0)
        leaks.append((bad & none & known) | np.isnan(rest).any(-1))
    if not leaks:
        return None
    call, row, _ = _peak([leak.astype(float) for leak in leaks])
    count = int(sum(leak.any(1).sum() for leak in leaks))
    words = f"{count} of {len(leaks) * kind.batch} rows; call {call}, row {row}"
    return Worst(count / (len(leaks) * kind.batch), 0, call, words if count else "")


def _ids(session: Session, kind: BatchKind) -> Worst | None:
    """Ids keep their values and dtype; those of a mask follow the image and are never averaged."""
    for call, seen in enumerate(_fitting(session.run(kind))):
        for name in seen.before.keys() - {"image", "label"}:
            before, after = seen.before[name], seen.others.get(name)
            if after is None or after.shape != before.shape:
                came = "nothing" if after is None else f"shape {after.shape}"
                return Worst(np.inf, 0, call, f"{name} of shape {before.shape}: {came} comes back")
            if after.dtype.kind not in "iu":
                return Worst(np.inf, 0, call, f"{name}: integers come back as floats")
            if name == "id" and (after != before).any():
                return Worst(np.inf, 0, call, "id: changed, though it is no image and no label")
            if name == "mask" and (wrong := _astray(seen, after)):
                return Worst(wrong, 0, call, f"mask: {wrong:.0%} of cells hold another row's id")
    runs = session.run(kind).seen
    return Worst(0, 0, 0, "") if runs and len(runs[0].before) > 2 else None


def _astray(seen: Seen, mask: NDArray[np.int64]) -> float:
    """Share of the cells whose id is not that of the row with the largest share, ties aside."""
    heaviest = seen.cells.argmax(-1)
    clear = seen.cells.max(-1) > 0.501
    wrong = mask.reshape(len(mask), -1) != seen.kind.ids()[heaviest]
    return float((wrong & clear).mean())


def _fitting(run: Answers) -> list[Seen]:
    """The calls with the right shapes; the check of labels reports the others."""
    return [seen for seen in run.seen if not seen.problem]


def _mixes(run: Answers) -> list[NDArray[np.float64]]:
    """[B, B] of each call: the share of each row in each image."""
    return [seen.pixels for seen in _fitting(run)]


def _alike(one: Sequence[NDArray[np.float64]], two: Sequence[NDArray[np.float64]]) -> bool:
    """Whether two series of calls gave the same mixes."""
    return len(one) == len(two) and all(np.allclose(a, b, atol=1e-6) for a, b in zip(one, two))


def _peak(errors: Sequence[NDArray[np.float64]]) -> tuple[int, int, int]:
    """Call, row and column of the largest error; NaN counts as the largest."""
    clean = [np.where(np.isnan(e), np.inf, e) for e in errors]
    call = int(np.argmax([e.max() for e in clean]))
    row, column = np.unravel_index(int(clean[call].argmax()), clean[call].shape)
    return call, int(row), int(column)


CHECKS = {
    check.name: check
    for check in (
        *(
            Check(f"label error, {name}", (name,), _labels)
            for name in (
                BASE, "odd batch", "one row", "small images", "video",
                "float16", "bfloat16", "uint8", "int64",
            )
        ),
        Check("pixel sum", (), _blend),
        Check("label sum", (), _sums),
        Check("other dtype", (), _dtypes),
        Check("own partners", (BASE,), _own_partner),
        Check("unmixed rows", (BASE,), _unmixed),
        Check("writes to inputs", (), _written),
        Check("global generator", (BASE,), _global),
        Check("repeated mixes", (BASE,), _again),
        Check("NaN leaks", ("NaN",), _nan),
        Check("changed ids", (BASE,), _ids),
    )
}  # fmt: skip
