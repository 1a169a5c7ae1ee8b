"""A training loop with Fabric: the mixer asks for its rank, and is told the epoch.

python examples/fabric_loop.py             needs batchmix, lightning, scikit-learn
fabric run --accelerator=cpu --devices=2 --strategy=ddp examples/fabric_loop.py
"""

import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import batchmix as bm
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, MixUp, Switch


def main():
    fabric = L.Fabric(accelerator="cpu")
    fabric.launch()
    fabric.seed_everything(0, verbose=False)

    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    data = TensorDataset(images, torch.tensor(labels))
    train, test = torch.utils.data.random_split(data, [1400, 397])
    loader = fabric.setup_dataloaders(DataLoader(train, 64, shuffle=True))

    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    net, optimizer = fabric.setup(net, torch.optim.AdamW(net.parameters(), 3e-3))
    fields = {0: Image("NCHW"), 1: Labels(10)}
    policy = Switch([MixUp(0.2), CutMix(1.0)])
    mixer = bm.Mixer(policy, fields, seed=0)
    for epoch in range(12):
        for step, batch in enumerate(loader):
            x, targets = mixer(batch, step=step, epoch=epoch)
            optimizer.zero_grad()
            fabric.backward(nn.functional.cross_entropy(net(x), targets))
            optimizer.step()

    x, y = test[:]
    right = net(fabric.to_device(x)).argmax(1).cpu() == y
    fabric.print(f"test accuracy: {right.float().mean():.3f}")


if __name__ == "__main__":
    main()
