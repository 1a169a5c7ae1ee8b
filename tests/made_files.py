"""Files as other programs write them, and as broken ones do: PNG, TIFF and WAV made by hand."""

import struct
import zlib

import numpy as np

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def png(values, depth=8, colour=0, size=None):
    """A PNG of [H, W] or [H, W, C] values; `size` is what its header says instead of (W, H)."""
    rows = np.asarray(values, ">u2" if depth == 16 else "u1")
    content = b"".join(b"\0" + row.tobytes() for row in rows)
    width, height = size or (rows.shape[1], rows.shape[0])
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(content)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def tiff(values, code, kind=1, order="<", photometric=None, bits=None):
    """An uncompressed TIFF of [H, W] or [H, W, 3]; kind 1: unsigned, 2: signed, 3: float."""
    values = np.asarray(values)
    height, width = values.shape[:2]
    samples = values.shape[2] if values.ndim == 3 else 1
    content = values.astype(order + code).tobytes()
    bits = bits or 8 * np.dtype(code).itemsize
    photometric = photometric if photometric is not None else (2 if samples == 3 else 1)
    after = 8 + 2 + 12 * 10 + 4  # where long values stand, and the content behind them
    tags = [
        (256, "I", [width]), (257, "I", [height]), (258, "H", [bits] * samples), (259, "H", [1]),
        (262, "H", [photometric]), (273, "I", [after + 4 * samples]), (277, "H", [samples]),
        (278, "I", [height]), (279, "I", [len(content)]), (339, "H", [kind] * samples),
    ]  # fmt: skip
    out = struct.pack(order + "2sHIH", b"II" if order == "<" else b"MM", 42, 8, len(tags))
    long = b""
    for tag, letter, found in tags:
        data = struct.pack(f"{order}{len(found)}{letter}", *found)
        if len(data) > 4:
            data, long = struct.pack(order + "I", after + len(long)), long + data
        out += struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[letter], len(found))
        out += data.ljust(4, b"\0")
    return out + bytes(4) + long.ljust(4 * samples, b"\0") + content


def wav(
    data=bytes(2000), rate=8000, channels=1, bits=16, kind=1, block=None, length=None, form=b""
):
    """A WAV file; everything in its header may be a lie."""
    block = channels * bits // 8 if block is None else block
    head = struct.pack("<HHIIHH", kind, channels, rate, rate * block % 2**32, block % 2**16, bits)
    head += form
    body = b"fmt " + struct.pack("<I", len(head)) + head
    body += b"data" + struct.pack("<I", len(data) if length is None else length) + data
    return b"RIFF" + struct.pack("<I4s", len(body) + 4, b"WAVE") + body
