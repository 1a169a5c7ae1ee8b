"""Sounds on a page: players that need no other file."""

from __future__ import annotations

import base64
import io
from typing import Any

from numpy.typing import NDArray


def player(clip: NDArray[Any], rate: int) -> str:
    """HTML that plays a clip [T, C], with its samples unchanged."""
    from scipy.io import wavfile

    content = io.BytesIO()
    wavfile.write(content, rate, clip)
    data = base64.b64encode(content.getvalue()).decode()
    return f'<audio controls preload="none" src="data:audio/wav;base64,{data}"></audio>'
