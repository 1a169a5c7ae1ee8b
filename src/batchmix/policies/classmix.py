"""ClassMix: half of the classes of the partner's segmentation mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from batchmix._errors import mix_error
from batchmix._numbers import is_whole
from batchmix.policies._paste import Paste, Request
from batchmix.policies._regions import pasted, regions


@dataclass(frozen=True)
class ClassMix:
    r"""Paste the cells of half of the classes that the partner's segmentation mask has.

    .. math:: M = [\,y_p \in C\,], \qquad |C| = \lfloor K / 2 \rfloor

    of the :math:`K` classes in the partner's mask :math:`y_p`, each half equally likely. Where a
    partner has one class, nothing is pasted. The cells of a mask in the batch (`fields.Mask`) take
    their labels along.

    Reads: "mask", integers [B, ...] of the grid: labels, or a model's guesses.

    Args:
      ignore: an id that is no class, never pasted, such as 255 for cells without a label.

    Raises:
      MixError: `ignore` is no integer; at the draw, a mask of another shape or of no integers.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> y = np.array([[0, 0, 1, 1], [2, 2, 2, 3]])
      >>> plan = bm.draw(ClassMix(), bm.Key(0), 2, {"T": 4}, hints={"mask": y})
      >>> sorted(plan.mask[0].tolist()) in ([0, 0, 0, 255], [0, 255, 255, 255])
      True

    Differs from: half of an odd number of classes is rounded down, as in the authors' code; DACS
    and what is built on it round up.

    Source: Olsson et al., ClassMix, 2021, https://arxiv.org/abs/2007.07936
    """

    ignore: int | None = None
    reads: ClassVar[tuple[str, ...]] = ("mask",)

    def __post_init__(self) -> None:
        if not (self.ignore is None or is_whole(self.ignore)):
            raise mix_error(
                "ClassMix", f"got ignore={self.ignore!r}.", "It is an id that is no class.",
                "Pass for example ignore=255, or None.",
            )  # fmt: skip

    def sample(self, request: Request) -> Paste:
        """A number for each class of each row; the lower half of them is pasted."""
        found = regions("ClassMix", "mask", request)
        there = found.cells > 0
        if self.ignore is not None:
            there &= found.ids != self.ignore
        order = np.where(there, request.rng.random_sample(there.shape), 2).argsort(1).argsort(1)
        return pasted(found, order < there.sum(1, keepdims=True) // 2, request)
