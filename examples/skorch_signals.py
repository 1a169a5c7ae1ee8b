"""Signals of four frequencies with skorch: whole stretches of time are pasted, or rows are blended.

python examples/skorch_signals.py        needs batchmix, skorch
"""

import numpy as np
import torch
from skorch import NeuralNetClassifier
from torch import nn

import batchmix as bm
from batchmix.adapters.skorch import MixNet
from batchmix.fields import Audio, Labels
from batchmix.policies import CutMix, MixUp, Switch

CHANNELS, TIME, CLASSES = 4, 64, 4


class Net(MixNet, NeuralNetClassifier):
    """A classifier whose training batches are mixed."""


def signals(rng, rows):
    """Noise, and in it a wave whose frequency is the class."""
    classes = rng.integers(CLASSES, size=rows)
    shape = rows, CHANNELS, 1
    angle = np.arange(TIME) * (0.2 + 0.3 * classes[:, None, None]) + rng.uniform(0, 6, shape)
    waves = np.sin(angle) + rng.normal(0, 1.0, (rows, CHANNELS, TIME))
    return waves.astype(np.float32), classes


def network():
    layers = [nn.Conv1d(CHANNELS, 16, 15), nn.ReLU(), nn.AdaptiveAvgPool1d(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, CLASSES))


def main():
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    fields = {0: Audio("NCT"), 1: Labels(CLASSES)}
    net = Net(
        network(),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=1e-2,
        max_epochs=15,
        batch_size=32,
        iterator_train__shuffle=True,
        mixer=bm.Mixer(Switch([MixUp(0.4), CutMix(1.0)]), fields, seed=0),
        verbose=0,
    )
    net.fit(*signals(rng, 400))
    print(f"held-out accuracy: {net.score(*signals(rng, 400)):.3f}")


if __name__ == "__main__":
    main()
