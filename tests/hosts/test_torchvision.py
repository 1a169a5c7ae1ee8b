"""MixTransform in torchvision v2: parity, types, several images, masks, labels."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage
from torchvision import tv_tensors
from torchvision.transforms import v2

import batchmix as bm
from batchmix.adapters.torchvision import CutMix, MixTransform, MixUp
from batchmix.fields import Image, Labels, Mask
from batchmix.policies import Paste, PerBatch, Switch

ROOT = Path(__file__).parents[2]
ROWS, SIDE = 5, (6, 9)  # an odd batch of images that are not square
SWITCH = Switch([bm.policies.MixUp(1.0), bm.policies.CutMix(1.0)])


def rows(*shape, dtype=torch.float32):
    """Row i holds i everywhere, so that pixels tell whose they are."""
    return torch.arange(ROWS).view(-1, *[1] * len(shape)).expand(ROWS, *shape).to(dtype)


def shares(labels, images):
    """How much of each image the labels say is whose, and what its pixels say."""
    return labels @ torch.arange(ROWS, dtype=torch.float32), images.flatten(1).float().mean(1)


@dataclass(frozen=True)
class Drawn:
    """The policy that repeats what torchvision drew."""

    opacity: float
    box: tuple | None = None

    def sample(self, request):
        whole = [[0, n] for n in request.size.values()]
        batch = len(request.partner)
        box = np.tile(np.array(self.box or whole, np.int32), (batch, 1, 1))
        return Paste(box, np.full(batch, self.opacity), np.zeros(batch, np.int8))


def recorded(transform, *inputs):
    """What a transform of torchvision returns, and the parameters that it drew."""
    seen, make = {}, transform.make_params

    def record(flat):
        seen.update(make(flat))
        return seen

    transform.make_params = record
    return transform(*inputs), seen


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("soft", [False, True])
def test_mixup_is_torchvisions_for_the_lam_that_it_drew(seed, soft):
    torch.manual_seed(seed)
    x, y = torch.rand(ROWS, 3, *SIDE), torch.randint(4, (ROWS,))
    y = torch.softmax(torch.rand(ROWS, 4), 1) if soft else y
    theirs = v2.MixUp(alpha=0.7, num_classes=4)
    lam = round(float(theirs._dist.sample(())) * 4096) / 4096  # a plan counts in these steps
    theirs.make_params = lambda flat: {"lam": lam}
    ours = MixUp(num_classes=4)
    ours.mixer.policy = PerBatch(Drawn(1 - lam))
    for one, two in zip(ours(x, y), theirs(x, y)):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8])
def test_cutmix_is_torchvisions_for_the_box_that_it_drew(seed, dtype):
    torch.manual_seed(seed)
    x, y = (torch.rand(ROWS, 3, *SIDE) * 255).to(dtype), torch.randint(4, (ROWS,))
    theirs, drawn = recorded(v2.CutMix(num_classes=4), x, y)
    left, top, right, bottom = drawn["box"]
    ours = CutMix(num_classes=4)
    ours.mixer.policy = Drawn(1.0, ((top, bottom), (left, right)))
    mixed = ours(x, y)
    assert torch.equal(mixed[0], theirs[0])
    torch.testing.assert_close(mixed[1], theirs[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", [MixUp, CutMix])
def test_defaults_are_one_draw_for_the_batch_and_the_row_before(make):
    mix = make(num_classes=ROWS)
    plan = bm.draw(mix.mixer.policy, bm.Key(3), ROWS, {"H": 6, "W": 9}, pairing=mix.mixer.pairing)
    assert plan.partner.tolist() == [4, 0, 1, 2, 3]
    assert len(set(plan.lam.tolist())) == 1
    assert mix.mixer.policy.policy.alpha == 1.0


@pytest.mark.parametrize("kind", ["tuple", "list", "dict", "nested"])
def test_any_structure_and_the_types_stay(kind):
    image = tv_tensors.Image(rows(3, *SIDE, dtype=torch.uint8))
    mask = tv_tensors.Mask(rows(*SIDE, dtype=torch.int64))
    y, names = torch.arange(ROWS), ["a.jpg"] * ROWS
    batch = {
        "tuple": (image, y, mask, names),
        "list": [image, y, mask, names],
        "dict": {"img": image, "labels": y, "mask": mask, "names": names},
        "nested": {"in": (image, {"mask": mask}), "label": y, "names": names},
    }[kind]
    mixed = v2.Compose([MixTransform(bm.policies.CutMix(), num_classes=ROWS, seed=2)])(batch)
    assert type(mixed) is type(batch)
    flat, before = torch.utils._pytree.tree_leaves(mixed), torch.utils._pytree.tree_leaves(batch)
    assert len(flat) == len(before)
    for one, two in zip(flat, before):
        if two is y:
            labels = one
        elif isinstance(two, torch.Tensor):
            assert type(one) is type(two)
            assert (one.dtype, one.shape) == (two.dtype, two.shape)
            assert torch.allclose(*shares_of(one, flat))
        else:
            assert one == two
    assert labels.dtype == torch.float32
    assert 0 < (labels > 0).sum(1).max() <= 2


def shares_of(part, flat):
    """Shares by the labels among `flat`, and by the pixels of `part`."""
    (labels,) = (p for p in flat if isinstance(p, torch.Tensor) and p.ndim == 2)
    return shares(labels, part.as_subclass(torch.Tensor))


def test_two_plain_images_are_both_mixed():
    """torchvision mixes the first alone, and the label with it."""
    batch = {"left": rows(3, *SIDE), "right": rows(1, *SIDE), "labels": torch.arange(ROWS)}
    theirs = v2.MixUp(num_classes=ROWS)(batch)
    assert theirs["right"] is batch["right"]  # what is not to happen
    mixed = MixTransform(SWITCH, num_classes=ROWS)(batch)
    for side in ("left", "right"):
        assert torch.allclose(*shares(mixed["labels"], mixed[side]), atol=1e-5)
    assert not torch.equal(mixed["right"], batch["right"])


@pytest.mark.parametrize("policy", [bm.policies.MixUp(1.0), bm.policies.CutMix()])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_video_is_cut_in_space(policy, dtype):
    video = tv_tensors.Video(rows(4, 3, *SIDE, dtype=dtype) * 40)
    y = torch.arange(ROWS)
    mixed, labels = MixTransform(policy, num_classes=ROWS, seed=1)(video, y)
    assert isinstance(mixed, tv_tensors.Video)
    frames = mixed.as_subclass(torch.Tensor)
    assert (frames == frames[:, :1]).all()  # every frame alike
    assert torch.allclose(*shares(labels * 40, frames), atol=0.5 if dtype == torch.uint8 else 1e-3)


def test_8_bit_mixup_is_rounded_half_to_even():
    x = torch.tensor([0, 1, 3, 255], dtype=torch.uint8).view(4, 1, 1, 1)
    mix = MixUp(num_classes=4)
    mix.mixer.policy = Drawn(0.5)
    assert mix(x, torch.arange(4))[0].flatten().tolist() == [128, 0, 2, 129]


@pytest.mark.parametrize("bad", [-1, -100, 4])
def test_labels_out_of_range_are_refused(bad):
    with pytest.raises(bm.MixError, match=f"label {bad}"):
        MixUp(num_classes=4)(torch.rand(2, 3, 4, 4), torch.tensor([0, bad]))


def test_ids_need_the_number_of_classes():
    with pytest.raises(bm.MixError, match="Class ids cannot be averaged"):
        CutMix()(torch.rand(2, 3, 4, 4), torch.tensor([0, 1]))


BOXES = tv_tensors.BoundingBoxes(torch.zeros(2, 4), format="XYXY", canvas_size=(4, 4))


@pytest.mark.parametrize(
    ("batch", "match"),
    [
        ((), "no labels"),
        ((PILImage.new("RGB", (4, 4)),), "got a Image"),
        ((torch.rand(2, 3, 4, 4),), "no labels"),
        ((torch.rand(2, 3), torch.arange(2)), "no images"),
        ((torch.rand(2, 3, 4, 4), {"label_a": torch.zeros(2), "label_b": 0}), "no labels"),
        ((torch.rand(2, 3, 4, 4), {"y": torch.zeros(2)}), "no labels"),
        ((torch.rand(2, 3, 4, 4), *[torch.arange(2)] * 2), "twice"),
        ({"image": torch.rand(2, 3, 4, 4), "y": torch.zeros(2)}, "no labels"),
        ({"label_a": torch.zeros(2), "label_b": torch.zeros(2)}, "no labels"),
        ((torch.rand(2, 3, 4, 4), [0, 1]), "but list"),
        ((torch.rand(2, 3, 2, 4, 4), torch.arange(2)), "plain tensor"),
        ((torch.rand(2, 4, 4), torch.arange(2)), "plain tensor"),
        ((torch.rand(2, 3, 4, 4), torch.arange(2), BOXES), "BoundingBoxes"),
        ((PILImage.new("RGB", (4, 4)), torch.arange(2)), "a Image"),
        ((tv_tensors.Image(torch.rand(3, 4, 4)), torch.arange(2)), "layout 'NCHW'"),
        ((torch.rand(3, 3, 4, 4), torch.arange(2)), "rows"),
    ],
)
def test_what_does_not_fit_is_refused(batch, match):
    with pytest.raises(bm.MixError, match=match):
        MixUp(num_classes=2)(*batch)


def test_a_getter_and_a_mixer_with_fields():
    batch = {"a": rows(2, *SIDE), "b": torch.arange(ROWS), "c": rows(*SIDE, dtype=torch.int64)}
    named = {"a": Image("NCHW"), "b": Labels(ROWS), "c": Mask("NHW")}
    mixed = MixTransform(bm.Mixer(bm.policies.CutMix(), named, seed=4))(batch)
    assert torch.allclose(*shares(mixed["b"], mixed["c"]))
    del batch["c"]
    mix = MixTransform(
        bm.policies.CutMix(), num_classes=ROWS, labels_getter=lambda b: b["b"], seed=4
    )  # fmt: skip
    got = mix(batch)
    assert torch.equal(got["a"], mixed["a"])
    assert torch.equal(got["b"], mixed["b"])


def test_inputs_are_not_written_to():
    x, y = torch.rand(ROWS, 3, *SIDE), torch.arange(ROWS)
    before = x.clone()
    MixTransform(SWITCH, num_classes=ROWS)(x, y)
    assert torch.equal(x, before)


def test_print_says_what_it_does():
    assert "MixUp(alpha=0.4" in repr(MixUp(alpha=0.4, num_classes=3))


def test_a_broken_torchvision_is_named():
    code = (
        "import sys, types\n"
        "class Broken:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torchvision':\n"
        "            raise RuntimeError('operator torchvision::nms does not exist')\n"
        "sys.meta_path.insert(0, Broken())\n"
        "import batchmix.adapters.torchvision\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "ImportError: batchmix.adapters.torchvision: torchvision cannot" in done.stderr
    assert "built for the PyTorch that is installed" in done.stderr
