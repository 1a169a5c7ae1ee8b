"""Layers: several policies on every row, one over the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from batchmix._errors import mix_error
from batchmix.policies._paste import (
    Paste,
    Policy,
    Request,
    check_layers,
    checked_policies,
    layers_of,
    nothing,
    reads_of,
)


@dataclass(frozen=True)
class Layers:
    r"""Paste by each of several policies on every row, the later over the earlier.

    .. math:: w_k = \mathrm{mean}\big(a_k \textstyle\prod_{m > k} (1 - a_m)\big)

    is the weight of layer k's partner, with :math:`a_k` its opacity at each cell: what is still
    seen of it. Each layer has a partner of its own, another one where the pairing has more.

    Args:
      policies: one or more, from the lowest layer to the highest.

    Raises:
      MixError: no policy, something that is none, or one that labels by content (`Unpadded`).

    Example:
      >>> import batchmix as bm
      >>> from batchmix.policies import CutMix, MixUp
      >>> plan = bm.draw(Layers([MixUp(1.0), CutMix(1.0)]), bm.Key(0), 8, {"H": 32, "W": 32})
      >>> plan.weights.shape, bool(abs(plan.weights.sum(1) - 1).max() < 1e-6)
      ((8, 3), True)

    Differs from: mixing a mixed batch once more, as two steps in a row do elsewhere, gives labels
    that are wrong where the second paste covers the first (by 0.29 at worst for CutMix on CutMix).

    Source: the painter's rule; several pastes on a row as in Bochkovskiy et al., YOLOv4, 2020,
    section 3.3 (Mosaic), https://arxiv.org/abs/2004.10934
    """

    policies: Sequence[Policy]

    def __post_init__(self) -> None:
        given = self.policies
        policies = checked_policies("Layers", given)
        object.__setattr__(self, "policies", policies)
        if not policies:
            raise mix_error(
                "Layers", f"got policies={given!r}.", "It takes a list of policies.",
                "Pass for example Layers([MixUp(0.8), CutMix(1.0)]).",
            )  # fmt: skip
        if len(policies) > 1 and "padding" in self.reads:
            raise mix_error(
                "Layers", "one of the policies labels by content (Unpadded).",
                "It counts what shows of its own paste, not what a later one covers.",
                "Put the layers inside: Unpadded(Layers([...])).",
            )  # fmt: skip

    @property
    def reads(self) -> tuple[str, ...]:
        return reads_of(*self.policies)

    @property
    def layers(self) -> int:
        return sum(map(layers_of, self.policies))

    def sample(self, request: Request) -> Paste:
        """The draw of each policy, with the partners of its own layers."""
        partners = (request.partner, *request.later)
        pastes: list[Paste] = []
        for policy in self.policies:
            first, *later = partners[len(pastes) : len(pastes) + layers_of(policy)]
            drawn = policy.sample(request._replace(partner=first, later=tuple(later)))
            check_layers("Layers", drawn, len(later))
            pastes += [replace(drawn, above=()), *drawn.above]
            pastes += [nothing(request)] * (len(later) - len(drawn.above))
        kinds = np.maximum.reduce([paste.kind for paste in pastes])
        kind = np.where(kinds < 0, -1, 0).astype(np.int8)
        return replace(pastes[0], kind=kind, above=tuple(pastes[1:]))
