"""timm's Mixup and FastCollateMixup beside ours: parity, its loader, and what goes wrong in it."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm.data
import torch
from timm.data import create_loader
from timm.data import mixup as timm_mixup
from torch.utils.data import DataLoader

import batchmix as bm
from batchmix import _mixer
from batchmix.adapters.timm import FastCollateMixup, Mixup
from batchmix.pairing import Reverse
from batchmix.policies import CutMix

ROOT = Path(__file__).parents[2]
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

    def draw(policy, key, batch, size, *, pairing):
        assert (batch, tuple(size.values()), pairing) == (len(plan), plan.size, Reverse())
        return plan

    monkeypatch.setattr(_mixer, "draw", draw)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
@pytest.mark.parametrize("options", OPTIONS)
def test_mixup_is_timms_for_what_timm_drew(monkeypatch, options, mode, seed):
    np.random.seed(seed)
    theirs = Recorded(monkeypatch, timm.data.Mixup, mode=mode, **options)
    images, targets = theirs.mixup(X.clone(), Y)
    forced(monkeypatch, theirs.plan((H, W)))
    ours = Mixup(num_classes=C, mode=mode, **options)(X, Y)
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
    ours = Mixup(num_classes=C, mode="elem", multi_label=True)(X, dense)
    torch.testing.assert_close(ours[1], targets, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="multi_label"):
        Mixup(num_classes=C, multi_label=True)(X, Y)


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


# what is drawn ---------------------------------------------------------------------------------


def drawn(mixup, batches=300, batch=8, side=32):
    return [mixup._plan(batch, (batch, 3, side, side)) for _ in range(batches)]


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
def test_what_is_drawn_has_timms_distribution(mode):
    options = {"mixup_alpha": 0.8, "cutmix_alpha": 1.0, "prob": 0.6, "switch_prob": 0.25}
    plans = drawn(Mixup(mode=mode, **options))
    kinds = np.stack([plan.kind for plan in plans])
    lam = np.stack([plan.lam for plan in plans])
    one = {"batch": np.s_[:, :1], "pair": np.s_[:, :4], "elem": np.s_[:]}[mode]
    kinds, alike = kinds[one], lam
    slack = 4 * np.sqrt(0.25 / kinds.size)
    assert (kinds >= 0).mean() == pytest.approx(0.6, abs=slack)
    assert (kinds == 1).mean() == pytest.approx(0.6 * 0.25, abs=slack)
    if mode == "batch":
        assert (alike == alike[:, :1]).all()
    else:
        assert (alike != alike[:, :1]).any()
    assert ((alike == alike[:, ::-1]).all()) == (mode != "elem")
    theirs = timm.data.Mixup(mode="elem", **options | {"prob": 1.0, "switch_prob": 0.0})
    np.random.seed(0)
    expected = np.sort(theirs._params_per_elem(20_000)[0])
    ours = np.sort(lam[one][kinds == 0])
    share = np.searchsorted(expected, ours) / len(expected)
    distance = np.abs(share - (np.arange(len(ours)) + 0.5) / len(ours)).max()
    assert distance < 1.95 / np.sqrt(len(ours))  # Kolmogorov-Smirnov at 0.1 %


def test_boxes_have_timms_distribution():
    ours = np.concatenate([p.lam for p in drawn(Mixup(0.0, 1.0, mode="elem"))])
    np.random.seed(0)
    lams = np.random.beta(1.0, 1.0, 4000)
    theirs = [timm_mixup.cutmix_bbox_and_lam((3, 32, 32), lam)[1] for lam in lams]
    assert ours.mean() == pytest.approx(np.mean(theirs), abs=0.03)
    assert (ours < 0.5).mean() == pytest.approx(np.mean(np.less(theirs, 0.5)), abs=0.04)


def test_an_uncorrected_lam_is_the_one_that_was_drawn():
    for plan in drawn(Mixup(0.0, 1.0, mode="elem", correct_lam=False), batches=4, batch=100):
        side = (32 * np.sqrt(1 - plan.label_lam.astype(float))).astype(int)
        inside = ((plan.box[:, :, 0] > 0) & (plan.box[:, :, 1] < 32)).all(1)
        assert inside.any()
        assert (np.diff(plan.box[inside])[..., 0] == side[inside, None]).all()
        assert (plan.label_lam <= plan.lam + 1e-6).all()
        assert (plan.label_lam < plan.lam - 0.01).any()
    assert all(p.label_lam is None for p in drawn(Mixup(0.0, 1.0), batches=2))


def test_draws_come_from_the_seed_alone():
    def targets(**options):
        mixup = Mixup(0.8, 1.0, mode="elem", num_classes=C, **options)
        return torch.stack([mixup(X, Y)[1] for _ in range(3)])

    np.random.seed(0), torch.manual_seed(0)
    first = targets()
    before = np.random.get_state()[1].copy()
    assert torch.equal(targets(), first)
    assert (np.random.get_state()[1] == before).all()
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(targets(seed=1), first)
    assert not torch.equal(targets(rank=1), first)
    mixup = Mixup(0.8, 1.0, mode="elem", num_classes=C)
    epochs = []
    for epoch in (0, 1, 0):
        mixup.set_epoch(epoch)
        epochs.append(torch.stack([mixup(X, Y)[1] for _ in range(3)]))
    assert torch.equal(epochs[0], first)
    assert torch.equal(epochs[2], first)
    assert not torch.equal(epochs[1], first)


# what goes wrong in timm 1.0.31 ----------------------------------------------------------------


def provenance(dtype=torch.float32, shape=(3, H, W), rows=B):
    """Images filled with 10, 20, ...: pixels say whose they are."""
    values = 10 * (1 + torch.arange(rows))
    return values.view(-1, *[1] * len(shape)).expand(-1, *shape).contiguous().to(dtype)


def share_of_pixels(images, targets):
    """Difference between what labels say and what pixels say."""
    values = 10.0 * (1 + torch.arange(targets.shape[1])).double()
    return (images.double().flatten(1).mean(1) - targets.double() @ values).abs().max()


@pytest.mark.parametrize("rows", [0, 1, 2, 5, 7])
@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
def test_odd_and_small_batches(mode, rows):
    x, y = provenance(rows=rows), torch.arange(rows)
    images, targets = Mixup(
        0.8, 1.0, mode=mode, num_classes=max(rows, 2), label_smoothing=0.0
    )(x, y)  # fmt: skip
    assert images.shape == x.shape
    if rows % 2:
        assert torch.equal(images[rows // 2], x[rows // 2])
    if rows:
        assert share_of_pixels(images, targets) < 1e-4


@pytest.mark.parametrize("mode", ["batch", "pair", "elem", "half"])
def test_odd_batches_collated(mode):
    batch = [(x.numpy(), k) for k, x in enumerate(provenance(torch.uint8, rows=5))]
    collate = FastCollateMixup(0.8, 1.0, mode=mode, num_classes=5, label_smoothing=0.0)
    images, targets = collate(batch)
    assert len(images) == len(targets) == (3 if mode == "half" else 5)
    assert share_of_pixels(images, targets) <= 0.51
    # what a worker sends is what is given out
    assert images.untyped_storage().nbytes() == images.numel()


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16])
@pytest.mark.parametrize("alphas", [(1.0, 0.0), (0.0, 1.0)])
def test_integer_images_keep_their_label(mode, dtype, alphas):
    """In timm lam becomes an integer in two modes, 0: the label is all the partner's."""
    mixup = Mixup(*alphas, mode=mode, num_classes=B, label_smoothing=0.0)
    for _ in range(4):
        images, targets = mixup(provenance(dtype), torch.arange(B))
        assert images.dtype == dtype
        assert share_of_pixels(images, targets) <= 0.51
    with pytest.raises(bm.MixError, match="dtype"):
        mixup(provenance(torch.int64), torch.arange(B))


def test_half_images_have_exact_labels():
    """In timm lam has the dtype of the images, and rows of labels do not sum to 1."""
    for dtype in (torch.bfloat16, torch.float16):
        images, targets = Mixup(1.0, 1.0, mode="elem", num_classes=C)(X.to(dtype), Y)
        assert images.dtype == dtype
        assert targets.dtype == torch.float32
        assert (targets.sum(1) - 1).abs().max() < 1e-6


def test_a_box_in_a_video_lies_in_space():
    mixup = Mixup(0.0, 1.0, mode="elem", num_classes=B, label_smoothing=0.0)
    for _ in range(4):
        images, targets = mixup(provenance(shape=(3, 5, 12, 10)), torch.arange(B))
        assert share_of_pixels(images, targets) < 1e-4
        assert (images == images[:, :, :1]).all()  # the same in every frame


@pytest.mark.parametrize("mode", ["batch", "pair", "elem", "half"])
def test_what_goes_in_is_not_written_to(mode):
    x = X.clone()
    rows = [(np.full((3, 8, 8), k, np.uint8), k) for k in range(8)]
    for image, _ in rows:
        image.flags.writeable = False
    collate = FastCollateMixup(0.0, 1.0, mode=mode, num_classes=8)
    collate(rows)
    if mode != "half":
        Mixup(0.5, 1.0, mode=mode, num_classes=C)(x, Y)
    assert torch.equal(x, X)
    assert all((image == k).all() for image, k in rows)


def test_float_rows_stay_floats():
    batch = [(X[i].numpy(), int(Y[i])) for i in range(B)]
    images, _ = FastCollateMixup(0.5, num_classes=C)(batch)
    assert images.dtype == torch.float32
    assert ((images > 0) & (images < 1)).all()


def test_dense_labels_are_taken_and_masks_and_negative_ids_refused():
    mixup = Mixup(1.0, num_classes=C, mode="elem")
    again = Mixup(1.0, num_classes=C, mode="elem")
    dense = torch.nn.functional.one_hot(Y, C)
    torch.testing.assert_close(mixup(X, dense)[1], again(X, Y)[1])
    for bad in (torch.zeros(B, H, W, dtype=torch.int64), Y - 1, Y + 1):
        with pytest.raises(bm.MixError, match="label"):
            mixup(X, bad)


def test_wrong_arguments_are_refused():
    for cls, bad in ((Mixup, "half"), (Mixup, "element"), (FastCollateMixup, "batches")):
        with pytest.raises(bm.MixError, match=f"got mode='{bad}'"):
            cls(mode=bad)
    with pytest.raises(bm.MixError, match="neither MixUp nor CutMix"):
        Mixup(0.0, 0.0)
    bad = {"prob": 1.5, "switch_prob": -1, "mixup_alpha": -1, "cutmix_minmax": (2, 3)}
    for name, value in bad.items():
        with pytest.raises(bm.MixError, match="got"):
            Mixup(**{name: value})
    with pytest.raises(bm.MixError, match="Stack images"):
        Mixup()(torch.zeros(4, 3), Y[:4])
    with pytest.raises(bm.MixError, match="Stack images"):
        FastCollateMixup()([((1, 2), 0), ((1, 2), 0)])


def test_equal_bounds_of_a_box():
    plans = drawn(Mixup(0.0, cutmix_minmax=(0.5, 0.5), mode="elem"), batches=2)
    assert all((np.diff(plan.box) == 16).all() for plan in plans)


def test_switched_off_labels_are_still_smoothed():
    ours, theirs = Mixup(1.0, num_classes=C), timm.data.Mixup(1.0, num_classes=C)
    ours.mixup_enabled = theirs.mixup_enabled = False
    images, targets = ours(X, Y)
    assert torch.equal(images, X)
    torch.testing.assert_close(targets, theirs(X.clone(), Y)[1])
    ours.mixup_enabled = True
    assert not torch.equal(ours(X, Y)[0], X)


def test_memory_format_and_copies():
    mixup = Mixup(0.8, 1.0, mode="elem", num_classes=C)
    copies = [copy.deepcopy(mixup), pickle.loads(pickle.dumps(mixup))]
    expected = mixup(X.contiguous(memory_format=torch.channels_last), Y)
    assert expected[0].is_contiguous(memory_format=torch.channels_last)
    for other in copies:
        assert torch.equal(other(X, Y)[0], expected[0])


def test_attributes_may_change_while_training():
    mixup = Mixup(1.0, num_classes=C, mode="elem")
    mixup.mixup_alpha, mixup.cutmix_alpha = 0.0, 1.0
    plan = mixup._plan(B, X.shape)
    assert (plan.opacity == 1).all()
    assert mixup._policy() == CutMix(1.0)


# timm's own loader -----------------------------------------------------------------------------


class Pictures:
    """A data set as timm wants it; `transform` is set by create_loader."""

    transform = None

    def __init__(self, rows=24):
        self.rows = rows

    def __len__(self):
        return self.rows

    def __getitem__(self, k):
        return np.full((3, 8, 8), k, np.uint8), k


def timms_loader(collate, prefetcher=True, workers=2, **options):
    data = Pictures()
    loader = create_loader(
        data, (3, 8, 8), 4, is_training=True, collate_fn=collate, num_workers=workers,
        use_prefetcher=prefetcher, device=torch.device("cpu"), mean=(0,) * 3, std=(1 / 255,) * 3,
        re_prob=0.0, **options,
    )  # fmt: skip
    data.transform = None
    return loader


def hard(loader):
    return [bool((targets.max(1).values == 1).all()) for _, targets in loader]


def collate(**options):
    return FastCollateMixup(
        1.0, 1.0, num_classes=24, label_smoothing=0.0, mode="elem", **options
    )  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"persistent_workers": False}, {"workers": 0}])
def test_the_off_switch_of_timms_loader(options):
    """With timm's own class and persistent workers, its default, mixing goes on."""
    loader = timms_loader(collate(), **options)
    assert loader.mixup_enabled
    assert hard(loader) == [False] * 6
    loader.mixup_enabled = False
    assert not loader.mixup_enabled
    assert hard(loader) == [True] * 6
    loader.mixup_enabled = True
    assert hard(loader) == [False] * 6


def test_timms_own_switch_does_not_reach_persistent_workers():
    """What the test above is for; if timm repairs it, say so in the documentation."""
    theirs = timm.data.FastCollateMixup(
        1.0, 1.0, num_classes=24, label_smoothing=0.0, mode="elem"
    )  # fmt: skip
    loader = timms_loader(theirs)
    hard(loader)
    loader.mixup_enabled = False
    assert hard(loader) == [False] * 6


@pytest.mark.parametrize("prefetcher", [False, True])
def test_the_epoch_reaches_persistent_workers(prefetcher):
    mix = collate(off_epoch=1)
    loader = timms_loader(mix, prefetcher)
    seen = []
    for epoch in range(3):
        mix.set_epoch(epoch)
        seen.append(set(hard(loader)))
    assert seen == [{False}, {True}, {True}]
    with pytest.raises(bm.MixError, match="Call set_epoch"):
        next(iter(timms_loader(collate(off_epoch=1))))


@pytest.mark.parametrize(("count", "start"), [(1, "fork"), (2, "fork"), (3, "fork"), (2, "spawn")])
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # 3 on two cores
def test_workers_do_not_matter(count, start):
    images = torch.arange(22, dtype=torch.uint8)[:, None, None, None].expand(22, 3, 8, 8)
    data = torch.utils.data.TensorDataset(images.contiguous(), torch.arange(22))
    mix, alone = collate(seed=5, rank=1), collate(seed=5, rank=1)
    workers = DataLoader(
        data, 4, collate_fn=mix, num_workers=count, persistent_workers=True,
        multiprocessing_context=start,
    )  # fmt: skip
    for epoch in (0, 1, 0):
        mix.set_epoch(epoch), alone.set_epoch(epoch)
        batches = list(workers)
        for one, two in zip(batches, DataLoader(data, 4, collate_fn=alone), strict=True):
            assert torch.equal(one[0], two[0])
            assert torch.equal(one[1], two[1])
    key = bm.Key(5, 0, 4, 1)
    plan = bm.draw(mix._policy(), key, 4, {"H": 8, "W": 8}, pairing=Reverse())
    assert torch.equal(batches[4][0], bm.mix(images[16:20].contiguous(), plan, "NCHW"))


@pytest.mark.parametrize("persistent", [False, True])
def test_without_set_epoch_no_pass_repeats_another(persistent):
    loader = DataLoader(
        [(np.zeros((1, 8, 8), np.uint8), k % 4) for k in range(16)], 4, collate_fn=collate(),
        num_workers=2, persistent_workers=persistent,
    )  # fmt: skip
    seen = {targets.numpy().tobytes() for _ in range(3) for _, targets in loader}
    assert len(seen) == 12


def test_a_second_pass_of_new_workers_needs_an_epoch_of_its_own():
    """Else it would repeat every mix of the first one in silence."""
    mix = collate()
    loader = DataLoader(
        [(np.zeros((1, 8, 8), np.uint8), k % 4) for k in range(16)], 4, collate_fn=mix,
        num_workers=2,
    )  # fmt: skip
    mix.set_epoch(0)
    first = [targets.numpy().tobytes() for _, targets in loader]
    with pytest.raises(bm.MixError, match="Call set_epoch"):
        next(iter(loader))
    mix.set_epoch(1)
    assert not {targets.numpy().tobytes() for _, targets in loader} & set(first)


# example --------------------------------------------------------------------------------------


def test_example():
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "timm_loader.py")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.endswith("mixed: True") for line in lines[:-1]] == [True, True, True, False]
    assert float(lines[-1].removeprefix("test accuracy: ")) > 0.5
