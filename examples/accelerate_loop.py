"""A training loop with Accelerate: the mixer asks for its rank, and is told the epoch.

python examples/accelerate_loop.py         needs batchmix, accelerate, scikit-learn
torchrun --nproc_per_node 2 examples/accelerate_loop.py
"""

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import batchmix as bm
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, MixUp, Switch


def main():
    accelerator = Accelerator()
    set_seed(0)
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    data = TensorDataset(images, torch.tensor(labels))
    train, test = torch.utils.data.random_split(data, [1400, 397])

    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    loader = DataLoader(train, 64, shuffle=True)
    net, optimizer, loader = accelerator.prepare(net, optimizer, loader)

    fields = {0: Image("NCHW"), 1: Labels(10)}
    policy = Switch([MixUp(0.2), CutMix(1.0)])
    mixer = bm.Mixer(policy, fields, seed=0)
    for epoch in range(12):
        for step, batch in enumerate(loader):
            x, targets = mixer(batch, step=step, epoch=epoch)
            optimizer.zero_grad()
            accelerator.backward(nn.functional.cross_entropy(net(x), targets))
            optimizer.step()

    x, y = test[:]
    right = net(x.to(accelerator.device)).argmax(1).cpu() == y
    accelerator.print(f"test accuracy: {right.float().mean():.3f}")
    accelerator.end_training()


if __name__ == "__main__":
    main()
