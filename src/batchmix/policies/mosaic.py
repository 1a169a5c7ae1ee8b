"""Mosaic: four rows around a centre."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix.policies._paste import Paste, Request, alike, whole
from batchmix.policies.mixup import check_alpha
from batchmix.policies.resizemix import Resample, check_resample


@dataclass(frozen=True)
class Mosaic:
    r"""Tile four rows around a random centre: the row itself, and three partners.

    .. math:: w_q = h_q v_q / (n_1 n_2)

    is the label's share of the row in quadrant q, of sides h and v. The row keeps one quadrant,
    each of the four equally often, with its pixels where they are; the others show a partner each.

    Args:
      fit: "resize" squeezes a whole partner into its quadrant, "crop" cuts a piece of its size at a
        uniform position out of it.
      beta: the centre, as shares of the sides, is drawn from Beta(beta, beta), > 0; left out, it is
        uniform in the middle half of each side.
      resample: "bilinear", or "nearest", the nearest cell (which ids always take).

    Raises:
      MixError: a parameter out of range, or a draw that has not two axes.

    Example:
      >>> import batchmix as bm
      >>> plan = bm.draw(Mosaic(), bm.Key(seed=0), batch=256, size={"H": 32, "W": 32})
      >>> plan.weights.shape, bool(abs(plan.weights.mean(0) - 0.25).max() < 0.02)
      ((256, 4), True)

    Differs from: in YOLO's Mosaic and in RICAP the row's own piece is moved too: resized or cut at
    a random position. YOLO puts the four side by side at full size and cuts a window out of them;
    its centre is that of the default here. RICAP is ``Mosaic(fit="crop", beta=0.3)``, with another
    centre for each row (wrap in `PerBatch` for one per batch).

    Source: Bochkovskiy et al., YOLOv4, 2020, section 3.3, https://arxiv.org/abs/2004.10934;
    Takahashi et al., RICAP, 2018, https://arxiv.org/abs/1811.09030
    """

    layers: ClassVar[int] = 3

    fit: Literal["resize", "crop"] = "resize"
    beta: float | None = None
    resample: Resample = "bilinear"

    def __post_init__(self) -> None:
        if self.fit not in ("resize", "crop"):
            raise mix_error(
                "Mosaic", f"got fit={self.fit!r}.",
                "A partner is squeezed into its quadrant, or a piece is cut out of it.",
                "Pass 'resize' or 'crop'.",
            )  # fmt: skip
        if self.beta is not None:
            check_alpha("Mosaic", self.beta, "beta")
        check_resample("Mosaic", self.resample)

    def sample(self, request: Request) -> Paste:
        """Three pastes side by side, opacity 1."""
        if len(request.size) != 2:
            raise mix_error(
                "Mosaic", f"the draw has size={dict(request.size)!r}.",
                "Four quadrants need two axes.",
                "Draw with size={'H': height, 'W': width}; CutMix and GridMix take any axes.",
            )  # fmt: skip
        rng, batch = request.rng, len(request.partner)
        size = np.array([*request.size.values()], np.int32)
        if self.beta is None:
            share = 0.25 + 0.5 * rng.random_sample((batch, 2))
        else:
            share = rng.beta(self.beta, self.beta, (batch, 2))
        centre = np.rint(share * size).astype(np.int32)
        own = (4 * rng.random_sample(batch)).astype(np.int32)  # its quadrant
        pastes = []
        for k in (1, 2, 3):
            box = _quadrant((own + k) % 4, centre, size)
            source = whole(request) if self.fit == "resize" else _piece(rng, box, size)
            columns = (box, *alike(request, 1, 0))
            pastes.append(Paste(*columns, source=source, resample=self.resample))
        first, *above = pastes
        return Paste(**first.columns(), resample=self.resample, above=tuple(above))


def _quadrant(
    number: NDArray[np.int32], centre: NDArray[np.int32], size: NDArray[np.int32]
) -> NDArray[np.int32]:
    """[B, 2, 2]: 0 is above and to the left, 1 above to the right, 2 and 3 are below."""
    after = np.stack([number >= 2, number % 2 == 1], 1)
    return np.stack([np.where(after, centre, 0), np.where(after, size, centre)], -1)


def _piece(rng: np.random.RandomState, box: NDArray[Any], size: NDArray[np.int32]) -> Any:
    """[B, 2, 2]: regions of the shape of the boxes, at a uniform position."""
    side = box[..., 1] - box[..., 0]
    low = (rng.random_sample(side.shape) * (size - side + 1)).astype(np.int32)
    return np.stack([low, low + side], -1)
