"""Segmentation masks beside images: PNG files of the same names, whose values are ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import MixError
from batchmix.cli.lab.data.images import MOST_PIXELS
from batchmix.cli.lab.data.names import bad_file, reason

_RULE = "A mask is a PNG with palette or in grey, of the image's name and size; values are ids."
_MODES = ("P", "L", "1", "I", "I;16")


def read_mask(folder: Path, name: str, size: tuple[int, ...]) -> NDArray[np.int32]:
    """int32 [H, W] of the mask of the image `name`, whose height and width `size` are."""
    path = folder / Path(name).with_suffix(".png").name
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as image:
            width, height = image.size
            if width * height > MOST_PIXELS or image.mode not in _MODES:
                raise bad_file(str(path), f"it is {width} x {height}, {image.mode}.", _RULE)
            ids = np.asarray(image).astype(np.int32)
    except MixError:
        raise
    except FileNotFoundError:
        raise bad_file(str(path), "it is not there.", _RULE, "Add it.") from None
    except Exception as error:  # what decoders raise on broken files has no bounds
        raise bad_file(str(path), f"it cannot be read ({reason(error)}).", _RULE) from None
    if ids.shape != tuple(size):
        raise bad_file(
            str(path), f"it is {width} x {height}, the image {size[1]} x {size[0]}.", _RULE
        )
    return ids
