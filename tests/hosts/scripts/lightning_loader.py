"""Two processes of Lightning share out the rows of a MixLoader; each writes what it was given."""

import json
import sys
import warnings
from pathlib import Path

import lightning as L
import torch

import batchmix as bm
from batchmix.adapters.torch import MixLoader
from batchmix.fields import Image, Labels
from batchmix.policies import MixUp

warnings.filterwarnings("ignore", message=".*num_workers.*|.*does not have many workers.*")


class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer, self.seen = torch.nn.Linear(4, 16), []

    def training_step(self, batch, batch_idx):
        x, targets, ids = batch
        weights = [round(v, 5) for v in targets.max(1).values.tolist()]
        self.seen.append((self.current_epoch, ids.tolist(), weights))
        return torch.nn.functional.cross_entropy(self.layer(x.flatten(1)), targets)

    def on_train_end(self):
        (Path(sys.argv[2]) / str(self.global_rank)).write_text(json.dumps(self.seen))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def main():
    mixer = bm.Mixer(MixUp(1.0), {0: Image("NCHW"), 1: Labels(16)}, seed=0)
    rows = [(torch.ones(1, 2, 2), k, k) for k in range(16)]
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy=sys.argv[1], max_epochs=2, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Net(), MixLoader(rows, mixer, batch_size=4, shuffle=True))


if __name__ == "__main__":
    main()
