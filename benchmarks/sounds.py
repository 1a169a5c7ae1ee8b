"""Ways of mixing sounds, on spoken digits of speakers that the model has not heard.

    python benchmarks/sounds.py path/to/free-spoken-digit-dataset/recordings

Few recordings of four speakers train a small network on log-mel spectrograms; all of the other two
are the test. What blends or cuts waves does so before the spectrogram is made. The epochs are the
same for all, the last one counts, and nothing is chosen by the test. One core, about 20 minutes;
benchmarks/evidence/sounds.json is written after each run.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import batchmix as bm
from batchmix.fields import Audio, Labels
from batchmix.pairing import Derangement, OtherClass
from batchmix.policies import SNR, BetweenClass, CutMix, MixUp, SpecMix, Unpadded

HERE = Path(__file__).parent
HELD_OUT = ("theo", "yweweler")
RATE, CELLS, WINDOW, HOP, BANDS = 8000, 6400, 256, 128, 40
ARMS: dict[str, tuple[str, Any]] = {
    "none": ("wave", None),
    "mixup": ("wave", MixUp(1.0)),
    "betweenclass": ("wave", BetweenClass(RATE)),
    "snr": ("wave", SNR(0, 5)),
    "cut in time": ("wave", CutMix(1.0)),
    "cut in time, unpadded": ("wave", Unpadded(CutMix(1.0))),
    "specmix": ("mel", SpecMix()),
}


def recordings(folder: Path) -> dict[str, Any]:
    """All waves, cut or padded to one length; which cells are sound; digits and speakers."""
    paths = sorted(folder.glob("*.wav"))
    waves = np.zeros((len(paths), CELLS), np.float32)
    content = np.zeros((len(paths), CELLS), np.uint8)
    for row, path in enumerate(paths):
        with wave.open(str(path)) as file:
            samples = np.frombuffer(file.readframes(CELLS), np.int16) / 32768
        waves[row, : len(samples)] = samples
        content[row, : len(samples)] = 1
    names = [path.stem.split("_") for path in paths]
    return {
        "waves": torch.tensor(waves), "content": torch.tensor(content),
        "labels": torch.tensor([int(name[0]) for name in names]),
        "heard": np.array([name[1] not in HELD_OUT for name in names]),
    }  # fmt: skip


class LogMel(nn.Module):  # type: ignore[misc]
    """[B, T] -> [B, bands, frames], less its mean, so that the level does not count."""

    def __init__(self) -> None:
        super().__init__()
        top = 2595 * math.log10(1 + RATE / 2 / 700)
        edges = 700 * (10 ** (torch.linspace(0, top, BANDS + 2) / 2595) - 1)
        at = torch.linspace(0, RATE / 2, WINDOW // 2 + 1)
        up = (at - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
        down = (edges[2:, None] - at) / (edges[2:] - edges[1:-1])[:, None]
        self.register_buffer("bands", torch.minimum(up, down).clamp(min=0))
        self.register_buffer("window", torch.hann_window(WINDOW))

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        lines = torch.stft(waves, WINDOW, HOP, window=self.window, return_complex=True)
        found = torch.log(self.bands @ lines.abs().square() + 1e-4)
        return found - found.mean((1, 2), keepdim=True)


def network() -> nn.Module:
    """Four convolutions, 10 classes."""
    layers: list[nn.Module] = []
    for before, after in ((1, 24), (24, 48), (48, 96), (96, 96)):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)]
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10))


def trained(data: dict[str, Any], arm: str, seed: int, rows: int, epochs: int) -> float:
    """Accuracy on the speakers that were held out."""
    where, policy = ARMS[arm]
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    some = torch.tensor(rng.permutation(np.flatnonzero(data["heard"]))[:rows])
    test = torch.tensor(np.flatnonzero(~data["heard"]))
    mel, model = LogMel(), network()
    between = isinstance(policy, BetweenClass)
    sound = Audio("NT", keep_energy=between) if where == "wave" else Audio("NHT")
    mixer = bm.Mixer(
        policy, {"sound": sound, "label": Labels(10)}, seed=seed,
        pairing=OtherClass() if between else Derangement(),
        axes="T" if where == "wave" else "HT",
        hints={"padding": "content"} if isinstance(policy, Unpadded) else None,
    )  # fmt: skip
    steps = epochs * (rows // 32)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.02)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for epoch in range(epochs):
        mixer.set_epoch(epoch)
        order = some[torch.randperm(rows)]
        model.train()
        for at in order[: rows // 32 * 32].split(32):
            waves = data["waves"][at]
            batch = {
                "sound": waves if where == "wave" else mel(waves),
                "content": data["content"][at], "label": data["labels"][at],
            }  # fmt: skip
            mixed = mixer(batch)
            seen = mel(mixed["sound"]) if where == "wave" else mixed["sound"]
            loss = F.cross_entropy(model(seen[:, None]), mixed["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
    model.eval()
    with torch.no_grad():
        right = [(model(mel(data["waves"][at])[:, None]).argmax(1) == data["labels"][at])
                 for at in test.split(250)]  # fmt: skip
    return float(torch.cat(right).float().mean())


def main() -> None:
    """Every arm with every seed; seeds of an arm see the rows that those of another see."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder of the recordings")
    parser.add_argument("--rows", type=int, default=320, help="recordings to train on")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "evidence" / "sounds.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = recordings(args.data)
    report: dict[str, Any] = {
        "command": f"python benchmarks/sounds.py recordings --rows {args.rows} --epochs "
        f"{args.epochs} --seeds {args.seeds}",
        "data": "Free Spoken Digit Dataset", "held_out": HELD_OUT, "test_rows": int(
            (~data["heard"]).sum()), "policies": {n: repr(p) for n, (_, p) in ARMS.items()},
        "accuracy": {name: [] for name in ARMS}, "seconds": 0.0,
    }  # fmt: skip
    start = time.monotonic()
    for seed in range(args.seeds):
        for arm in ARMS:
            found = trained(data, arm, seed, args.rows, args.epochs)
            report["accuracy"][arm].append(round(found, 4))
            report["seconds"] = round(time.monotonic() - start)
            print(f"{arm:24} seed {seed}  {found:.4f}  {report['seconds']} s", flush=True)
            args.out.write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
