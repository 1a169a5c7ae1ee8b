"""Image files as RGB: headers and rules first, then pixels."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import MixError
from batchmix.cli.lab.data.names import bad_file, reason

RULES = 1  # counts up when an image is read in another way than before
MOST_PIXELS = 64_000_000
# A file is opened by what is in it, and by these readers only, whatever its suffix says. At the
# first name that it does not know Pillow imports all of its readers: the frequent ones come first.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF")
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _ORIENTATION = 258, 262, 339, 274  # tags of TIFF
_DEPTHS = "Images of 8 or 16 bits per channel are read, scaled by their depth."


class Header(NamedTuple):
    """What is known of a row without its values."""

    shape: tuple[int, ...]  # as the row is read
    remark: str = ""  # what is worth counting


@dataclass(frozen=True)
class Images:
    """Reads the image files of a folder."""

    root: str
    names: list[str]

    def __call__(self, i: int) -> NDArray[np.uint8]:
        """uint8 [H, W, 3]."""
        return read_image(self._path(i), self._path(i))

    def check(self, i: int, pixels: bool) -> Header:
        """Raise what reading row i would raise; without pixels, only what its header tells."""
        return check_image(self._path(i), self._path(i), pixels)

    def _path(self, i: int) -> str:
        return str(Path(self.root, self.names[i]))


def read_image(file: str | IO[bytes], where: str) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] of a file; `where` names it in messages."""
    return np.asarray(_look(file, where, pixels=True)[1])


def check_image(file: str | IO[bytes], where: str, pixels: bool) -> Header:
    """Size, and whether it can be read."""
    return _look(file, where, pixels)[0]


def _look(file: str | IO[bytes], where: str, pixels: bool) -> tuple[Header, Any]:
    """The header and, if asked for, the RGB image, upright."""
    from PIL import Image

    # of bad metadata, and of many pixels, for which there is an own bound
    warnings.filterwarnings("ignore", module="PIL")
    try:
        with Image.open(file, formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise _too_large(where, f"{width} x {height}")
            highest = _highest(image, where)
            turn = _turn(image)
            if turn and turn >= Image.Transpose.ROTATE_90 and turn != Image.Transpose.ROTATE_180:
                width, height = height, width
            remark = "images have several frames: the first is read" if _moves(image) else ""
            header = Header((height, width, 3), remark)
            if not pixels:
                return header, None
            colour = _colour(image, highest)
            return header, colour if turn is None else colour.transpose(turn)
    except MixError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(where, (re.findall(r"\d+", str(error)) or ["too many"])[0]) from None
    except Image.UnidentifiedImageError:
        raise _broken(where, "no image that can be read") from None
    except Exception as error:  # what decoders raise on broken files has no bounds
        raise _broken(where, reason(error)) from None


def _highest(image: Any, where: str) -> int:
    """The value of white."""
    tags = image.tag_v2 if image.format == "TIFF" else {}
    if set(tags.get(_SAMPLE_FORMAT, (1,))) - {1, 4} or image.mode == "F":
        what = "signed integers" if image.mode in ("L", "I") else "floating-point numbers"
        if image.mode == "I" and set(tags.get(_BITS, ())) != {16}:
            what = "32-bit integers"
        raise _unclear(where, what)
    if image.mode == "I" and image.format not in ("PNG", "PPM"):  # these two have 16 bits at most
        raise _unclear(where, "32-bit integers")
    if image.mode.startswith("I"):
        return int((1 << tags.get(_BITS, (16,))[0]) - 1)
    return 255


def _turn(image: Any) -> Any:
    """How to turn the image upright, by the EXIF in front of its pixels; None: it is."""
    from PIL.Image import Transpose

    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return None  # Pillow turns TIFF itself, and reads all of a PNG to find EXIF at its end
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE, 6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }  # fmt: skip
    try:
        return turns.get(image.getexif().get(_ORIENTATION))
    except Exception:  # unreadable EXIF says nothing about the pixels
        return None


def _moves(image: Any) -> bool:
    """Whether there are frames or pages after the first."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a broken second frame: the first is what is read
        return True


def _colour(image: Any, highest: int) -> Any:
    """RGB, 8 bits; what is transparent lies on white."""
    from PIL import Image

    if image.mode.startswith("I"):
        grey = np.round(np.asarray(image).astype(np.float64) * (255 / highest)).astype(np.uint8)
        if image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == 0:
            grey = 255 - grey
        if "transparency" in image.info:
            grey = np.where(np.asarray(image) == image.info["transparency"], 255, grey)
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    return image.convert("RGB")


def _broken(where: str, why: str) -> MixError:
    return bad_file(
        where,
        f"the image cannot be decoded ({why}).",
        "Every file with the suffix of an image is read.",
    )


def _too_large(where: str, size: str) -> MixError:
    return bad_file(
        where,
        f"it has {size} pixels.",
        f"Images of at most {MOST_PIXELS // 10**6} million pixels are read.",
        "Make it smaller or remove it.",
    )


def _unclear(where: str, what: str) -> MixError:
    return bad_file(
        where, f"its pixels are {what}, whose white is not known.", _DEPTHS, "Convert it to 8 bits."
    )
