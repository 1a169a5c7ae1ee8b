"""A DataLoader that mixes in its workers; the batches are the same with any number, and on resume.

python examples/dataloader.py            needs batchmix, torch, scikit-learn
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import batchmix as bm
from batchmix.adapters.torch import MixLoader
from batchmix.fields import Image, Labels
from batchmix.losses import soft_cross_entropy
from batchmix.policies import CutMix, MixUp, Schedule, Switch

EPOCHS = 12


def make_loader(rows, workers):
    policy = Schedule.off_after(Switch([MixUp(0.4), CutMix(1.0)]), epoch=EPOCHS - 2)
    mixer = bm.Mixer(policy, {0: Image("NHWC"), 1: Labels(10)}, seed=0)
    options = {"batch_size": 64, "shuffle": True, "persistent_workers": workers > 0}
    return MixLoader(rows, mixer, num_workers=workers, **options)


def same(one, two):
    return all(torch.equal(x, y) for a, b in zip(one, two, strict=True) for x, y in zip(a, b))


def main():
    images, labels = load_digits(return_X_y=True)
    images = np.round(images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    loader = make_loader(list(zip(images[:1500], labels[:1500])), workers=2)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(EPOCHS):  # the loader counts epochs; mixing ends two before the last
        for x, target in loader:
            loss = soft_cross_entropy(model(x / 255), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        predicted = model(torch.from_numpy(images[1500:]) / 255).argmax(1).numpy()
    print(f"test accuracy: {(predicted == labels[1500:]).mean():.3f}")

    alone, few = (make_loader(loader.dataset.dataset, workers) for workers in (0, 2))
    print("batches of 0 and 2 workers:", "equal" if same(alone, few) else "different")

    batches = iter(alone)
    next(batches), next(batches)
    resumed = make_loader(loader.dataset.dataset, workers=0)
    resumed.load_state_dict(alone.state_dict())
    print("resumed in the middle of an epoch:", "equal" if same(resumed, batches) else "different")


if __name__ == "__main__":
    main()
