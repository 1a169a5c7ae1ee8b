"""CopyPaste: some of the partner's instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix._numbers import is_number, is_whole
from batchmix.policies._paste import Paste, Request
from batchmix.policies._regions import Regions, pasted, regions


@dataclass(frozen=True)
class CopyPaste:
    r"""Paste some of the partner's instances, each through its own cells.

    .. math:: M = [\,s_p \in C\,], \qquad P(k \in C) = \mathrm{prob}

    with :math:`s_p` the partner's map of instances; each is chosen on its own. A row may get none.

    Reads: "instances", integers [B, ...] of the grid: which instance a cell belongs to, 0 for none;
    or masks [B, K, ...], one for each instance, of which the last counts where they overlap.

    Args:
      prob: probability that an instance is pasted, 0..1.
      min_area: instances of fewer cells are not pasted.

    Raises:
      MixError: a parameter out of range; at the draw, a map of another shape or of no integers.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> ids = np.array([[1, 1, 0, 2], [0, 3, 3, 0]])
      >>> plan = bm.draw(CopyPaste(prob=1), bm.Key(0), 2, {"T": 4}, hints={"instances": ids})
      >>> plan.mask.tolist()
      [[0, 255, 255, 0], [255, 255, 0, 255]]

    Differs from: the paper flips both images and scales them by 0.1 to 2 first; here that is done
    to the rows before they are mixed. What is left of the row's own instances, the fields say.

    Source: Ghiasi et al., Simple Copy-Paste, 2021, https://arxiv.org/abs/2012.07177
    """

    prob: float = 0.5
    min_area: int = 0
    reads: ClassVar[tuple[str, ...]] = ("instances",)

    def __post_init__(self) -> None:
        if not (is_number(self.prob) and 0 <= self.prob <= 1):
            raise mix_error(
                "CopyPaste", f"got prob={self.prob!r}.",
                "It is the probability that an instance is pasted, 0..1.", "Pass for example 0.5.",
            )  # fmt: skip
        if not (is_whole(self.min_area) and self.min_area >= 0):
            raise mix_error(
                "CopyPaste", f"got min_area={self.min_area!r}.",
                "It counts the cells of the smallest instance that is pasted.",
                "Pass an integer >= 0.",
            )  # fmt: skip

    def sample(self, request: Request) -> Paste:
        """A coin for each instance of each row."""
        found, there = instances(request, self.min_area)
        return pasted(found, there & (request.rng.random_sample(there.shape) < self.prob), request)


def instances(request: Request, least: int) -> tuple[Regions, NDArray[np.bool_]]:
    """The partners' instances, and [B, K] which of them a row has, of some cells at least."""
    maps = np.asarray(request.theirs["instances"])
    if maps.ndim == 2 + len(request.size):
        request = request._replace(theirs={"instances": _numbered(maps)})
    found = regions("CopyPaste", "instances", request)
    return found, (found.cells >= max(1, least)) & (found.ids != 0)


def _numbered(masks: NDArray[Any]) -> NDArray[np.int32]:
    """[B, ...]: the number of the last mask that each cell is in, from 1; 0 for none."""
    found = np.zeros((len(masks), *masks.shape[2:]), np.int32)
    for k in range(masks.shape[1]):
        found[masks[:, k] != 0] = k + 1
    return found
