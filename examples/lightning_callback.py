"""A Lightning module on digits, mixed by a callback; the module itself knows nothing of it.

python examples/lightning_callback.py      needs batchmix, lightning, scikit-learn
"""

import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import batchmix as bm
from batchmix.adapters.lightning import MixCallback
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, MixUp, Switch


class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch, batch_idx):
        images, targets = batch  # targets: float32 [B, 10], rows sum to 1
        return nn.functional.cross_entropy(self.layers(images), targets)

    def test_step(self, batch, batch_idx):
        images, labels = batch  # as in the data
        right = self.layers(images).argmax(1) == labels
        self.log("accuracy", right.float().mean())

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 3e-3)


def main():
    L.seed_everything(0, verbose=False)
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    data = TensorDataset(images, torch.tensor(labels))
    train, test = torch.utils.data.random_split(data, [1400, 397])
    policy = Switch([MixUp(0.2), CutMix(1.0)])
    mix = MixCallback(bm.Mixer(policy, {0: Image("NCHW"), 1: Labels(10)}, seed=0))
    trainer = L.Trainer(
        max_epochs=12, callbacks=[mix], accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    net = Net()
    trainer.fit(net, DataLoader(train, 64, shuffle=True))
    (result,) = trainer.test(net, DataLoader(test, 397), verbose=False)
    print(f"test accuracy: {result['accuracy']:.3f}")


if __name__ == "__main__":
    main()
