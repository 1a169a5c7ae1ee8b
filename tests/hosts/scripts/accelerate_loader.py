"""MixLoader prepared by Accelerate, in each of its ways; each process writes what it was given."""

import json
import sys
from pathlib import Path

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.utils import set_seed

import batchmix as bm
from batchmix.adapters.torch import MixLoader
from batchmix.fields import Image, Labels
from batchmix.policies import MixUp

ROWS = [(torch.ones(1, 2, 2), k, k) for k in range(18)]
MIXER = bm.Mixer(MixUp(1.0), {0: Image("NCHW"), 1: Labels(18)}, seed=0)
WAYS = {
    "shards": {},
    "split": {"split_batches": True},
    "uneven": {"even_batches": False},
    "dispatched": {"dispatch_batches": True},
    "seedable": {"use_seedable_sampler": True},
}


def passed(loader):
    """(ids of the rows, largest weight of each) of every batch."""
    return [
        (ids.tolist(), [round(v, 5) for v in targets.max(1).values.tolist()])
        for _, targets, ids in loader
    ]


def main():
    set_seed(0)  # of the sampler that Accelerate may put in
    for way, options in WAYS.items():
        configuration = DataLoaderConfiguration(**options)
        accelerator = Accelerator(cpu=True, dataloader_config=configuration)
        one, two = (
            accelerator.prepare(MixLoader(ROWS, MIXER, batch_size=4, shuffle=True))
            for _ in range(2)
        )
        counted = [passed(one) for _ in range(2)]
        two.set_epoch(1)
        path = Path(sys.argv[1]) / f"{way}{accelerator.process_index}"
        path.write_text(json.dumps([*counted, passed(two)]))
        accelerator.wait_for_everyone()
    accelerator.end_training()


if __name__ == "__main__":
    main()
