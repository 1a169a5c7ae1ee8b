"""Ray Data mixes in its workers, by the ids of the rows: the same with any number of them.

python examples/ray_data.py                needs batchmix, ray[data], pydantic, torch, scikit-learn
"""

import os
from operator import itemgetter

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import ray
import torch
from ray.data import TaskPoolStrategy
from sklearn.datasets import load_digits
from torch import nn

import batchmix as bm
from batchmix.adapters.ray import MixBatch
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, MixUp, Switch


def mixed(dataset, epoch, workers):
    """One pass over the data; a block is a batch."""
    fields = {"image": Image("NHWC"), "label": Labels(10)}
    mixer = bm.Mixer(Switch([MixUp(0.2), CutMix(1.0)]), fields, seed=0)
    mix = MixBatch(mixer, epoch=epoch)
    return dataset.map_batches(mix, batch_size=None, compute=TaskPoolStrategy(size=workers))


def main():
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200 * 2**20)
    ray.data.DataContext.get_current().enable_progress_bars = False
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 8, 8, 1)

    def load(batch):
        return {**batch, "image": images[batch["id"]], "label": labels[batch["id"]]}

    # 20 blocks of 70 rows
    dataset = ray.data.range(1400, override_num_blocks=20).map_batches(load).materialize()
    one, two = (sorted(mixed(dataset, 0, n).take_all(), key=itemgetter("id")) for n in (1, 2))
    same = all((a["label"] == b["label"]).all() for a, b in zip(one, two, strict=True))
    print("batches of 1 and 2 workers:", "equal" if same else "DIFFERENT")

    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
    for epoch in range(8):
        for batch in mixed(dataset, epoch, 2).iter_torch_batches(batch_size=70):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(batch["image"]), batch["label"]).backward()
            optimizer.step()
    right = net(torch.from_numpy(images[1400:])).argmax(1).numpy() == labels[1400:]
    print(f"test accuracy: {right.mean():.3f}")


if __name__ == "__main__":
    main()
