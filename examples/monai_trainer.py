"""Volumes that hold a ball, a bar or a plate, with MONAI's trainer; cuboids are pasted and blended.

python examples/monai_trainer.py         needs batchmix, monai, pytorch-ignite
"""

import logging

import numpy as np
import torch
from ignite.metrics import Accuracy
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ValidationHandler
from torch import nn

import batchmix as bm
from batchmix.adapters.monai import MixHandler
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, MixUp, Switch

SIDE, CLASSES, EPOCHS = 12, 3, 10


def volume(rng):
    """A noisy shape somewhere in the volume, and which of the three it is."""
    kind, radius = int(rng.integers(CLASSES)), rng.uniform(2.5, 3.5)
    centre = rng.uniform(4, SIDE - 4, (3, 1, 1, 1))
    away = np.abs(np.indices((SIDE,) * 3) - centre)
    inside = [
        (away**2).sum(0) < radius**2,
        away[:2].max(0) < radius * 0.5,
        away[0] < radius * 0.4,
    ]
    image = inside[kind] + rng.normal(0, 0.1, (SIDE,) * 3)
    return {"image": torch.tensor(image[None], dtype=torch.float32), "label": kind}


def network():
    layers = [nn.Conv3d(1, 8, 3, 2, 1), nn.BatchNorm3d(8), nn.ReLU()]
    layers += [nn.Conv3d(8, 16, 3, 2, 1), nn.BatchNorm3d(16), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 27, CLASSES))


def main():
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    train, held_out = ([volume(rng) for _ in range(n)] for n in (256, 96))
    net = network()
    evaluator = SupervisedEvaluator(
        "cpu",
        DataLoader(held_out, batch_size=48),
        net,
        key_val_metric={"accuracy": Accuracy(lambda out: (out["pred"], out["label"]))},
        decollate=False,
    )
    fields = {"image": Image("NCHWD"), "label": Labels(CLASSES)}
    mixer = bm.Mixer(Switch([MixUp(0.4), CutMix(1.0)]), fields, seed=0)
    trainer = SupervisedTrainer(
        "cpu",
        EPOCHS,
        DataLoader(train, batch_size=32, shuffle=True),
        net,
        torch.optim.Adam(net.parameters(), 1e-2),
        nn.CrossEntropyLoss(),
        train_handlers=[MixHandler(mixer), ValidationHandler(1, evaluator)],
    )
    for engine in (trainer, evaluator):
        engine.logger.setLevel(logging.CRITICAL)  # they tell of every epoch
    trainer.run()
    print(f"held-out accuracy: {evaluator.state.metrics['accuracy']:.3f}")


if __name__ == "__main__":
    main()
