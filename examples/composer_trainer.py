"""Handwritten digits with Composer's Trainer, without and with mixing.

python examples/composer_trainer.py --epochs 15: scikit-learn's digits, 300 of them to train on.
"""

import argparse

import torch
from composer import Trainer
from composer.models import ComposerClassifier
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader

from batchmix import policies
from batchmix.adapters.composer import CutMix, MixAlgorithm, MixUp

TRAIN = 300


def data():
    """The digits as two loaders: images float32 [B, 1, 8, 8] and class ids."""
    images, ids = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    rows = list(zip(x, torch.tensor(ids)))
    return DataLoader(rows[:TRAIN], 50, shuffle=True), DataLoader(rows[TRAIN:], 1497)


def network():
    """A small convnet."""
    torch.manual_seed(0)
    blocks = []
    for width, wider in ((1, 32), (32, 64)):
        blocks += [nn.Conv2d(width, wider, 3, padding=1), nn.BatchNorm2d(wider), nn.ReLU()]
        blocks += [nn.MaxPool2d(2)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(256, 10))


def main(epochs):
    """Train four times; prints the accuracy on digits that were held out."""
    both = policies.Switch([policies.MixUp(0.2), policies.CutMix(1.0)])
    arms = {"nothing": [], "MixUp": MixUp(0.2), "CutMix": CutMix(1.0), "both": MixAlgorithm(both)}
    for name, algorithms in arms.items():
        model = ComposerClassifier(network(), num_classes=10)
        train, held_out = data()
        trainer = Trainer(
            model=model, train_dataloader=train, eval_dataloader=held_out,
            eval_interval=f"{epochs}ep", max_duration=f"{epochs}ep", algorithms=algorithms,
            optimizers=torch.optim.Adam(model.parameters(), 3e-3), progress_bar=False, seed=0,
        )  # fmt: skip
        trainer.fit()
        accuracy = float(trainer.state.eval_metric_values["MulticlassAccuracy"])
        print(f"mixing {name}: held-out accuracy {accuracy:.2%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    main(parser.parse_args().epochs)
