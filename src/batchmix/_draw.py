"""Drawing a plan: the one place where randomness is made."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

from batchmix._columns import checked_size, owned
from batchmix._errors import mix_error
from batchmix._plan import Key, Plan, Untold
from batchmix.backends import _native
from batchmix.pairing import Derangement, Pairing, _check_pairing
from batchmix.policies import Paste, Policy, Request
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
      hints: host arrays [batch, ...] such as labels, for pairings that need them.

    Returns:
      A `Plan`. Opacities are rounded to multiples of 1/4096, so that 8-bit images come out the same
      pixel for pixel in every framework.

    Raises:
      MixError: a key, batch or size that cannot be drawn for.

    Example:
      >>> import batchmix as bm
      >>> bm.draw(bm.policies.CutMix(), bm.Key(seed=0, epoch=3, step=17), 256, {"H": 32, "W": 32})
      Plan(256 rows, HW=32x32, 255 mixed, lam 0.09..1.00 mean 0.71)

    Differs from: timm, torchvision, Composer and fastai draw from global generators, so that a mix
    cannot be replayed and depends on every other draw of the program.
    """
    key = _checked_key(key)
    if not isinstance(batch, int | np.integer) or batch < 0:
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
    hints = {name: np.asarray(value) for name, value in (hints or {}).items()}
    if policy is not None:
        check_policy("draw()", policy)
    partner = owned("partner", pairing.pair(_stream(key, 1), int(batch), hints))
    if partner.shape != (batch,):
        raise mix_error(
            "draw()", f"the pairing gave partners of shape {partner.shape} for batch={batch}.",
            "Each row has one partner.", "Return an integer for each of the `batch` rows.",
        )  # fmt: skip
    request = Request(_stream(key, 0), key, partner, dict(zip(size, cells)))
    paste = nothing(request) if policy is None else policy.sample(request)
    if not isinstance(paste, Paste):
        raise mix_error(
            "draw()", f"the policy's `sample` returned a {type(paste).__name__}.",
            "It answers with what is pasted on each row.",
            "Return a batchmix.policies.Paste(box, opacity, kind).",
        )  # fmt: skip
    return _executed(partner, paste, "".join(size), cells)


def _executed(partner: NDArray[np.int32], paste: Paste, axes: str, size: tuple[int, ...]) -> Plan:
    opacity, kind = np.ascontiguousarray(paste.opacity, float), np.asarray(paste.kind)
    boxes_alone = paste.mask is None and paste.source is None and paste.label_lam is None
    if boxes_alone and kind.dtype == np.int8 and kind.shape == partner.shape:
        done = _native.executed(partner, np.asarray(paste.box), opacity, size, LATTICE)
        if done is not None:
            columns = {"partner": partner, "box": np.array(paste.box), "kind": kind.copy()}
            return Plan.unchecked(axes=axes, size=size, opacity=done[0], lam=done[1], **columns)
    # what has more columns, and what does not fit: there the message is made
    columns = vars(paste) | {"opacity": np.rint(opacity * LATTICE) / LATTICE}
    return Plan(partner=partner, axes=axes, size=size, **columns)


class _Words(ISeedSequence):
    """The two words of a Philox key, known already: SeedSequence would hash them at every draw."""

    def __init__(self, words: NDArray[np.uint64]) -> None:
        self.words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> NDArray[Any]:
        return self.words


@functools.lru_cache(64)
def _words(seed: int, use: int) -> _Words:
    sequence = np.random.SeedSequence(seed, spawn_key=(use,) if use else ())
    return _Words(np.asarray(sequence.generate_state(2, np.uint64), np.uint64))


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


def _stream(key: Key, use: int) -> np.random.RandomState:
    """The generator at `key` for one use (0 policy, 1 pairing)."""
    # A counter-based generator needs no hash of its address: each (step, epoch, rank) is a block of
    # 2^64 counts of the stream of its seed. RandomState, not Generator: only its distributions are
    # frozen between NumPy versions (NEP 19).
    seed, epoch, step, rank = key
    start = np.array([0, step, epoch, rank], np.uint64)
    words: Any = _words(seed, use)  # the stubs of NumPy know SeedSequence only
    return np.random.RandomState(np.random.Philox(words, counter=start))


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
