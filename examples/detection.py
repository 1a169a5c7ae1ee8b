"""A small detector of torchvision on scenes of shapes, with and without mixing: average precision.

python examples/detection.py     needs batchmix, torch, torchvision
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torchvision.models.detection import FCOS, fcos
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import box_iou

import batchmix as bm
from batchmix.fields import BoundingBoxes, Image
from batchmix.pairing import Roll
from batchmix.policies import CutMix, Sometimes
from batchmix.recipes import deim_policy, yolo_policy

SIDE, BATCH = 64, 16
KINDS = ("disc", "square", "triangle")


def scene(rng):
    """A picture of one to four shapes on noise, their boxes and kinds; the later lie on top."""
    picture = rng.normal(rng.uniform(0.2, 0.8), 0.15, (3, SIDE, SIDE)).astype(np.float32)
    y, x = np.mgrid[:SIDE, :SIDE]
    for _ in range(6):  # stripes that are nothing
        a, b, c = rng.normal(size=2), rng.uniform(-20, 20), rng.uniform(0, 1, 3)
        picture[:, abs(a[0] * (x - 32) + a[1] * (y - 32) - b) < 1] = c[:, None]
    boxes, kinds = [], []
    for _ in range(rng.integers(1, 5)):
        side = int(rng.integers(10, 25))
        left, top = rng.integers(0, SIDE - side, 2)
        u, v = (x - left + 0.5) / side, (y - top + 0.5) / side
        kind = int(rng.integers(len(KINDS)))
        shape = [
            (u - 0.5) ** 2 + (v - 0.5) ** 2 < 0.25,
            (abs(u - 0.5) < 0.45) & (abs(v - 0.5) < 0.45),
            (abs(u - 0.5) < v / 2) & (v > 0) & (v < 1),
        ][kind]
        picture[:, shape] = 0.7 * rng.uniform(0, 1, 3)[:, None] + 0.3 * picture[:, shape]
        rows, columns = np.flatnonzero(shape.any(1)), np.flatnonzero(shape.any(0))
        boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        kinds.append(kind)
    return torch.from_numpy(picture.clip(0, 1)), torch.tensor(boxes).float(), torch.tensor(kinds)


def scenes(count, seed):
    """Images [count, 3, 64, 64], and for each a dict of boxes and labels, as torchvision has it."""
    rng = np.random.default_rng(seed)
    pictures, boxes, kinds = zip(*(scene(rng) for _ in range(count)))
    return torch.stack(pictures), [{"boxes": b, "labels": k} for b, k in zip(boxes, kinds)]


class Backbone(nn.Module):
    """Five convolutions; one map of features, a cell for 4 x 4 pixels."""

    out_channels = 32

    def __init__(self):
        super().__init__()
        sides = [(3, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 32, 1)]
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, s, 1), nn.GroupNorm(8, b), nn.ReLU())
                for a, b, s in sides
            )
        )

    def forward(self, x):
        return {"0": self.layers(x)}


def detector(seed):
    """FCOS, of torchvision, without pretrained weights."""
    torch.manual_seed(seed)
    anchors = AnchorGenerator(sizes=((8,),), aspect_ratios=((1.0,),))
    return FCOS(
        Backbone(), len(KINDS), head=fcos.FCOSHead(32, 1, len(KINDS), num_convs=2),
        anchor_generator=anchors, min_size=SIDE, max_size=SIDE, image_mean=[0.5] * 3,
        image_std=[0.25] * 3, detections_per_img=20, topk_candidates=100, score_thresh=0.05,
    )  # fmt: skip


def suppressed(boxes, scores, kinds, least):
    """Which boxes are left where two of a kind that meet by more than `least` are one."""
    meet, kept = box_iou(boxes, boxes) * (kinds[:, None] == kinds), []
    for row in scores.argsort(descending=True).tolist():
        if not kept or meet[row, kept].max() <= least:
            kept.append(row)
    return torch.tensor(kept, dtype=torch.long)


# torchvision's own is compiled, which is not loaded beside every PyTorch
fcos.box_ops.batched_nms = suppressed


def trained(policy, rows, epochs, seed):
    """A detector; nothing but `policy` differs between two with the same seed."""
    images, targets = rows
    fields = {0: Image("NCHW"), 1: BoundingBoxes("xyxy", min_visible=0.25)}
    mixer = bm.Mixer(policy, fields, pairing=Roll(1), seed=seed)
    model = detector(seed).train()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=1e-2)
    steps = epochs * (len(images) // BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    order = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        batches = torch.randperm(len(images), generator=order)[: steps // epochs * BATCH]
        for step, rows_of_batch in enumerate(batches.split(BATCH)):
            batch = images[rows_of_batch], [targets[i] for i in rows_of_batch]
            x, boxes = mixer(batch, epoch=epoch, step=step)
            loss = sum(model(list(x), boxes).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
    return model.eval()


@torch.no_grad()
def average_precision(model, rows, least):
    """Mean over the kinds: area under precision and recall of boxes that meet by `least`."""
    images, targets = rows
    found = [one for some in images.split(50) for one in model(list(some))]
    areas = []
    for kind in range(len(KINDS)):
        scores, right, count = [], [], 0
        for one, target in zip(found, targets):
            mine = one["labels"] == kind
            truth = target["boxes"][target["labels"] == kind]
            count += len(truth)
            overlap, taken = box_iou(one["boxes"][mine], truth), set()
            for score, row in zip(one["scores"][mine].tolist(), overlap):
                best = max((k for k in range(len(truth)) if k not in taken), key=row.__getitem__,
                           default=None)  # fmt: skip
                hit = best is not None and row[best] >= least
                taken |= {best} if hit else set()
                scores.append(score), right.append(hit)
        hits = np.array(right, float)[np.argsort(scores)[::-1]].cumsum()
        precision = hits / np.arange(1, len(hits) + 1)
        precision = np.maximum.accumulate(precision[::-1])[::-1]  # as COCO and VOC do
        areas.append(np.diff(hits / count, prepend=0) @ precision)
    return float(np.mean(areas))


def main():
    words = argparse.ArgumentParser()
    words.add_argument(
        "--quick", action="store_true", help="few rows and epochs, no more than a look"
    )
    words.add_argument("--seeds", type=int, default=1)
    words.add_argument("--rows", type=int, default=96, help="to train on")
    words.add_argument("--epochs", type=int, default=60)
    words.add_argument("--json", help="file for the figures")
    given = words.parse_args()
    rows, epochs, tests = (32, 3, 20) if given.quick else (given.rows, given.epochs, 300)
    last = epochs // 5  # epochs that are not mixed, where a recipe has some
    arms = {
        "none": None,
        "cutmix": Sometimes(CutMix(1.0), 0.5),
        "deim": deim_policy(epochs - last, start=1),
        "yolo": yolo_policy(epochs, close=last, mosaic=0.5),
    }
    test, kept = scenes(tests, seed=10_000), []
    for seed in range(given.seeds):
        train = scenes(rows, seed)
        for name, policy in arms.items():
            start = time.perf_counter()
            model = trained(policy, train, epochs, seed)
            seconds = time.perf_counter() - start
            half, most = (average_precision(model, test, least) for least in (0.5, 0.75))
            kept.append({"seed": seed, "arm": name, "ap50": half, "ap75": most})
            print(f"seed {seed}  {name:7}  AP50 {half:.3f}  AP75 {most:.3f}  {seconds:.0f} s",
                  flush=True)  # fmt: skip
    for name in arms:
        mine = [one for one in kept if one["arm"] == name]
        none = [one for one in kept if one["arm"] == "none"]
        more = [100 * (one["ap50"] - other["ap50"]) for one, other in zip(mine, none)]
        print(f"{name:7}  AP50 {np.mean([one['ap50'] for one in mine]):.3f}"
              f"  AP75 {np.mean([one['ap75'] for one in mine]):.3f}"
              f"  against none {np.mean(more):+.1f} points of AP50")  # fmt: skip
    if given.json:
        command = " ".join(["python", *sys.argv])
        told = {"command": command, "rows": rows, "epochs": epochs, "tests": tests, "runs": kept}
        Path(given.json).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
