"""Ultralytics: the trainer of the page in real runs, and what `mixup=` does without it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
os.environ["YOLO_CONFIG_DIR"] = tempfile.mkdtemp()
from ultralytics.models.yolo.classify import ClassificationTrainer

import batchmix as bm
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, MixUp, Schedule, Switch

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore")  # PyTorch's, pandas', Ray's, met on the way
KINDS, TRAIN, BATCH, STEPS = 3, 12, 12, 3
POLICY = Switch([MixUp(1.0), CutMix(1.0)])
FIELDS = {"img": Image("NCHW"), "cls": Labels(KINDS)}
PLAIN = {"auto_augment": None, "scale": 1.0, "fliplr": 0.0, "erasing": 0.0}
PLAIN |= {"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures whose colour is their class."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for part, rows in (("train", TRAIN), ("val", 4)):
        for kind in range(KINDS):
            (folder / part / f"kind{kind}").mkdir(parents=True)
            for k in range(rows):
                image = rng.integers(0, 60, (32, 32, 3), np.uint8)
                image[..., kind] += 180
                Picture.fromarray(image).save(folder / part / f"kind{kind}" / f"{k}.png")
    return folder


def trained(pictures, mixer=None, epochs=2, **options):
    """A real run; its trainer, which noted batches before and after, and their losses."""

    class Trainer(ClassificationTrainer):
        def preprocess_batch(self, batch):
            batch = super().preprocess_batch(batch)
            self.before.append((self.epoch, dict(batch)))
            batch = mixer(batch, epoch=self.epoch) if mixer else batch
            self.after.append(batch)
            return batch

    first = {"model": "yolo11n-cls.yaml", "data": str(pictures), "imgsz": 32, "batch": BATCH}
    first |= {"workers": 0, "device": "cpu", "plots": False, "verbose": False, "seed": 0}
    first |= {"project": str(pictures / "runs"), "exist_ok": True, "pretrained": False}
    trainer = Trainer(overrides=first | PLAIN | {"epochs": epochs} | options)
    trainer.before, trainer.after, trainer.losses = [], [], []
    trainer.add_callback("on_train_batch_end", lambda t: t.losses.append(t.loss.item()))
    trainer.train()
    return trainer


def test_each_batch_has_the_plan_of_its_epoch_and_number(pictures):
    run = trained(pictures, bm.Mixer(POLICY, FIELDS, seed=3))
    assert len(run.after) == len(run.losses) == 2 * STEPS
    for k, ((epoch, batch), mixed) in enumerate(zip(run.before, run.after)):
        assert epoch == k // STEPS
        expected = bm.Mixer(POLICY, FIELDS, seed=3)(batch, step=k % STEPS, epoch=epoch)
        assert torch.equal(mixed["img"], expected["img"])
        assert torch.equal(mixed["cls"], expected["cls"])
        assert batch["cls"].dtype == torch.int64
    assert len({mixed["cls"].numpy().tobytes() for mixed in run.after}) == 2 * STEPS
    assert run.metrics["metrics/accuracy_top1"] >= 0  # ids were what validation met


def test_a_schedule_by_epoch(pictures):
    off = Schedule.off_after(MixUp(1.0), epoch=1)
    run = trained(pictures, bm.Mixer(off, FIELDS, seed=3))
    hard = [bool((mixed["cls"].amax(1) == 1).all()) for mixed in run.after]
    assert hard == [False] * STEPS + [True] * STEPS


def test_their_own_mixup_is_ignored(pictures):
    """As the page says: each batch of a classifier is what it is without."""
    without = trained(pictures, epochs=1)
    asked = trained(pictures, epochs=1, mixup=1.0, cutmix=1.0)
    assert len(without.after) == STEPS
    for one, two in zip(without.after, asked.after, strict=True):
        assert torch.equal(one["img"], two["img"])
        assert torch.equal(one["cls"], two["cls"])
        assert two["cls"].ndim == 1


def test_example():
    words = [sys.executable, "examples/ultralytics_classify.py"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split("held-out accuracy:")[1].split()[0]) > 0.8
