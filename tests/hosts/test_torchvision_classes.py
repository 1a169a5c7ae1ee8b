"""MixUp and CutMix are torchvision's classes in what migrated code touches."""

import copy
import inspect
import pickle

import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

import batchmix as bm
from batchmix.adapters.torchvision import CutMix, MixTransform, MixUp
from batchmix.policies import PerBatch

ROWS = 6
BOTH = pytest.mark.parametrize("cls", [CutMix, MixUp])
X, Y = torch.rand(ROWS, 3, 8, 8), torch.arange(ROWS)


@BOTH
def test_they_are_classes_with_torchvisions_attributes(cls):
    theirs = getattr(v2, cls.__name__)
    ours, other = cls(alpha=0.4, num_classes=7), theirs(alpha=0.4, num_classes=7)
    assert isinstance(ours, theirs)
    assert isinstance(ours, MixTransform)
    assert issubclass(cls, v2.Transform)
    public = {name for name in vars(other) if not name.startswith("_")} - {"training"}
    assert public == {"alpha", "num_classes"}
    assert all(getattr(ours, name) == getattr(other, name) for name in public)
    assert {*dir(other)} <= {*dir(ours)}
    options = {"alpha": 0.4, "num_classes": 7, "labels_getter": lambda batch: batch[1]}
    assert {*inspect.signature(theirs).parameters} == {*options}  # all that there are
    cls(**options)


@BOTH
def test_numbers_that_do_not_fit_are_refused(cls):
    for alpha in (0.0, -1.0, float("nan")):
        with pytest.raises(bm.MixError, match="alpha"):
            cls(alpha=alpha)
    with pytest.raises(TypeError):  # keywords only, as in torchvision
        cls(0.2)


@BOTH
def test_print_says_what_it_does(cls):
    mix = cls(alpha=0.4, num_classes=3, seed=5)
    assert repr(mix).startswith(f"{cls.__name__}(")
    for part in ("alpha=0.4", "num_classes=3", "seed=5"):
        assert part in repr(mix)


@BOTH
def test_the_number_of_classes_is_read_at_each_call(cls):
    mix = cls(num_classes=ROWS)
    mix.num_classes = 9
    assert mix(X, Y)[1].shape == (ROWS, 9)


@BOTH
def test_a_subclass(cls):
    class Logged(cls):
        def __init__(self, **options):
            super().__init__(**options)
            self.shapes = []

        def forward(self, *inputs):
            self.shapes.append(inputs[0].shape)
            return super().forward(*inputs)

    mix = Logged(num_classes=ROWS)
    for other in (mix, copy.deepcopy(mix)):
        images, targets = other(X, Y)
        assert not torch.equal(images, X)
        assert targets.shape == (ROWS, ROWS)
        assert other.shapes == [X.shape]


@BOTH
@pytest.mark.parametrize("name", ["make_params", "transform", "check_inputs"])
def test_an_override_without_effect_is_refused(cls, name):
    with pytest.raises(bm.MixError, match=f"Mine: overrides {name}"):
        type("Mine", (cls,), {name: lambda self, *_: {"lam": 0.25}})
    one = cls(num_classes=ROWS)
    setattr(one, name, lambda *_: {"lam": 0.25})
    with pytest.raises(bm.MixError, match=f"{cls.__name__}: overrides {name}"):
        one(X, Y)


@BOTH
def test_copies_go_on_alike(cls):
    mix = cls(num_classes=ROWS)
    mix(X, Y)
    copies = [copy.deepcopy(mix), pickle.loads(pickle.dumps(mix))]
    expected = mix(X, Y)
    for other in copies:
        assert all(torch.equal(a, b) for a, b in zip(other(X, Y), expected))


def test_smoothing_is_that_of_labels():
    mixed = MixUp(num_classes=ROWS, smoothing=0.3)(X, Y)[1]
    assert float(mixed.min()) == pytest.approx(0.3 / ROWS, abs=1e-6)


# what is never averaged ---------------------------------------------------------------------------


MIXUP = PerBatch(bm.policies.MixUp(1.0))


@pytest.mark.parametrize(
    "other",
    [
        torch.randint(200, (ROWS, 1, 8, 8), dtype=torch.uint8),
        torch.randint(200, (ROWS, 3, 8, 8), dtype=torch.uint8),
        torch.randint(200, (ROWS, 1, 8, 8), dtype=torch.int16),
        torch.ones(ROWS, 1, 8, 8, dtype=torch.bool),
        torch.ones(ROWS, 1, 8, 8, dtype=torch.int64),
    ],
    ids=lambda x: f"{x.dtype}-{x.shape[1]}",
)
@pytest.mark.parametrize("image", [X, tv_tensors.Image(X)], ids=["plain", "Image"])
def test_integers_beside_images_are_refused(image, other):
    with pytest.raises(bm.MixError, match="Integers"):
        MixTransform(MIXUP, num_classes=ROWS)({"i": image, "labels": Y, "seg": other})
    mask = tv_tensors.Mask(other)
    mixed = MixTransform(MIXUP, num_classes=ROWS)({"i": image, "labels": Y, "seg": mask})
    assert type(mixed["seg"]) is tv_tensors.Mask
    assert torch.isin(mixed["seg"].as_subclass(torch.Tensor).long(), other.long()).all()


def test_a_byte_mask_beside_byte_images_is_refused():
    byte = (X * 255).to(torch.uint8)
    with pytest.raises(bm.MixError, match="Integers"):
        MixTransform(MIXUP, num_classes=ROWS)((byte, Y, byte[:, :1].clone()))


@pytest.mark.parametrize(
    "pair",
    [
        (X, torch.rand(ROWS, 1, 8, 8)),  # a depth map
        ((X * 255).byte(), (X * 99).byte()),  # two bytes alike
        (tv_tensors.Image((X * 255).byte()), tv_tensors.Image((X * 99)[:, :1])),  # both are told
    ],
    ids=["depth", "bytes", "told"],
)
def test_several_images_are_mixed_alike(pair):
    batch = {"a": pair[0], "b": pair[1], "labels": Y}
    mixed = MixTransform(MIXUP, num_classes=ROWS)(batch)
    for name in "ab":
        assert type(mixed[name]) is type(batch[name])
        assert mixed[name].dtype == batch[name].dtype
        assert not torch.equal(mixed[name], batch[name])


class Slide(tv_tensors.Image):
    """A type of a user's own."""


def test_types_of_a_users_own_stay():
    for policy in (MIXUP, PerBatch(bm.policies.CutMix())):
        for image in (Slide(X), Slide((X * 255).to(torch.uint8)), Slide(X.half())):
            images, _ = MixTransform(policy, num_classes=ROWS)(image, Y)
            assert type(images) is Slide
            assert images.dtype == image.dtype
