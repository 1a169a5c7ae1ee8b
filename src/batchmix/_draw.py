"""Drawing a plan: the one place where randomness is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from batchmix._errors import mix_error
from batchmix._plan import Key, Plan
from batchmix._validate import owned
from batchmix.pairing import Derangement, Pairing
from batchmix.policies import Policy, Rows
from batchmix.policies._paste import check_policy, nothing

LATTICE = 4096  # an 8-bit value times a 12-bit opacity is exact in float32, in any framework


def draw(
    policy: Policy | None,
    key: Key,
    batch: int,
    size: Mapping[str, int],
    *,
    pairing: Pairing = Derangement(),  # noqa: B008  an immutable value
    hints: Mapping[str, Any] | None = None,
) -> Plan:
    """Draw the plan of one batch: a pure function of its arguments.

    The stream is ``RandomState(Philox(SeedSequence(key)))``, which NumPy keeps frozen: the same key
    gives the same plan on every machine, whatever framework applies it. The pairing has a stream of
    its own, so that changing who is paired does not change how much is mixed.

    Args:
      policy: how much is pasted and where; None mixes nothing.
      key: address of the plan, a `Key` or a tuple of up to four integers >= 0.
      batch: number of rows, >= 0.
      size: cells per spatial axis, such as {"H": 224, "W": 224}, {"T": 16000}, or {} for a table.
      pairing: who is whose partner.
      hints: host arrays [batch, ...] such as labels, for pairings that need them.

    Returns:
      A `Plan`. Opacities are rounded to multiples of 1/4096, so that 8-bit images come out the same
      pixel for pixel in every framework.

    Raises:
      MixError: a key, batch or size that cannot be drawn for.

    Example:
      >>> import batchmix as bm
      >>> bm.draw(bm.policies.CutMix(), bm.Key(seed=0, epoch=3, step=17), 256, {"H": 32, "W": 32})
      Plan(256 rows, HW=32x32, 255 mixed, lam 0.26..1.00 mean 0.73)

    Differs from: timm, torchvision, Composer and fastai draw from global generators, so that a mix
    cannot be replayed and depends on every other draw of the program.
    """
    key = _checked_key(key)
    if not isinstance(batch, int | np.integer) or batch < 0:
        raise mix_error(
            "draw()", f"got batch={batch!r}.", "It counts rows, from 0.", "Pass len(x)."
        )
    size = _checked_size(size)
    if isinstance(pairing, type) or not callable(getattr(pairing, "pair", None)):
        raise mix_error(
            "draw()",
            f"got pairing={pairing!r}.",
            "A pairing is a value with a method `pair`.",
            "Pass for example Reverse(), with its parentheses.",
        )
    hints = {name: np.asarray(value) for name, value in (hints or {}).items()}
    if policy is not None:
        check_policy("draw()", policy)
    partner = owned("partner", pairing.pair(_stream(key, 1), int(batch), hints), np.int32)
    rows = Rows(_stream(key, 0), key, partner, size)
    paste = nothing(rows) if policy is None else policy.sample(rows)
    return Plan(
        partner=partner,
        box=paste.box,
        opacity=np.rint(np.asarray(paste.opacity) * LATTICE) / LATTICE,
        axes="".join(size),
        size=tuple(size.values()),
        mask=paste.mask,
        source=paste.source,
        kind=paste.kind,
        label_lam=paste.label_lam,
    )


def _stream(key: Key, use: int) -> np.random.RandomState:
    """The generator at `key` for one use (0 policy, 1 pairing)."""
    # RandomState, not Generator: only its stream is frozen between NumPy versions (NEP 19)
    seq = np.random.SeedSequence(tuple(key), spawn_key=(use,) if use else ())
    return np.random.RandomState(np.random.Philox(seq))


def _checked_key(key: Key) -> Key:
    """A Key of integers >= 0, from a Key or a plain tuple."""
    try:
        numbers = Key(*key)
        if all(isinstance(n, int | np.integer) and n >= 0 for n in numbers):
            return Key(*map(int, numbers))
    except TypeError:
        pass
    raise mix_error(
        "draw()",
        f"got key={key!r}.",
        "A key is Key(seed, epoch, step, rank), integers >= 0.",
        "Pass for example Key(seed=0, epoch=3, step=17).",
    )


def _checked_size(size: Mapping[str, int]) -> dict[str, int]:
    """One capital letter per axis, and its number of cells."""
    try:
        cells = {str(axis): int(n) for axis, n in size.items()}
        if all(len(a) == 1 and a.isupper() and a != "N" and n > 0 for a, n in cells.items()):
            return cells
    except (AttributeError, TypeError, ValueError):
        pass
    raise mix_error(
        "draw()",
        f"got size={size!r}.",
        "It maps the letter of each spatial axis to its cells, and N is the batch.",
        "Pass for example size={'H': 224, 'W': 224}.",
    )
