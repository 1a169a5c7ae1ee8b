"""Two processes of Accelerate; each prints the labels of its mixer, and of its collator."""

import sys

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

import batchmix as bm
from batchmix.adapters.huggingface import MixCollator
from batchmix.fields import Image, Labels
from batchmix.policies import MixUp

ROWS = [{"pixel_values": torch.ones(1, 2, 2), "labels": k} for k in range(16)]


def main():
    accelerator = Accelerator(cpu=True)
    rank = accelerator.process_index
    fields = {"pixel_values": Image("NCHW"), "labels": Labels(16)}
    mixer = bm.Mixer(MixUp(1.0), fields, seed=0)
    collate = MixCollator(MixUp(1.0), 16, seed=0)
    after = accelerator.prepare(DataLoader(ROWS, 4, collate_fn=collate.collator))
    inside = accelerator.prepare(DataLoader(ROWS, 4, collate_fn=collate, num_workers=1))
    seen = {"after": [], "inside": []}
    for epoch in range(2):
        collate.set_epoch(epoch)
        for step, batch in enumerate(after):
            labels = mixer(batch, step=step, epoch=epoch)["labels"]
            seen["after"] += [round(v, 5) for v in labels.max(1).values.tolist()]
        for batch in inside:
            seen["inside"] += [round(v, 5) for v in batch["labels"].max(1).values.tolist()]
    assert seen["after"] == seen["inside"]
    sys.stdout.write(f"rank {rank}: {seen['after']}\n")


if __name__ == "__main__":
    main()
