"""Tones and chirps of different lengths: what is heard in a mix is named, padding is not mixed.

python examples/sounds.py [--quick]        needs batchmix, torch
"""

import argparse

import numpy as np
import torch
from torch import nn

import batchmix as bm
from batchmix.fields import Audio, Labels, PaddingMask
from batchmix.policies import SNR, CutMix, Switch, Unpadded

RATE, CELLS = 4000, 2000
NAMES = ("low tone", "high tone", "rising chirp", "falling chirp")
ENDS = ((300, 300), (1100, 1100), (400, 1500), (1500, 400))  # of each class, in Hz


def sound(rng, kind, cells):
    """One source: its frequency goes from one end to the other, at a level of its own."""
    at = np.arange(cells) / RATE
    start, end = np.array(ENDS[kind]) * rng.uniform(0.85, 1.15)
    phase = start * at + (end - start) * at**2 / (2 * cells / RATE)
    return 10 ** rng.uniform(-1, 0) * np.sin(2 * np.pi * (phase + rng.uniform()))


def clips(rng, rows, sources):
    """Clips of `sources` classes at once, padded to one length; a mask of content, and labels."""
    waves, labels = np.zeros((rows, CELLS)), np.zeros((rows, len(NAMES)))
    lengths = rng.integers(CELLS // 3, CELLS + 1, rows)
    content = np.arange(CELLS) < lengths[:, None]
    for row, cells in enumerate(lengths):
        for kind in rng.permutation(len(NAMES))[:sources]:
            waves[row, :cells] += sound(rng, kind, cells)
            labels[row, kind] = 1
        waves[row, :cells] += 0.05 * rng.normal(size=cells)
    return {
        "wave": torch.tensor(waves, dtype=torch.float32)[:, None],
        "content": torch.tensor(content),
        "label": torch.tensor(labels, dtype=torch.float32),
    }


class Net(nn.Module):
    """Convolutions over the wave, and the mean over what is content."""

    def __init__(self):
        super().__init__()
        layers = [nn.Conv1d(1, 32, 64, stride=8, padding=28), nn.ReLU()]
        layers += [nn.Conv1d(32, 64, 9, padding=4), nn.BatchNorm1d(64), nn.ReLU()]
        self.body, self.head = nn.Sequential(*layers), nn.Linear(64, len(NAMES))

    def forward(self, wave, content):
        level = wave.square().sum(2, keepdim=True) / content.sum(1)[:, None, None]
        found = self.body(wave / (level.sqrt() + 1e-6))
        there = content[:, None, 4::8].float()
        return self.head((found * there).sum(2) / there.sum(2).clamp(min=1))


def trained(policy, epochs):
    """Taught one source at a time; how many of the classes of clips with two it gets right."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    train, test = clips(rng, 480, sources=1), clips(rng, 400, sources=2)
    fields = {
        "wave": Audio("NCT"), "content": PaddingMask("NT"),
        "label": Labels(len(NAMES), rule="union"),
    }  # fmt: skip
    mixer = bm.Mixer(policy, fields, seed=0)
    net, loss = Net(), nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for epoch in range(epochs):
        mixer.set_epoch(epoch)
        for at in torch.randperm(480).split(32):
            mixed = mixer({name: part[at] for name, part in train.items()})
            optimizer.zero_grad()
            loss(net(mixed["wave"], mixed["content"]), mixed["label"]).backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        two = net(test["wave"], test["content"]).topk(2).indices
    return float(test["label"].gather(1, two).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few epochs")
    epochs = 3 if parser.parse_args().quick else 30
    both = Unpadded(Switch([SNR(-5, 5), CutMix(1.0)]))
    for name, policy in (("one at a time", None), ("mixed", both)):
        print(f"{name:14} classes of two at once found: {trained(policy, epochs):.3f}")


if __name__ == "__main__":
    main()
