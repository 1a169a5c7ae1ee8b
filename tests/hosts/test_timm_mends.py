"""What goes wrong in timm 1.0.31, and does not here."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import timm.data
import torch

import batchmix as bm
from batchmix.adapters.timm import FastCollateMixup, Mixup

B, C, H, W = 6, 7, 9, 14
X = torch.rand(B, 3, H, W, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 3, 6, 2, 2, 5])


@pytest.fixture(autouse=True)
def _seeded():
    np.random.seed(0)


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
    )(x.clone(), y)  # fmt: skip
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


def test_images_are_mixed_in_place_as_in_timm():
    for mode in ("batch", "pair", "elem"):
        for images in (X.clone(), X.clone().to(memory_format=torch.channels_last), X.half()):
            before = images.clone()
            for cls in (timm.data.Mixup, Mixup):
                mixed, _ = cls(0.5, 1.0, mode=mode, num_classes=C)(images, Y)
                assert mixed is images
                assert not torch.equal(images, before)


def test_what_cannot_be_written_to_is_copied():
    """timm fails, or mixes rows that were mixed already."""
    mixup = Mixup(0.5, 1.0, num_classes=C)
    leaf = X.clone().requires_grad_()
    mixed, _ = mixup(leaf, Y)
    mixed.sum().backward()
    assert torch.equal(leaf.detach(), X)
    assert leaf.grad.sum() == pytest.approx(X.numel(), rel=1e-5)
    one = torch.rand(1, 3, H, W)
    assert not torch.equal(mixup(one.expand(4, -1, -1, -1), Y[:4])[0], X[:4])
    with torch.inference_mode():
        sealed = X.clone()
    assert mixup(sealed, Y)[0].shape == X.shape
    assert torch.equal(sealed, X)


@pytest.mark.parametrize("mode", ["batch", "pair", "elem", "half"])
def test_the_data_set_is_not_written_to(mode):
    """timm does, in two modes."""
    rows = [(np.full((3, 8, 8), k, np.uint8), k) for k in range(8)]
    for image, _ in rows:
        image.flags.writeable = False
    FastCollateMixup(0.0, 1.0, mode=mode, num_classes=8)(rows)
    tensors = [(torch.full((3, 8, 8), k), k) for k in range(8)]
    FastCollateMixup(0.0, 1.0, mode=mode, num_classes=8)([(x.byte(), k) for x, k in tensors])
    assert all((image == k).all() for image, k in [*rows, *tensors])


def test_float_rows_stay_floats():
    batch = [(X[i].numpy(), int(Y[i])) for i in range(B)]
    images, _ = FastCollateMixup(0.5, num_classes=C)(batch)
    assert images.dtype == torch.float32
    assert ((images > 0) & (images < 1)).all()


def test_dense_labels_are_taken_and_masks_and_negative_ids_refused():
    mixup = Mixup(1.0, num_classes=C, mode="elem", seed=0)
    again = Mixup(1.0, num_classes=C, mode="elem", seed=0)
    dense = torch.nn.functional.one_hot(Y, C)
    torch.testing.assert_close(mixup(X.clone(), dense)[1], again(X.clone(), Y)[1])
    for bad in (torch.zeros(B, H, W, dtype=torch.int64), Y - 1, Y + 1):
        with pytest.raises(bm.MixError, match="label"):
            mixup(X.clone(), bad)


def test_wrong_arguments_are_refused():
    for cls, bad in ((Mixup, "half"), (Mixup, "element"), (FastCollateMixup, "batches")):
        with pytest.raises(bm.MixError, match=f"got mode='{bad}'"):
            cls(mode=bad)
    with pytest.raises(bm.MixError, match="neither MixUp nor CutMix"):
        Mixup(0.0, 0.0)
    bad = [
        ("prob", 1.5), ("switch_prob", -1), ("mixup_alpha", -1), ("cutmix_minmax", (2, 3)),
        ("cutmix_minmax", (0.2,)),
    ]  # fmt: skip
    for name, value in bad:
        with pytest.raises(bm.MixError, match="got"):
            Mixup(**{name: value})
    with pytest.raises(bm.MixError, match="Stack images"):
        Mixup()(torch.zeros(4, 3), Y[:4])
    with pytest.raises(bm.MixError, match="Stack images"):
        FastCollateMixup()([((1, 2), 0), ((1, 2), 0)])
    with pytest.raises(bm.MixError, match="Stack images"):
        FastCollateMixup()([])


@pytest.mark.parametrize("cls", [Mixup, FastCollateMixup])
@pytest.mark.parametrize("name", ["_params_per_batch", "_params_per_elem", "_mix_batch"])
def test_an_override_without_effect_is_refused(cls, name):
    with pytest.raises(bm.MixError, match=f"Mine: overrides {name}"):
        type("Mine", (cls,), {name: lambda self, *_: (0.25, False)})
    mixin = type("Mixin", (), {name: lambda self, *_: (0.25, False)})
    with pytest.raises(bm.MixError, match=f"Mine: overrides {name}"):
        type("Mine", (mixin, cls), {})
    one = cls(num_classes=C)
    setattr(one, name, lambda *_: (0.25, False))
    with pytest.raises(bm.MixError, match=f"{cls.__name__}: overrides {name}"):
        one([(x, 0) for x in X]) if cls is FastCollateMixup else one(X.clone(), Y)


def test_a_subclass_may_override_what_is_called():
    class Counting(Mixup):
        calls = 0

        def __call__(self, x, target):
            self.calls += 1
            return super().__call__(x, target)

    mixup = Counting(0.5, num_classes=C)
    assert not torch.equal(mixup(X.clone(), Y)[0], X)
    assert mixup.calls == 1


def test_switched_off_labels_are_still_smoothed():
    ours, theirs = Mixup(1.0, num_classes=C), timm.data.Mixup(1.0, num_classes=C)
    ours.mixup_enabled = theirs.mixup_enabled = False
    images, targets = ours(X.clone(), Y)
    assert torch.equal(images, X)
    torch.testing.assert_close(targets, theirs(X.clone(), Y)[1])
    ours.mixup_enabled = True
    assert not torch.equal(ours(X.clone(), Y)[0], X)


def test_memory_format_and_copies():
    mixup = Mixup(0.8, 1.0, mode="elem", num_classes=C)
    copies = [copy.deepcopy(mixup), pickle.loads(pickle.dumps(mixup))]
    expected = mixup(X.clone().contiguous(memory_format=torch.channels_last), Y)
    assert expected[0].is_contiguous(memory_format=torch.channels_last)
    for other in copies:
        assert torch.equal(other(X.clone(), Y)[0], expected[0])
