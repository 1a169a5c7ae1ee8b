"""A classifier of Ultralytics whose trainer mixes: three kinds of stripes, from scratch.

python examples/ultralytics_classify.py  needs batchmix, ultralytics
"""

import os
import tempfile
from pathlib import Path

# no look-up of newer versions; settings are kept where this run is
os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp())

import numpy as np
from PIL import Image as Picture
from ultralytics import YOLO
from ultralytics.models.yolo.classify import ClassificationTrainer

import batchmix as bm
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, MixUp, Switch

KINDS, SIDE = ("across", "down", "slanted"), 32
fields = {"img": Image("NCHW"), "cls": Labels(len(KINDS))}
mixer = bm.Mixer(Switch([MixUp(0.4), CutMix(1.0)]), fields, seed=0)


class MixTrainer(ClassificationTrainer):
    """The trainer, with its training batches mixed on their device."""

    def preprocess_batch(self, batch):
        return mixer(super().preprocess_batch(batch), epoch=self.epoch)


def write(folder, rng, rows):
    """Stripes of any width and colour, in noise; a folder for each kind, as Ultralytics reads."""
    y, x = np.indices((SIDE, SIDE))
    for kind, along in zip(KINDS, (y, x, x + y)):
        (folder / kind).mkdir(parents=True)
        for k in range(rows):
            wave = np.sin(along * rng.uniform(0.5, 1.5) + rng.uniform(0, 6))
            image = 128 + 60 * wave[..., None] * rng.uniform(0.5, 1, 3) + rng.normal(0, 20, 3)
            Picture.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / kind / f"{k}.png")


def main(folder):
    rng = np.random.default_rng(0)
    for part, rows in (("train", 120), ("val", 40)):
        write(folder / part, rng, rows)
    model = YOLO("yolo11n-cls.yaml", verbose=False)
    found = model.train(
        trainer=MixTrainer, data=str(folder), epochs=6, imgsz=SIDE, batch=36, device="cpu",
        workers=0, plots=False, verbose=False, project=str(folder / "runs"), optimizer="AdamW",
        lr0=0.003, auto_augment=None, fliplr=0.0, erasing=0.0, seed=0,
    )  # fmt: skip
    print(f"held-out accuracy: {found.top1:.3f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
