"""WAV files: what has a header can be read as waves and as mel, or is refused."""

import numpy as np

from batchmix.cli.lab.data.sounds import Sounds, form_of
from fuzz.refusals import FOLDER, refused
from made_files import wav


def seeds():
    data = bytes(range(240)) * 2
    return [
        wav(data), wav(data, bits=8), wav(data, bits=24), wav(data, bits=32),
        wav(data, bits=32, kind=3), wav(data, bits=64, kind=3), wav(data, channels=2),
        wav(data, rate=44100), wav(data, kind=0xFFFE, form=bytes(8) + b"\1\0" + bytes(14)),
    ]  # fmt: skip


def one(data):
    path = FOLDER / "sound.wav"
    path.write_bytes(data)
    for sound in ("wave", "mel"):
        for seconds in (None, 0.01):
            with refused("sound.wav" if seconds is None else ""):
                form, _ = form_of(str(FOLDER), [path.name], seconds)
                if form.cells > 10**6:
                    continue
                row = Sounds(str(FOLDER), [path.name], sound, form)
                header = row.check(0, True)
                x = row(0)
                assert header.shape == x.shape
                assert np.isfinite(x).all()
