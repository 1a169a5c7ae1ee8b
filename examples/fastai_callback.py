"""Handwritten digits with fastai, without and with mixing, from the same initial weights.

python examples/fastai_callback.py --epochs 15: scikit-learn's digits, 300 of them to train on.
"""

import argparse

import torch
from fastai.basics import CrossEntropyLossFlat, DataLoader, DataLoaders, Learner, accuracy, set_seed
from fastai.callback.schedule import fit_one_cycle  # noqa: F401  becomes a method of the Learner
from sklearn.datasets import load_digits
from torch import nn

from batchmix import policies
from batchmix.adapters.fastai import CutMix, MixCallback, MixUp

TRAIN = 300


def data():
    """The digits as fastai's loaders: images float32 [B, 1, 8, 8] and class ids."""
    images, ids = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    rows = list(zip(x, torch.tensor(ids)))
    train = DataLoader(rows[:TRAIN], bs=50, shuffle=True, num_workers=0)
    return DataLoaders(train, DataLoader(rows[TRAIN:], bs=500, num_workers=0), device="cpu")


def network():
    """A small convnet."""
    torch.manual_seed(0)
    blocks = []
    for width, wider in ((1, 32), (32, 64)):
        blocks += [nn.Conv2d(width, wider, 3, padding=1), nn.BatchNorm2d(wider), nn.ReLU()]
        blocks += [nn.MaxPool2d(2)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(256, 10))


def main(epochs):
    """Train four times; prints the accuracy on the digits that were held out."""
    both = policies.Switch([policies.MixUp(0.4), policies.CutMix(1.0)])
    arms = {"nothing": None, "MixUp": MixUp(0.4), "CutMix": CutMix(1.0), "both": MixCallback(both)}
    for name, callback in arms.items():
        set_seed(0)
        learn = Learner(data(), network(), CrossEntropyLossFlat(), cbs=callback, metrics=accuracy)
        with learn.no_bar(), learn.no_logging():
            learn.fit_one_cycle(epochs, 1e-2)
            loss, figure = learn.validate()
        print(f"mixing {name}: held-out accuracy {figure:.2%}, loss {loss:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    main(parser.parse_args().epochs)
