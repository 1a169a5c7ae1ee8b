"""What a policy really does, counted over many plans before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batchmix._draw import draw
from batchmix._errors import mix_error
from batchmix._key import Key
from batchmix._numbers import is_whole
from batchmix._plan import Plan
from batchmix.pairing import Derangement, Pairing
from batchmix.policies import Policy

_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, eq=False, repr=False)
class Stats:
    """Shares of the rows that were drawn, each 0..1, and `lam`, float32 [rows], their own weights.

    `pasted` is the mean weight of the partner, ``1 - mean(lam)``. `unmixed` rows have lam 1: they
    are their own partner (`self_pairs`), their box has no cells (`empty`), the policy left them
    alone (`alone`), or lam was drawn as 1. `nearly` rows are mixed, at less than `margin` of either
    image: `lam` above ``1 - margin`` (still themselves) or below `margin` (as good as replaced).
    """

    lam: NDArray[np.float32]
    unmixed: float
    self_pairs: float
    empty: float
    alone: float
    nearly: float
    margin: float

    @property
    def pasted(self) -> float:
        """Mean weight of the partner."""
        return float(1 - self.lam.mean(dtype=np.float64))

    def quantiles(self, *shares: float) -> list[float]:
        """Own weights that these shares of the rows do not exceed."""
        return [float(q) for q in np.quantile(self.lam, shares)]

    def histogram(self, bins: int = 20) -> NDArray[np.float64]:
        """[bins]: share of the rows whose own weight lies in each of `bins` equal parts of 0..1."""
        counts = np.histogram(self.lam, bins, (0, 1))[0]
        return counts / len(self.lam)

    def sparkline(self, bins: int = 20) -> str:
        """The histogram as `bins` characters, own weight 0 to 1; the highest bar is full."""
        shares = self.histogram(bins)
        heights = np.ceil(shares / shares.max() * (len(_BLOCKS) - 1)).astype(int)
        return "".join(_BLOCKS[h] for h in heights)

    def __repr__(self) -> str:
        low, middle, high = self.quantiles(0.05, 0.5, 0.95)
        return (
            f"Stats({len(self.lam)} rows: partner's weight {self.pasted:.3f}, own weight 5 % "
            f"{low:.2f} median {middle:.2f} 95 % {high:.2f}; unmixed {self.unmixed:.1%} "
            f"(own partner {self.self_pairs:.1%}, empty box {self.empty:.1%}, left alone "
            f"{self.alone:.1%}), nearly {self.nearly:.1%}; lam 0|{self.sparkline()}|1)"
        )


def stats(
    policy: Policy | None,
    size: Mapping[str, int],
    *,
    batch: int = 64,
    batches: int = 1024,
    pairing: Pairing = Derangement(),  # noqa: B008  an immutable value
    seed: int = 0,
    epoch: int = 0,
    margin: float = 0.05,
) -> Stats:
    """What the settings really do: draw many plans and count.

    Nothing is mixed. It shows for example that clipped CutMix at alpha 1 pastes 0.31 of the image,
    not 0.50; that at alpha 0.2 and 8 x 8 cells 23 % of its boxes are empty; and that MixUp at
    alpha 0.2 leaves more than half of the rows within 5 % of one image.

    Args:
      policy: as for `draw`.
      size: cells per spatial axis, such as {"H": 32, "W": 32}, or {} for a table.
      batch: rows of a batch, >= 1; it matters for pairings and for policies that share a draw.
      batches: plans that are drawn, >= 1, at ``Key(seed, epoch, 0)``, ``Key(seed, epoch, 1)``, ...
      pairing: who is whose partner.
      seed: of the run.
      epoch: for policies with a schedule.
      margin: own weights within this of 0 or 1 count as nearly unmixed, 0..0.5.

    Returns:
      A `Stats`: `lam` [batch * batches], and the shares `unmixed`, `self_pairs`, `empty`, `alone`,
      `nearly` and `pasted`.

    Raises:
      MixError: a number out of range, and what `draw` refuses.

    Example:
      >>> import batchmix as bm
      >>> found = bm.stats(bm.policies.CutMix(1.0), {"H": 32, "W": 32})
      >>> round(found.pasted, 1), found.self_pairs
      (0.3, 0.0)

    Differs from: no other library tells; in timm, torchvision and Composer the drawn lam is easily
    taken for the pasted share.

    Source: the clipped box of Yun et al., CutMix, 2019, eq. 2, https://arxiv.org/abs/1905.04899
    """
    for name, number in (("batch", batch), ("batches", batches)):
        if not is_whole(number) or number < 1:
            raise mix_error(
                "stats()", f"got {name}={number!r}.", "It is an integer >= 1.", "Try 64."
            )
    if not 0 <= margin <= 0.5:
        raise mix_error(
            "stats()", f"got margin={margin!r}.", "It is a weight, 0..0.5.", "The default is 0.05."
        )
    plans = [
        draw(policy, Key(seed, epoch, step), batch, size, pairing=pairing)
        for step in range(batches)
    ]
    lam = np.concatenate([plan.lam for plan in plans])
    own = np.concatenate([_every(plan, _is_own) for plan in plans])
    alone = np.concatenate([_alone(plan) for plan in plans])
    empty = np.concatenate([_every(plan, _is_empty) for plan in plans])
    mixed = lam < 1
    return Stats(
        lam=lam,
        unmixed=float(1 - mixed.mean()),
        self_pairs=float(own.mean()),
        empty=float((empty & ~alone).mean()),
        alone=float(alone.mean()),
        nearly=float((mixed & ((lam < margin) | (lam > 1 - margin))).mean()),
        margin=margin,
    )


def _every(plan: Plan, holds: Callable[[Plan], NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """[B]: rows for which something holds in every layer."""
    every = np.ones(len(plan), bool)
    for layer in (plan, *plan.above):
        every &= holds(layer)
    return every


def _is_own(layer: Plan) -> NDArray[np.bool_]:
    return np.asarray(layer.partner == np.arange(len(layer)))


def _is_empty(layer: Plan) -> NDArray[np.bool_]:
    return np.asarray((layer.box[..., 1] <= layer.box[..., 0]).any(1))


def _alone(plan: Plan) -> NDArray[np.bool_]:
    """[B]: rows that the policy left alone on purpose."""
    return np.zeros(len(plan), bool) if plan.kind is None else plan.kind == -1
