"""SaliencyMix: a box of the partner around what stands out in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from batchmix._errors import mix_error
from batchmix.policies._paste import Paste, Request, alike
from batchmix.policies._saliency import peaks
from batchmix.policies.cutmix import around
from batchmix.policies.mixup import beta, check_alpha


@dataclass(frozen=True)
class SaliencyMix:
    r"""Paste a box of the partner around the cell where it is most salient.

    .. math:: s_a = n_a \sqrt{1 - \lambda}, \qquad \lambda \sim \mathrm{Beta}(\alpha, \alpha)

    are the sides, as of `CutMix`, clipped at the border as there. Saliency is the spectral residual
    of the grey image, faded at its sides, in at most 32 x 32 cells. In a partner without any (one
    colour, NaN) the centre is uniform over the grid.

    Reads: "image", numbers [B, H, W] or [B, H, W, C], channels last: before mixing, on the host.

    Args:
      alpha: parameter of the Beta distribution, > 0.

    Raises:
      MixError: alpha out of range; at the draw, no two axes, or images of another size.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> x = np.zeros((2, 32, 32), np.uint8)
      >>> x[:, 20:24, 4:8] = 255
      >>> plan = bm.draw(SaliencyMix(1.0), bm.Key(1), 2, {"H": 32, "W": 32}, hints={"image": x})
      >>> bool((plan.box[:, 0, 0] <= 22).all() and (22 <= plan.box[:, 0, 1]).all())
      True

    Differs from: the authors' code, and OpenMixup's, takes the box of one image for the whole
    batch; here each partner has its own. They ask OpenCV for its fine-grained saliency. Without
    fading, 23 of 30 images of CIFAR-10 at 64 x 64 have the peak of their spectral residual at the
    border, where opposite sides do not meet; with it none.

    Source: Uddin et al., SaliencyMix, 2021, https://arxiv.org/abs/2006.01791; Hou and Zhang,
    Saliency Detection: A Spectral Residual Approach, 2007, https://doi.org/10.1109/CVPR.2007.383267
    """

    alpha: float = 1.0
    reads: ClassVar[tuple[str, ...]] = ("image",)

    def __post_init__(self) -> None:
        check_alpha("SaliencyMix", self.alpha)

    def sample(self, request: Request) -> Paste:
        """One box per row, opacity 1."""
        images, size = np.asarray(request.theirs["image"]), tuple(request.size.values())
        fits = images.ndim in (3, 4) and images.shape[1:3] == size and images.size
        if len(size) != 2 or (len(request.partner) and not fits) or images.dtype.kind not in "biuf":
            raise mix_error(
                "SaliencyMix", f"the hint 'image' has shape {images.shape} and dtype "
                f"{images.dtype}; the draw has size={dict(request.size)}.",
                "It looks at images of two axes, [B, H, W] or [B, H, W, C].",
                "Turn NCHW into that: x.transpose(0, 2, 3, 1).",
            )  # fmt: skip
        rng, batch = request.rng, len(request.partner)
        sides = np.array(size, np.int32)
        side = sides * np.sqrt(1 - beta(rng, self.alpha, batch))[:, None]
        anywhere = (rng.random_sample((batch, 2)) * sides).astype(np.int32)
        rows, at = np.unique(request.partner, return_inverse=True)
        centre, some = peaks(images, rows)
        centre = np.where(some[at, None], centre[at], anywhere)
        return Paste(around(centre, side.astype(np.int32), sides), *alike(request, 1, 0))
