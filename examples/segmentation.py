"""A small U-Net on made-up scenes or volumes, without mixing, with CutMix, MixUp and ClassMix.

python examples/segmentation.py                    needs batchmix, torch; a minute
python examples/segmentation.py --volumes          scenes of three axes
python examples/segmentation.py --seeds 3 --out segmentation.json
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import batchmix as bm
from batchmix.fields import Image, SoftMask
from batchmix.policies import ClassMix, CutMix, MixUp

CLASSES, IGNORE, BATCH, TEST = 4, 255, 8, 128  # nothing, a ball, a box, a ring
ARMS = {
    "none": None,
    "cutmix": CutMix(1.0),
    "mixup": MixUp(0.4),
    "classmix": ClassMix(ignore=IGNORE),
}


def scene(rng, shape):
    """Three things on a slope of light, in noise, and the class of each cell."""
    at = np.indices(shape)
    slope = rng.normal(0, 0.5, len(shape))
    image = sum(s * (2 * a / n - 1) for s, a, n in zip(slope, at, shape))
    mask = np.zeros(shape, np.int64)
    for _ in range(3):
        kind, radius = int(rng.integers(1, CLASSES)), rng.uniform(0.14, 0.24) * shape[0]
        centre = [rng.uniform(radius, n - radius) for n in shape]
        away = np.abs(at - np.reshape(centre, (-1, *[1] * len(shape))))
        far = np.sqrt((away**2).sum(0))
        inside = [far < radius, away.max(0) < 0.8 * radius, abs(far - 0.8 * radius) < 0.3 * radius]
        mask[inside[kind - 1]] = kind
        image = np.where(inside[kind - 1], rng.uniform(0.6, 1.4), image)
    return (image + rng.normal(0, 0.3, shape))[None].astype(np.float32), mask


def scenes(seed, count, shape):
    """Images [count, 1, ...] and masks [count, ...]."""
    rng = np.random.default_rng(seed)
    images, masks = zip(*(scene(rng, shape) for _ in range(count)))
    return torch.tensor(np.stack(images)), torch.tensor(np.stack(masks))


def unsure(masks):
    """The cells at an edge have no label, as in Pascal VOC."""
    found = masks.clone()
    for axis in range(1, masks.ndim):
        cells = masks.shape[axis] - 1
        here, next_ = masks.narrow(axis, 0, cells), masks.narrow(axis, 1, cells)
        found.narrow(axis, 0, cells)[here != next_] = IGNORE
    return found


class UNet(nn.Module):
    """Down twice and up again; what was seen on the way down is added on the way up."""

    def __init__(self, axes, width=12):
        super().__init__()
        convolution, norm, pool = (
            (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d)
            if axes == 2
            else (nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d)
        )

        def block(into, out):
            return nn.Sequential(convolution(into, out, 3, padding=1), norm(out), nn.ReLU())

        self.down = nn.ModuleList(
            [block(1, width), block(width, 2 * width), block(2 * width, 2 * width)]
        )
        self.up = nn.ModuleList([block(4 * width, width), block(2 * width, width)])
        self.pool, self.last = pool(2), convolution(width, CLASSES, 1)

    def forward(self, x):
        seen = []
        for k, block in enumerate(self.down):
            x = block(self.pool(x) if k else x)
            seen.append(x)
        for block, skip in zip(self.up, seen[-2::-1]):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0), skip], 1))
        return self.last(x)


def mean_iou(net, images, masks):
    """Intersection over union of each class over all test scenes, and their mean."""
    with torch.inference_mode():
        guess = torch.cat([net(part).argmax(1) for part in images.split(32)])
    both = [((guess == k) & (masks == k)).sum().item() for k in range(CLASSES)]
    either = [((guess == k) | (masks == k)).sum().item() for k in range(CLASSES)]
    return sum(b / max(e, 1) for b, e in zip(both, either)) / CLASSES


def train(policy, seed, shape, rows, steps):
    """The test's mean IoU of a network trained on `rows` scenes."""
    images, masks = scenes(seed, rows, shape)
    masks = unsure(masks)
    axes = "HW" if len(shape) == 2 else "DHW"
    fields = {0: Image("NC" + axes), 1: SoftMask("N" + axes, CLASSES, ignore=IGNORE)}
    mixer = bm.Mixer(policy, fields, seed=seed)
    torch.manual_seed(seed)
    net, order = UNet(len(shape)), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-2, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, steps)
    for _ in range(steps):
        some = torch.randperm(rows, generator=order)[:BATCH]
        x, target = mixer((images[some], masks[some]))
        loss = F.cross_entropy(net(x), target, reduction="sum") / target.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return mean_iou(net.eval(), *scenes(10_000 + seed, TEST, shape))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--volumes", action="store_true", help="three axes instead of two")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", type=int, default=24, help="labelled scenes to train on")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    parser.add_argument("--out", type=Path, help="write what was found as JSON")
    args = parser.parse_args()
    shape = (16, 16, 16) if args.volumes else (40, 40)
    steps = 20 if args.quick else args.steps
    found = {name: [] for name in ARMS}
    for seed in range(args.seeds):
        for name, policy in ARMS.items():
            began = time.perf_counter()
            found[name].append(round(train(policy, seed, shape, args.rows, steps), 4))
            took = time.perf_counter() - began
            print(f"seed {seed}  {name:9} mean IoU {found[name][-1]:.3f}  {took:.0f} s", flush=True)
    for name, values in found.items():
        gain = np.subtract(values, found["none"])
        error = f" ± {gain.std(ddof=1) / len(gain) ** 0.5:.3f}" if len(gain) > 1 else ""
        print(f"{name:9} {np.mean(values):.3f}   from none {gain.mean():+.3f}{error}")
    if args.out:
        facts = {"shape": shape, "rows": args.rows, "steps": steps, "batch": BATCH, "test": TEST}
        args.out.write_text(json.dumps(facts | {"mean_iou": found}) + "\n")


if __name__ == "__main__":
    main()
