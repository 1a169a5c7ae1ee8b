"""A run in the style of timm's train.py: its loader with persistent workers, mixing off at the end.

python examples/timm_loader.py            needs batchmix, timm, torchvision, scikit-learn
"""

import numpy as np
import timm
import torch
from sklearn.datasets import load_digits
from timm.loss import SoftTargetCrossEntropy

from batchmix.adapters.timm import FastCollateMixup


class Digits(torch.utils.data.Dataset):
    """Bytes [3, 8, 8] and ids; digits do not need the transform that create_loader sets."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, row):
        return self.images[row], self.labels[row]


def main():
    images, labels = load_digits(return_X_y=True)
    images = np.round(images * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8).repeat(3, 1)
    mixup = {"mixup_alpha": 0.2, "cutmix_alpha": 1.0, "label_smoothing": 0.1, "num_classes": 10}
    collate = FastCollateMixup(**mixup, off_epoch=3, seed=0)
    options = {"num_workers": 2, "persistent_workers": True, "device": torch.device("cpu")}
    train = Digits(images[:1500], labels[:1500])
    loader = timm.data.create_loader(
        train, (3, 8, 8), 50, is_training=True, re_prob=0.0, collate_fn=collate, **options
    )
    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=10, channels=(16, 32, 48, 64))
    optimizer, criterion = torch.optim.AdamW(model.parameters(), 3e-3), SoftTargetCrossEntropy()
    for epoch in range(4):
        collate.set_epoch(epoch)
        mixed = False
        for x, target in loader:
            mixed |= bool((target.sort(1).values[:, -2] > 0.02).any())  # smoothing alone gives 0.01
            loss = criterion(model(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}  loss {loss.item():.3f}  mixed: {mixed}")
    test = Digits(images[1500:], labels[1500:])
    held_out = timm.data.create_loader(test, (3, 8, 8), 99, num_workers=0, device=x.device)
    with torch.inference_mode():
        right = sum((model.eval()(x).argmax(1) == y).sum().item() for x, y in held_out)
    print(f"test accuracy: {right / len(test):.3f}")


if __name__ == "__main__":
    main()
