"""Makes the sounds of docs/kinds/sound.md, and pictures of them: python docs/make_sounds.py

Two clips that are made here, a sweep and a beat that is a quarter as loud, and what policies make
of them. sounds/*.wav are to be heard; figures/sound.png shows the waves and their spectrograms.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from photographs import THEMES, Draw, small

import batchmix as bm
from batchmix.cli._output import write
from batchmix.cli.show.theme import Theme, drawn
from batchmix.fields import Audio
from batchmix.pairing import Reverse
from batchmix.policies import SNR, BetweenClass, CutMix, MixUp, SpecMix, Unpadded

HERE = Path(__file__).parent
RATE, CELLS, WINDOW, HOP = 8000, 6400, 256, 64
LENGTHS = np.array([CELLS, CELLS // 2])
# keys were chosen whose shares are well seen
WAYS: dict[str, tuple[Any, bm.Key]] = {
    "mixup": (MixUp(1.0), bm.Key(79)),
    "betweenclass": (BetweenClass(RATE), bm.Key(87)),
    "snr": (SNR(0, 0), bm.Key(0)),
    "cutmix": (CutMix(1.0, placement="inside"), bm.Key(256)),
    "specmix": (SpecMix(), bm.Key(19)),
    "unpadded": (Unpadded(CutMix(1.0, placement="inside")), bm.Key(256)),
}
TITLES = {"mixup": "MixUp", "betweenclass": "BetweenClass", "snr": "SNR, 0 dB",
          "cutmix": "CutMix in time", "specmix": "SpecMix", "unpadded": "Unpadded"}  # fmt: skip


def clips() -> np.ndarray[Any, Any]:
    """[2, T]: a sweep upwards, and a beat of six strokes."""
    at = np.arange(CELLS) / RATE
    sweep = np.sin(2 * np.pi * (300 * at + 1300 * at**2)) * np.minimum(1, 40 * at)
    fade = np.minimum(1, 40 * (at[-1] - at))
    stroke = np.exp(-30 * (at % (at[-1] / 6)))
    noise = np.random.default_rng(0).normal(size=CELLS)
    beat = stroke * (0.5 * np.sin(2 * np.pi * 900 * at) + 0.35 * noise)
    beat /= np.abs(beat).max()
    return np.stack([0.8 * sweep * fade, 0.2 * beat]).astype(np.float32)


def plan_of(name: str, x: Any) -> bm.Plan:
    """What the policy draws for the two."""
    policy, key = WAYS[name]
    size = {"H": WINDOW // 2 + 1, "T": frames(x)} if name == "specmix" else {"T": CELLS}
    hints = {"audio": x, "padding": np.arange(CELLS) < LENGTHS[:, None]}
    return bm.draw(policy, key, 2, size, pairing=Reverse(), hints=hints)


def frames(x: Any) -> int:
    """Of a spectrogram."""
    return 1 + (x.shape[1] - WINDOW) // HOP


def spectrum(x: Any) -> np.ndarray[Any, Any]:
    """[B, H, T]: magnitudes of the windows."""
    starts = np.arange(frames(x)) * HOP
    parts = x[:, starts[:, None] + np.arange(WINDOW)] * np.hanning(WINDOW)
    return np.asarray(np.abs(np.fft.rfft(parts)).transpose(0, 2, 1))


def save(name: str, samples: Any) -> None:
    """16 bits, one channel."""
    path = HERE / "sounds" / f"{name}.wav"
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.clip(np.rint(samples * 32767), -32768, 32767).astype("<i2").tobytes())


def rgb(colour: str) -> np.ndarray[Any, Any]:
    return np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255


def figures() -> dict[str, Draw]:
    """The picture of all, and a strip for the page of each policy, by name."""
    x, short = clips(), short_clips()
    whole = partial(picture, x, [name for name in WAYS if name != "unpadded"])
    strips: dict[str, Draw] = {
        f"gallery-{name}": partial(picture, x, [name])
        for name in ("betweenclass", "snr", "specmix")
    }
    return strips | {
        "sound": whole, "gallery-unpadded": partial(picture, short, ["cutmix", "unpadded"])
    }  # fmt: skip


def short_clips() -> np.ndarray[Any, Any]:
    """The two, and the partner ends after half of the time."""
    x = clips() * np.float32([[1], [3]])
    return x * (np.arange(CELLS) < LENGTHS[:, None])


def picture(x: Any, names: Sequence[str], theme: Theme) -> bytes:
    """A column for each clip: its wave, its spectrogram; blue the row's, orange the partner's."""
    columns: list[tuple[str, Any, Any]] = [("the row", 1.0, 0.0), ("its partner", 0.0, 1.0)]
    columns += [(TITLES[name], *_parts(name, x)) for name in names]
    lines = spectrum(x)
    with drawn(theme):
        canvas = Figure(figsize=(1.32 * len(columns), 2.6))
        axes = canvas.subplots(2, len(columns), sharey="row", height_ratios=[1, 1.5])
        canvas.subplots_adjust(0.005, 0.02, 0.995, 0.91, wspace=0.05, hspace=0.06)
        for (top, bottom), (title, own, theirs) in zip(axes.T, columns):
            top.set_title(title, fontsize=8.5, pad=3)
            if getattr(own, "ndim", 0) == 2:
                top.text(0.5, 0.5, "of spectrograms", ha="center", va="center", fontsize=7,
                         color=theme["soft"], transform=top.transAxes)  # fmt: skip
            else:
                _draw_waves(top, x, (own, theirs), theme)
            shown = _whose(
                [_along(s) * lines[k] for k, s in enumerate((own, theirs))], lines, theme
            )
            bottom.imshow(shown, origin="lower", aspect="auto", interpolation="nearest")
        for one in axes.flat:
            one.set(xticks=[], yticks=[])
            one.spines[:].set_color(theme["frame"])
        for one in axes[0]:
            one.set(xlim=(0, CELLS), ylim=(-1, 1))
        content = io.BytesIO()
        canvas.savefig(content, format="png", dpi=115)
    return small(content.getvalue(), colours=20)


def _parts(name: str, x: Any) -> tuple[Any, Any]:
    """How much of the row and of its partner is in each cell."""
    plan = plan_of(name, x)
    grid = np.zeros((2, *plan.size))
    grid[1] = 1
    theirs = bm.mix(grid, plan, "NHT" if name == "specmix" else "NT")[0]
    divisor = np.hypot(theirs, 1 - theirs) if name == "betweenclass" else 1.0
    return (1 - theirs) / divisor, theirs / divisor


def _draw_waves(axes: Any, x: Any, shares: Sequence[Any], theme: Theme) -> None:
    """Both as they are in the mix, one over the other."""
    for k, (share, who) in enumerate(zip(shares, ("own", "partner"))):
        line = np.where(np.broadcast_to(share, CELLS) > 0, share * x[k], np.nan)
        if np.any(share):
            axes.plot(line, color=theme[who], lw=0.4, alpha=0.8)


def _whose(parts: Sequence[Any], lines: Any, theme: Theme) -> Any:
    """[H, T, 3]: each cell in the colour of whose it is, as strong as it is loud."""
    total = np.maximum(sum(parts), 1e-9)
    strength = np.clip(1 + np.log10(total / lines.max()) / 2.4, 0, 1)[..., None]
    whose = (parts[0] / total)[..., None]
    ink = whose * rgb(theme["own"]) + (1 - whose) * rgb(theme["partner"])
    return (1 - strength) * rgb(theme["page"]) + strength * ink


def _along(share: Any) -> Any:
    """A share of each cell of a wave, at the middle of each window of the spectrogram."""
    share = np.asarray(share)
    return share if share.ndim != 1 else share[np.arange((CELLS - WINDOW) // HOP + 1) * HOP + 128]


def main() -> None:
    """The sounds, and the picture for both pages."""
    x = clips()
    save("row", x[0])
    save("partner", x[1])
    for name in WAYS:
        if name not in ("specmix", "unpadded"):
            field = Audio("NT", keep_energy=name == "betweenclass")
            save(name, field(x, plan_of(name, x))[0])
    for name, draw in figures().items():
        for end, theme in THEMES.items():
            write(HERE / "figures" / f"{name}{end}.png", draw(theme))


if __name__ == "__main__":
    main()
