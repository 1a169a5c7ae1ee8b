"""timm's training transform: random resized crop, flip, RandAugment, random erasing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in 0..1


class TimmTransform:
    """uint8 [H, W, C] -> uint8 of the size: rand-m9-mstd0.5-inc1, then erasing with chance 1/4.

    timm erases normalised floats with N(0, 1); here the same noise goes to uint8 by ImageNet's mean
    and spread, so it is rounded, and the 3 % of it outside of 0..255 are clipped.
    Grey images go through it as RGB.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        try:
            from timm.data import create_transform
            from timm.data.random_erasing import RandomErasing
        except (ImportError, RuntimeError) as error:  # torchvision's of another torch: RuntimeError
            raise mix_error(
                "--augment timm",
                f"timm or torchvision cannot be imported ({error}).",
                "RandAugment and random erasing are theirs.",
                "pip install 'batchmix[timm]', or use --augment light.",
            ) from None
        self._transform = create_transform(
            (3, *size),
            is_training=True,
            use_prefetcher=True,  # uint8 comes out
            auto_augment="rand-m9-mstd0.5-inc1",
            interpolation="random",
            mean=MEAN,
            std=STD,
        )
        self._erase = RandomErasing(0.25, mode="pixel", device="cpu")

    def __call__(self, x: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """The image, a function of it and the seed (0..2^53)."""
        import torch
        from PIL import Image

        grey = x.shape[-1] == 1
        image = Image.fromarray(x[..., 0] if grey else x[..., :3]).convert("RGB")
        with _seeded(seed):
            found = torch.as_tensor(self._transform(image)).numpy()  # either, by version
            # erased cells are told by being no number before
            noise = self._erase(torch.full(found.shape, torch.nan)).numpy()
        if not np.isnan(noise).all():
            shape = (3, 1, 1)
            cells = (noise * np.reshape(STD, shape) + np.reshape(MEAN, shape)) * 255
            found = np.where(np.isnan(noise), found, np.clip(np.rint(cells), 0, 255))
        pixels: NDArray[np.uint8] = found.astype(np.uint8).transpose(1, 2, 0)
        if grey:
            pixels = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))
        return pixels.reshape(*pixels.shape[:2], -1)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The global generators that timm reads, seeded, and then as they were."""
    import torch

    generator: Any = torch.default_generator  # of the host; CUDA's are left alone
    before = random.getstate(), np.random.get_state(), generator.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        generator.set_state(before[2])
