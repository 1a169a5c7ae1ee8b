"""Pictures that a visitor gives: decoded here, held in memory, forgotten with the process."""

from __future__ import annotations

import base64
import binascii
import io
import json
import secrets
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import MixError, mix_error
from batchmix.cli._output import shown
from batchmix.cli.lab.data.digits import Memory
from batchmix.cli.lab.rows import Data, Rows, Task
from batchmix.cli.show.shown import Source

SIDE = 160  # px that the page makes of every picture
MOST_PICTURES, MOST_SETS = 12, 8
PREFIX = "own-"


class Own:
    """Sets of pictures by a name that cannot be guessed; the oldest is forgotten for a new one."""

    def __init__(self) -> None:
        self._sets: dict[str, Source] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Source | None:
        """The pictures of a name, if they are still here."""
        return self._sets.get(name)

    def put(self, body: bytes) -> str:
        """Read what the page sends, [{"name", "data"}, ...]; the name of the new set."""
        try:
            given = json.loads(body)
            pairs = [(str(one["name"]), base64.b64decode(one["data"], validate=True))
                     for one in given]  # fmt: skip
        except (ValueError, TypeError, KeyError, RecursionError, binascii.Error):
            raise _wrong("They do not read as pictures.") from None
        if not 2 <= len(pairs) <= MOST_PICTURES:
            raise _wrong(f"There are {len(pairs)}.")
        x = np.stack([_pixels(content) for _, content in pairs])
        names = _unlike([shown(name)[:40] or "picture" for name, _ in pairs])
        y = np.arange(len(x))
        data = Data("your pictures", "", "image", Task("classes", tuple(names)),
                    Rows(names, y, Memory(x)), shape=x.shape[1:])  # fmt: skip
        name = PREFIX + secrets.token_hex(16)
        with self._lock:
            self._sets[name] = Source(data)
            while len(self._sets) > MOST_SETS:
                del self._sets[next(iter(self._sets))]
        return name


def _pixels(content: bytes) -> NDArray[np.uint8]:
    """uint8 [SIDE, SIDE, 3]; its header is looked at before anything is unpacked."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["PNG", "JPEG"]) as image:
            if image.size != (SIDE, SIDE):
                raise _wrong(f"One is {image.size[0]} x {image.size[1]}.")
            return np.asarray(image.convert("RGB"))
    except MixError:
        raise
    except Exception:  # whatever a broken file makes of a decoder
        raise _wrong("One does not read as a PNG or a JPEG.") from None


def _unlike(names: list[str]) -> list[str]:
    """The names, those that come again with a number."""
    found: list[str] = []
    for name in names:
        again, count = name, 1
        while again in found:
            count += 1
            again = f"{name} {count}"
        found.append(again)
    return found


def _wrong(got: str) -> MixError:
    return mix_error(
        "your pictures", got, f"They are 2 to {MOST_PICTURES}, {SIDE} px wide each.",
        "Drop or paste other pictures.",
    )  # fmt: skip


def own_rows(one: Any) -> bool:
    """Whether a data set is one of those."""
    return bool(one.name == "your pictures" and not one.root)
