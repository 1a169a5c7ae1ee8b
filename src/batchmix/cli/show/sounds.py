"""Sounds on a page: players that need no other file."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray


def player(clip: NDArray[Any], rate: int) -> str:
    """HTML that plays a clip [T, C], its samples unchanged where they are int16 or float32."""
    from scipy.io import wavfile

    content = io.BytesIO()
    plain = clip if clip.dtype in (np.int16, np.uint8) else clip.astype(np.float32)
    wavfile.write(content, rate, plain)
    data = base64.b64encode(content.getvalue()).decode()
    return f'<audio controls preload="none" src="data:audio/wav;base64,{data}"></audio>'
