"""Two processes train by DistributedDataParallel; each prints the labels that it was given."""

import sys
import warnings

import lightning as L
import torch
from torch.utils.data import DataLoader, TensorDataset

import batchmix as bm
from batchmix.adapters.lightning import MixCallback
from batchmix.fields import Image, Labels
from batchmix.policies import MixUp

warnings.filterwarnings("ignore", message=".*num_workers.*|.*does not have many workers.*")


class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer, self.seen = torch.nn.Linear(4, 16), []

    def training_step(self, batch, batch_idx):
        self.seen += [round(v, 5) for v in batch[1].max(1).values.tolist()]
        return torch.nn.functional.cross_entropy(self.layer(batch[0].flatten(1)), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def main():
    data = TensorDataset(torch.ones(16, 1, 2, 2), torch.arange(16))
    mix = MixCallback(bm.Mixer(MixUp(1.0), {0: Image("NCHW"), 1: Labels(16)}, seed=0))
    net = Net()
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_epochs=2, callbacks=[mix], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(net, DataLoader(data, batch_size=4))
    sys.stdout.write(f"rank {trainer.global_rank}: {net.seen}\n")


if __name__ == "__main__":
    main()
