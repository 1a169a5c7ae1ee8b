"""Digits in shards, mixed where WebDataset's workers make batches; a replay of an epoch is equal.

python examples/webdataset_shards.py     needs batchmix, scikit-learn, torch, webdataset
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
import webdataset as wds
from sklearn.datasets import load_digits
from torch import nn

import batchmix as bm
from batchmix.adapters.torch import MixCollate
from batchmix.fields import Image, Labels
from batchmix.losses import soft_cross_entropy
from batchmix.policies import CutMix, MixUp, Schedule, Switch

TRAIN, EPOCHS = 1500, 10


def write(folder, images, labels):
    with wds.ShardWriter(f"{folder}/digits-%02d.tar", maxcount=250, verbose=0) as shards:
        for k, (image, label) in enumerate(zip(images, labels)):
            shards.write({"__key__": f"{k:05}", "png": image, "cls": int(label)})
    return sorted(map(str, Path(folder).glob("*.tar")))


def main(folder):
    images, labels = load_digits(return_X_y=True)
    images = np.round(images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1).repeat(3, axis=3)
    urls = write(folder, images[:TRAIN], labels[:TRAIN])

    policy = Schedule.off_after(Switch([MixUp(0.4), CutMix(1.0)]), epoch=EPOCHS - 2)
    mix = MixCollate(bm.Mixer(policy, {0: Image("NHWC"), 1: Labels(10)}, seed=0))
    rows = wds.WebDataset(urls, shardshuffle=False).shuffle(500, seed=0).decode("rgb8")
    batches = rows.to_tuple("png", "cls").batched(50, collation_fn=mix)
    loader = wds.WebLoader(batches, batch_size=None, num_workers=2)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(EPOCHS):
        mix.set_epoch(epoch)
        for x, targets in loader:
            loss = soft_cross_entropy(model(x / 255), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        predicted = model(torch.from_numpy(images[TRAIN:]) / 255).argmax(1).numpy()
    print(f"test accuracy: {(predicted == labels[TRAIN:]).mean():.3f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(folder)
