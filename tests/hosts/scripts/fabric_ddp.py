"""Two processes of Fabric; each prints the labels that its mixer made."""

import sys

import lightning as L
import torch
from torch.utils.data import DataLoader, TensorDataset

import batchmix as bm
from batchmix.fields import Image, Labels
from batchmix.policies import MixUp


def main():
    fabric = L.Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    data = TensorDataset(torch.ones(16, 1, 2, 2), torch.arange(16))
    loader = fabric.setup_dataloaders(DataLoader(data, batch_size=4))
    fields = {0: Image("NCHW"), 1: Labels(16)}
    mixer = bm.Mixer(MixUp(1.0), fields, seed=0)  # asks the process for its rank
    seen = []
    for epoch in range(2):
        for step, batch in enumerate(loader):
            _, labels = mixer(batch, step=step, epoch=epoch)
            seen += [round(v, 5) for v in labels.max(1).values.tolist()]
    sys.stdout.write(f"rank {fabric.global_rank}: {seen}\n")


if __name__ == "__main__":
    main()
