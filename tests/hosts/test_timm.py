"""For what timm drew, images and labels are those of timm."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest
import timm.data
import torch
from timm.data import mixup as timm_mixup

import batchmix as bm
from batchmix import _drawing
from batchmix.adapters.timm import FastCollateMixup, Mixup
from batchmix.pairing import Reverse

B, C, H, W = 6, 7, 9, 14
X = torch.rand(B, 3, H, W, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 3, 6, 2, 2, 5])
OPTIONS = [
    {"mixup_alpha": 1.0},
    {"mixup_alpha": 0.0, "cutmix_alpha": 1.0},
    {"mixup_alpha": 0.8, "cutmix_alpha": 1.0, "switch_prob": 0.4, "prob": 0.7},
    {"mixup_alpha": 0.0, "cutmix_minmax": (0.2, 0.8), "label_smoothing": 0.0},
    {"mixup_alpha": 0.5, "cutmix_alpha": 1.0, "correct_lam": False},
]


class Recorded:
    """timm's own class, with what it drew noted down and written as a plan."""

    def __init__(self, monkeypatch, timms, **options):
        self.mixup, self.boxes, self.mode = timms(num_classes=C, **options), [], options["mode"]
        self.corrected = options.get("correct_lam", True)
        beta, make_box = np.random.RandomState(1).beta, timm_mixup.cutmix_bbox_and_lam

        def on_the_lattice(a, b, size=None):  # multiples of 1/4096, so that bytes round alike
            return np.rint(beta(a, b, size) * 4096) / 4096

        def box_and_lam(*args, **kwargs):
            box, lam = make_box(*args, **kwargs)
            self.boxes.append([[box[0], box[1]], [box[2], box[3]]])
            return box, lam

        def noted(draw):
            def call(*args):
                self.drawn = draw(*args)
                self.drawn = tuple(np.copy(v) for v in self.drawn)  # timm changes its lams later
                return tuple(v.copy() for v in self.drawn) if args else draw_of(self.drawn)

            return call

        def draw_of(drawn):
            return float(drawn[0]), bool(drawn[1])

        monkeypatch.setattr(timm_mixup.np.random, "beta", on_the_lattice)
        monkeypatch.setattr(timm_mixup, "cutmix_bbox_and_lam", box_and_lam)
        for name in ("_params_per_batch", "_params_per_elem"):
            monkeypatch.setattr(self.mixup, name, noted(getattr(self.mixup, name)))

    def plan(self, size):
        """What was drawn: one entry per row."""
        lam, cut = map(np.atleast_1d, self.drawn)
        boxes, rows = iter(self.boxes), []
        for own, is_cut in zip(lam, cut):
            if own == 1:
                rows.append(([[0, 0], [0, 0]], 0.0, 1.0))
            elif is_cut:
                rows.append((next(boxes), 1.0, np.nan if self.corrected else own))
            else:
                rows.append(([[0, size[0]], [0, size[1]]], 1 - own, np.nan))
        if self.mode == "batch":
            rows *= B
        elif self.mode == "pair":
            rows += rows[::-1]
        elif self.mode == "half":
            rows += [([[0, 0], [0, 0]], 0.0, 1.0)] * (B // 2)
        boxes, opacity, label_lam = zip(*rows)
        return bm.Plan(np.arange(B)[::-1], boxes, opacity, "HW", size, label_lam=label_lam)


def forced(monkeypatch, plan):
    """Our classes draw this plan next."""

    def draw(policy, key, batch, size, *, pairing, hints, other):
        assert (hints, other) == ({}, None)
        assert (batch, tuple(size.values()), pairing) == (len(plan), plan.size, Reverse())
        return plan

    monkeypatch.setattr(_drawing, "draw", draw)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
@pytest.mark.parametrize("options", OPTIONS)
def test_mixup_is_timms_for_what_timm_drew(monkeypatch, options, mode, seed):
    np.random.seed(seed)
    theirs = Recorded(monkeypatch, timm.data.Mixup, mode=mode, **options)
    images, targets = theirs.mixup(X.clone(), Y)
    forced(monkeypatch, theirs.plan((H, W)))
    ours = Mixup(num_classes=C, mode=mode, **options)(X.clone(), Y)
    torch.testing.assert_close(ours[0], images, rtol=0, atol=2e-7)
    torch.testing.assert_close(ours[1], targets, rtol=0, atol=1e-6)


@pytest.mark.parametrize("arrays", [False, True])
@pytest.mark.parametrize("mode", ["batch", "pair", "elem", "half"])
@pytest.mark.parametrize("options", OPTIONS)
def test_collate_is_timms_byte_for_byte(monkeypatch, options, mode, arrays):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (B, 3, H, W), np.uint8)
    batch = [(x if arrays else torch.from_numpy(x), int(k)) for x, k in zip(rows, Y)]
    np.random.seed(4)
    theirs = Recorded(monkeypatch, timm.data.FastCollateMixup, mode=mode, **options)
    images, targets = theirs.mixup(copy.deepcopy(batch))
    forced(monkeypatch, theirs.plan((H, W)))
    ours = FastCollateMixup(num_classes=C, mode=mode, **options)(batch)
    assert ours[0].dtype == torch.uint8
    assert torch.equal(ours[0], images)
    torch.testing.assert_close(ours[1], targets, rtol=0, atol=1e-6)


def test_multi_label_is_timms(monkeypatch):
    dense = torch.tensor(np.random.default_rng(1).integers(0, 2, (B, C)))
    theirs = Recorded(monkeypatch, timm.data.Mixup, mode="elem", multi_label=True)
    _, targets = theirs.mixup(X.clone(), dense)
    forced(monkeypatch, theirs.plan((H, W)))
    ours = Mixup(num_classes=C, mode="elem", multi_label=True)(X.clone(), dense)
    torch.testing.assert_close(ours[1], targets, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="multi_label"):
        Mixup(num_classes=C, multi_label=True)(X, Y)


@pytest.mark.parametrize("cutmix", [False, True])
@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
@pytest.mark.parametrize("cls", [Mixup, FastCollateMixup])
def test_labels_that_both_rows_have_stay_whole(monkeypatch, cls, mode, cutmix):
    """As timm tests of its `multi_label`, for a lam of 0.25 and a box that leaves 0.75."""
    dense = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    images = torch.stack([torch.zeros(3, 4, 4), torch.full((3, 4, 4), 200.0)])
    box = [[0, 2], [0, 2]] if cutmix else [[0, 4], [0, 4]]
    opacity, lam = (1.0, 0.75) if cutmix else (0.75, 0.25)
    forced(monkeypatch, bm.Plan([1, 0], [box] * 2, [opacity] * 2, "HW", (4, 4)))
    mix = cls(num_classes=3, multi_label=True, label_smoothing=0.0, mode=mode)
    rows = [*zip(images.byte(), dense)]
    _, targets = mix(rows) if cls is FastCollateMixup else mix(images, dense.clone())
    torch.testing.assert_close(targets, dense * lam + dense.flip(0) * (1 - lam))


def test_arguments_and_attributes_are_timms():
    for ours, theirs in ((Mixup, timm.data.Mixup), (FastCollateMixup, timm.data.FastCollateMixup)):
        mine, other = (inspect.signature(cls.__init__).parameters for cls in (ours, theirs))
        assert list(mine)[: len(other)] == list(other)
        assert [mine[n].default for n in other] == [p.default for p in other.values()]
        made = (
            ours(num_classes=C, cutmix_minmax=(0.2, 0.8), mode="elem"),
            theirs(num_classes=C, cutmix_minmax=(0.2, 0.8), mode="elem"),
        )
        assert {k: getattr(made[0], k) for k in vars(made[1])} == vars(made[1])
        assert isinstance(made[0], theirs)
