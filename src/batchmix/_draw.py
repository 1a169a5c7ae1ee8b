"""Drawing a plan: the one place where randomness is made."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._columns import LATTICE, checked_size, is_source, owned
from batchmix._errors import mix_error
from batchmix._key import Key, Untold
from batchmix._layers import joined
from batchmix._numbers import is_whole
from batchmix._plan import Plan
from batchmix._stream import stream
from batchmix.backends import _derived
from batchmix.pairing import Derangement, Other, Pairing, _check_pairing
from batchmix.policies import Paste, Policy, Request
from batchmix.policies._paste import check_layers, check_policy, layers_of, nothing, reads_of


def draw(
    policy: Policy | None,
    key: Key,
    batch: int,
    size: Mapping[str, int],
    *,
    pairing: Pairing = Derangement(),  # noqa: B008  an immutable value
    hints: Mapping[str, Any] | None = None,
    other: Other | int | None = None,
) -> Plan:
    """Draw the plan of one batch: a pure function of its arguments.

    The stream is that of ``RandomState(Philox(...))``, whose distributions NumPy keeps frozen: the
    generator's key is ``SeedSequence(seed)``, its counter starts at (0, step, epoch, rank). The
    same key gives the same plan on every machine, whatever framework applies it. The pairing has a
    stream of its own, so that changing who is paired does not change how much is mixed.

    Args:
      policy: how much is pasted and where; None mixes nothing.
      key: address of the plan, a `Key` or a tuple of up to four integers >= 0.
      batch: number of rows, >= 0.
      size: cells per spatial axis, such as {"H": 224, "W": 224}, {"T": 16000}, or {} for a table.
      pairing: who is whose partner.
      hints: host arrays [batch, ...] by name, for what `reads` them: "label" (ids or [B, C]),
        "target", "image" ([B, *size] or [B, *size, C]), "mask", "instances" ([B, *size]),
        "boxes" ([B, N, 4 + K], left, top, right, bottom in cells; -1 where there is none),
        "audio" ([B, T] or [B, T, C]), "padding" ([B, T] or [B, *size]).
      other: the batch that partners are taken from, where it is another one: its number of rows, or
        ``pairing.Other(rows, hints)``. No row is its own partner then.

    Returns:
      A `Plan`. Opacities are rounded to multiples of 1/4096, so that 8-bit images come out the same
      pixel for pixel in every framework.

    Raises:
      MixError: a key, batch or size that cannot be drawn for; a hint that is read and not there.

    Example:
      >>> import batchmix as bm
      >>> bm.draw(bm.policies.CutMix(), bm.Key(seed=0, epoch=3, step=17), 256, {"H": 32, "W": 32})
      Plan(256 rows, HW=32x32, 255 mixed, lam 0.09..1.00 mean 0.71)

    Differs from: timm, torchvision, Composer and fastai draw from global generators, so that a mix
    cannot be replayed and depends on every other draw of the program.
    """
    key = _checked_key(key)
    if not is_whole(batch) or batch < 0:
        raise mix_error(
            "draw()", f"got batch={batch!r}.", "It counts rows, from 0.", "Pass len(x)."
        )
    if not isinstance(size, Mapping):
        raise mix_error(
            "draw()", f"got size={size!r}.", "It maps the letter of each axis to its cells.",
            "Pass for example size={'H': 224, 'W': 224}.",
        )  # fmt: skip
    cells = checked_size("draw()", tuple(size), *size.values())
    _check_pairing("draw()", pairing)
    if policy is not None:
        check_policy("draw()", policy)
    pool = _checked_other(other, int(batch))
    reads = reads_of(policy, pairing)
    own = _read(reads, hints or {}, int(batch))
    theirs = own if pool is None else _read(reads, pool.hints, pool.rows)
    if pool is not None:
        pool = Other(pool.rows, theirs)
    partners = [_partners(pairing, key, int(batch), own, pool, k) for k in range(layers_of(policy))]
    if len(partners) > 1 and pool is None and not getattr(pairing, "reads", ()):
        _part(partners)
    later = tuple(partners[1:])
    sizes = dict(zip(size, cells))
    request = Request(stream(key, 0), key, partners[0], sizes, None, own, theirs, later)
    paste = nothing(request) if policy is None else policy.sample(request)
    if not isinstance(paste, Paste):
        raise mix_error(
            "draw()", f"the policy's `sample` returned a {type(paste).__name__}.",
            "It answers with what is pasted on each row.",
            "Return a batchmix.policies.Paste(box, opacity, kind).",
        )  # fmt: skip
    check_layers("draw()", paste, len(later))
    form = {"axes": "".join(size), "size": cells, "others": None if pool is None else pool.rows}
    pastes = (paste, *paste.above)
    way = next((one.resample for one in pastes if one.source is not None and one.resample), None)
    layers = [
        _executed(partner, one, form | {"resample": one.resample or way or "nearest"})
        for partner, one in zip(partners, pastes)
    ]
    if len(layers) == 1:
        return layers[0]
    found = None
    if all(layer.mask is None for layer in layers):
        boxes, opacities = ([vars(one)[n] for one in layers] for n in ("box", "opacity"))
        found = _derived.seen(np.stack(boxes), np.stack(opacities), cells)
    return joined(layers, found, [one.label_lam for one in pastes])


def _checked_other(other: Any, batch: int) -> Other | None:
    """The batch that partners are taken from, if it is another one."""
    pool = Other(other, {}) if is_whole(other) else other
    if pool is None:
        return None
    fit = isinstance(pool, Other) and isinstance(pool.hints, Mapping)
    if not fit or not is_whole(pool.rows) or pool.rows < min(batch, 1):
        raise mix_error(
            "draw()", f"got other={other!r}.",
            "It counts the rows of the batch that partners are taken from, one at least.",
            "Pass len(other), or pairing.Other(len(other), hints).",
        )  # fmt: skip
    return Other(int(pool.rows), pool.hints)


def _read(reads: tuple[str, ...], hints: Mapping[str, Any], rows: int) -> dict[str, NDArray[Any]]:
    """The hints as arrays; those that are read are there, with an entry for each row."""
    try:
        found = {name: np.asarray(hint) for name, hint in hints.items()}
    except (AttributeError, TypeError, ValueError) as problem:
        raise mix_error(
            "draw()", f"got hints={hints!r} ({str(problem).splitlines()[0]}).",
            "They are arrays on the host, by name.", "Pass for example hints={'label': ids}.",
        ) from None  # fmt: skip
    for name in reads:
        if name not in found:
            raise mix_error(
                "draw()", f"the policy or the pairing reads {name!r}; hints has "
                f"{', '.join(map(repr, hints)) or 'nothing'}.",
                "What looks at the batch is handed its arrays, by name.",
                f"Pass hints={{{name!r}: array}}; a Mixer takes them from its fields, or from "
                f"hints={{{name!r}: place in the batch}}.",
            )  # fmt: skip
        if found[name].shape[:1] != (rows,):
            raise mix_error(
                "draw()", f"the hint {name!r} has shape {found[name].shape}, the rows are {rows}.",
                "A hint has an entry for each row.", "Pass hints of the same batch.",
            )  # fmt: skip
    return found


def _partners(
    pairing: Pairing,
    key: Key,
    batch: int,
    hints: Mapping[str, Any],
    other: Other | None,
    layer: int,
) -> NDArray[np.int32]:
    """Who is whose partner in one layer; each layer has a stream of its own."""
    pair: Any = pairing.pair
    rng = stream(key, 1 + layer)
    if other is None:
        found = pair(rng, batch, hints)
    elif "other" not in inspect.signature(pair).parameters:
        raise mix_error(
            "draw()", f"{pairing!r} pairs the rows of one batch.",
            "Partners are to be rows of another batch here (other=).",
            "Give its `pair` a fourth argument, other=None, or take Derangement().",
        )  # fmt: skip
    else:
        found = pair(rng, batch, hints, other)
    partner = owned("partner", found)
    if partner.shape != (batch,):
        raise mix_error(
            "draw()", f"the pairing gave partners of shape {partner.shape} for batch={batch}.",
            "Each row has one partner.", "Return an integer for each of the `batch` rows.",
        )  # fmt: skip
    return partner


def _part(partners: list[NDArray[np.int32]]) -> None:
    """Rows that meet a partner again take the partner of that one, and so on, if there is one."""
    rows = np.arange(len(partners[0]))
    for k, partner in enumerate(partners[1:], 1):
        fresh, met = partner, [rows, *partners[:k]]
        if fresh.size and fresh.min() >= 0 and fresh.max() < len(rows):
            for _ in range(k + 1):
                again = np.logical_or.reduce([partner == one for one in met])
                partner = np.where(again, fresh[partner], partner)
            again = np.logical_or.reduce([partner == one for one in met])
            partners[k] = np.where(again, fresh, partner).astype(np.int32)


def _executed(partner: NDArray[np.int32], paste: Paste, form: dict[str, Any]) -> Plan:
    opacity, kind = np.ascontiguousarray(paste.opacity, float), np.asarray(paste.kind)
    size = form["size"]
    box, source = np.asarray(paste.box), paste.source
    plain = paste.mask is None and paste.label_lam is None and form["others"] is None
    if plain and kind.dtype == np.int8 and kind.shape == partner.shape:
        done = _derived.executed(partner, box, opacity, size, LATTICE)
        if done is not None and (source is None or is_source(source, box, size)):
            columns: dict[str, Any] = {"partner": partner, "box": box.copy(), "kind": kind.copy()}
            if source is not None:
                columns["source"] = np.array(source, order="C")
            return Plan.unchecked(**form, opacity=done[0], lam=done[1], **columns)
    # what has more columns, and what does not fit: there the message is made
    columns = dict(paste.columns(), opacity=np.rint(opacity * LATTICE) / LATTICE)
    return Plan(partner=partner, **form, **columns)


class _UntoldKey(Key):
    """A key that says its epoch to the stream alone."""

    @property
    def epoch(self) -> int:
        raise mix_error(
            "draw()", "the policy looks at the epoch, and nobody has told it.",
            "A policy such as a Schedule by epoch follows the number of the pass over the data.",
            "Call set_epoch(epoch) before each pass, or pass epoch= or steps_per_epoch= where an "
            "adapter takes them.",
        )  # fmt: skip


def _checked_key(key: Key) -> Key:
    """A Key of integers, from a Key or a plain tuple."""
    try:
        seed, epoch, step, rank = numbers = Key(*map(operator.index, key))
        if seed >= 0 and min(epoch, step, rank) >= 0 and max(epoch, step, rank) < 2**64:
            return _UntoldKey(*numbers) if isinstance(Key(*key).epoch, Untold) else numbers
    except TypeError:
        pass
    raise mix_error(
        "draw()",
        f"got key={key!r}.",
        "A key is Key(seed, epoch, step, rank), integers >= 0, all but the seed below 2^64.",
        "Pass for example Key(seed=0, epoch=3, step=17).",
    )
