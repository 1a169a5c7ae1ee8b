"""Blend: the whole grid of the partner, at an opacity from a range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix._numbers import is_number
from batchmix.policies._paste import Paste, Request, alike, whole


@dataclass(frozen=True)
class Blend:
    r"""Blend every row with its partner, at a share from a range.

    .. math:: x' = \lambda x + (1 - \lambda) x_{p}, \quad \lambda \sim U(\text{low}, \text{high})

    Near one half both rows are to be seen, so that the things of both can be looked for.

    Args:
      low: least share of the row's own content, 0..1.
      high: largest, not below `low`.

    Raises:
      MixError: not 0 <= low <= high <= 1.

    Example:
      >>> import batchmix as bm
      >>> plan = bm.draw(Blend(0.45, 0.55), bm.Key(seed=0), batch=256, size={"H": 8, "W": 8})
      >>> round(float(plan.lam.min()), 2), round(float(plan.lam.max()), 2)
      (0.45, 0.55)

    Differs from: DEIM draws one lam per batch (wrap in `PerBatch`), and rounds it to 1e-6; here it
    is a multiple of 1/4096. `MixUp` draws it from a Beta distribution.

    Source: Huang et al., DEIM, 2024, section 3.1, https://arxiv.org/abs/2412.04234
    """

    low: float = 0.45
    high: float = 0.55

    def __post_init__(self) -> None:
        check_shares("Blend", self.low, self.high)

    def sample(self, request: Request) -> Paste:
        """One lam per row, the box the whole grid."""
        lam = between(request.rng.random_sample(len(request.partner)), self.low, self.high)
        return Paste(whole(request), 1 - lam, alike(request, 1, 0)[1])


def between(u: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """Uniform numbers of 0..1 as numbers of a range."""
    return low + (high - low) * u


def check_shares(policy: str, low: float, high: float) -> None:
    """A range of shares of a row."""
    if not (is_number(low) and is_number(high) and 0 <= low <= high <= 1):
        raise mix_error(
            policy, f"got low={low!r} and high={high!r}.",
            "They are shares of the row's own content, 0 <= low <= high <= 1.",
            "Pass for example low=0.45, high=0.55.",
        )  # fmt: skip
