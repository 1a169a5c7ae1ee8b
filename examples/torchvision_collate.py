"""Mixing in the collate function of a DataLoader: the batches do not depend on its workers.

python examples/torchvision_collate.py     needs batchmix, torch, torchvision, scikit-learn
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, default_collate

from batchmix.adapters.torchvision import MixTransform
from batchmix.policies import CutMix, MixUp, Switch

EPOCHS = 12
images, labels = load_digits(return_X_y=True)
images = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
labels = torch.tensor(labels)
data = TensorDataset(images[:1200], labels[:1200])
mix = MixTransform(Switch([MixUp(0.2), CutMix(1.0)]), num_classes=10, seed=0)


def collate(rows):
    return mix(*default_collate(rows))


def batches(epoch, workers):
    """One pass over the shuffled data, mixed."""
    order = torch.Generator().manual_seed(epoch)
    mix.set_epoch(epoch)  # before each pass: workers are told
    return DataLoader(
        data, 64, shuffle=True, generator=order, collate_fn=collate, num_workers=workers
    )


def main():
    pairs = zip(list(batches(0, 0)), list(batches(0, 2)), strict=True)
    same = all(torch.equal(a, b) for one, two in pairs for a, b in zip(one, two))
    print("batches of 0 and 2 workers:", "equal" if same else "DIFFERENT")

    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    for epoch in range(EPOCHS):
        for x, targets in batches(epoch, 0):  # targets: float32 [64, 10]
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), targets).backward()
            optimizer.step()
    right = net(images[1200:]).argmax(1) == labels[1200:]
    print(f"test accuracy: {right.float().mean():.3f}")


if __name__ == "__main__":
    main()
