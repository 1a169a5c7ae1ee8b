"""The same pixels and labels as timm and torchvision, on parameters that they drew.

Each library draws and mixes by itself; what it drew is read off and written as a plan.
"""

import numpy as np
import pytest
import torch
from timm.data import mixup as timm_mixup
from torchvision.transforms import v2

import batchmix as bm

B, C, H, W = 6, 7, 9, 14
X = torch.rand(B, 3, H, W)
Y = torch.tensor([0, 3, 6, 2, 2, 5])
WHOLE = [[0, H], [0, W]]
NOTHING = [[0, 0], [0, 0]]
# float32, one rounding more or less per product
CLOSE = {"rtol": 0, "atol": 2e-7}


def plan_of(partner, boxes, opacity):
    """A plan over H x W."""
    return bm.Plan(np.asarray(partner), boxes, opacity, "HW", (H, W))


def assert_same(plan, images, target, smoothing=0.0):
    """Pixels and dense labels agree."""
    torch.testing.assert_close(bm.mix(X, plan, "NCHW"), images, **CLOSE)
    soft = bm.mix_labels(Y, plan, C, smoothing=smoothing)
    torch.testing.assert_close(soft, target, rtol=0, atol=1e-6)


class Record:
    """timm's Mixup with what it drew noted down."""

    def __init__(self, monkeypatch, **options):
        self.drawn, self.boxes = None, []
        self.mixup = timm_mixup.Mixup(num_classes=C, **options)
        make_box = timm_mixup.cutmix_bbox_and_lam

        def box_and_lam(*args, **kwargs):
            box, lam = make_box(*args, **kwargs)
            self.boxes.append([[box[0], box[1]], [box[2], box[3]]])
            return box, lam

        def noted(draw):
            def call(*args):
                self.drawn = draw(*args)
                return self.drawn

            return call

        monkeypatch.setattr(timm_mixup, "cutmix_bbox_and_lam", box_and_lam)
        for name in ("_params_per_batch", "_params_per_elem"):
            monkeypatch.setattr(self.mixup, name, noted(getattr(self.mixup, name)))

    def plan(self, rows):
        """What was drawn, as a plan; `rows` is the number of draws, repeated for pairs."""
        lam, use_cutmix = (np.broadcast_to(v, rows) for v in self.drawn)
        boxes = iter(self.boxes)
        drawn = []
        for own, cut in zip(lam, use_cutmix):
            if own == 1:
                drawn.append((NOTHING, 0.0))
            elif cut:
                drawn.append((next(boxes) if rows > 1 else self.boxes[0], 1.0))
            else:
                drawn.append((WHOLE, 1 - own))
        if rows == 1:
            drawn *= B
        elif rows == B // 2:
            drawn += drawn[::-1]
        return plan_of(np.arange(B)[::-1], *map(list, zip(*drawn)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("mode", "rows"), [("batch", 1), ("pair", B // 2), ("elem", B)])
@pytest.mark.parametrize(
    "options",
    [
        {"mixup_alpha": 1.0},
        {"mixup_alpha": 0.0, "cutmix_alpha": 1.0},
        {"mixup_alpha": 0.8, "cutmix_alpha": 1.0, "switch_prob": 0.5, "prob": 0.7},
        {"mixup_alpha": 0.0, "cutmix_minmax": (0.2, 0.8), "label_smoothing": 0.0},
    ],
)
def test_timm(monkeypatch, options, mode, rows, seed):
    np.random.seed(seed)
    record = Record(monkeypatch, mode=mode, **options)
    images, target = record.mixup(X.clone(), Y)
    assert_same(record.plan(rows), images, target, options.get("label_smoothing", 0.1))


@pytest.mark.parametrize("seed", range(4))
def test_torchvision_mixup(monkeypatch, seed):
    torch.manual_seed(seed)
    transform = v2.MixUp(alpha=1.0, num_classes=C)
    seen = noted_params(monkeypatch, transform)
    images, target = transform(X, Y)
    plan = plan_of(np.roll(range(B), 1), [WHOLE] * B, [1 - seen["lam"]] * B)
    assert_same(plan, images, target)


@pytest.mark.parametrize("seed", range(4))
def test_torchvision_cutmix(monkeypatch, seed):
    torch.manual_seed(seed)
    transform = v2.CutMix(alpha=1.0, num_classes=C)
    seen = noted_params(monkeypatch, transform)
    images, target = transform(X, Y)
    x1, y1, x2, y2 = seen["box"]
    plan = plan_of(np.roll(range(B), 1), [[[y1, y2], [x1, x2]]] * B, [1] * B)
    assert plan.lam[0] == pytest.approx(seen["lam_adjusted"])
    assert_same(plan, images, target)


def noted_params(monkeypatch, transform):
    """A dict that is filled with what the transform draws."""
    seen, make = {}, transform.make_params

    def noted(inputs):
        seen.update(make(inputs))
        return seen

    monkeypatch.setattr(transform, "make_params", noted)
    return seen
