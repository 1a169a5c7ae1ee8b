"""What torchvision's own tests say of CutMix and MixUp is true of the classes in their place."""

import PIL.Image
import pytest
import torch
from torch.utils.data import DataLoader, default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2

import batchmix as bm
from batchmix.adapters.torchvision import CutMix, MixTransform, MixUp

ROWS, CLASSES = 16, 40
BOTH = pytest.mark.parametrize("cls", [CutMix, MixUp])


class Noise(torch.utils.data.Dataset):
    """Each row has a label of its own."""

    def __len__(self):
        return ROWS

    def __getitem__(self, k):
        if k >= ROWS:
            raise IndexError(k)
        return torch.rand(3, 24, 30), k


def assert_mixed(images, targets):
    """Of every row, two classes share the label."""
    assert images.shape == (ROWS, 3, 24, 30)
    assert targets.shape == (ROWS, CLASSES)
    torch.testing.assert_close(targets.sum(1), torch.ones(ROWS))
    assert ((targets != 0).sum(1) == 2).all()


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@BOTH
def test_every_way_to_hand_a_batch_over(cls):
    transform = cls(num_classes=CLASSES)
    images, ids = next(iter(DataLoader(Noise(), ROWS)))
    assert_mixed(*transform(images, ids))
    packed = next(iter(DataLoader(Noise(), ROWS)))
    assert isinstance(packed, list)
    assert_mixed(*transform(packed))
    for collate in (
        lambda rows: transform(default_collate(rows)),
        lambda rows: transform(*default_collate(rows)),
    ):
        assert_mixed(*next(iter(DataLoader(Noise(), ROWS, collate_fn=collate))))


@BOTH
@pytest.mark.parametrize("wrong", [
    PIL.Image.new("RGB", (12, 12)),
    tv_tensors.Mask(torch.rand(12, 12)),
    tv_tensors.BoundingBoxes(torch.rand(2, 4), format="XYXY", canvas_size=12),
    tv_tensors.KeyPoints(torch.rand(2, 2), canvas_size=(12, 12)),
    torch.rand(9, 3, 12, 12),
    {"img": torch.rand(9, 3, 12, 12), "Nothing_else": 3},
    (torch.rand(9, 3, 12, 12), "not_a_tensor"),
    (torch.rand(9, 3, 12, 12), torch.randint(2, (2, 3))),
    (torch.rand(1, 1, 9, 3, 12, 12), torch.randint(9, (9,))),
    (torch.rand(9, 3, 12, 12), torch.randint(9, (10,))),
    (torch.rand(9, 3, 12, 12), torch.randint(9, (9, 4, 4))),
    (torch.rand(9, 3, 12, 12), torch.rand(9, 3)),
], ids=repr)  # fmt: skip
def test_what_torchvision_refuses_is_refused(cls, wrong):
    """With another text, but as a ValueError too."""
    for transform in (cls(num_classes=10), getattr(v2, cls.__name__)(num_classes=10)):
        with pytest.raises(ValueError):  # noqa: PT011  torchvision has a text for each
            transform(*wrong) if isinstance(wrong, tuple) else transform(wrong)
    with pytest.raises(bm.MixError):
        cls(num_classes=10)(*wrong) if isinstance(wrong, tuple) else cls(num_classes=10)(wrong)


@BOTH
def test_ids_without_the_number_of_classes_are_refused(cls):
    with pytest.raises(bm.MixError, match="classes"):
        cls()(torch.rand(4, 3, 8, 8), torch.arange(4))
    soft = torch.softmax(torch.rand(4, 7), 1)
    assert cls()(torch.rand(4, 3, 8, 8), soft)[1].shape == (4, 7)


@BOTH
def test_twice_in_compose(cls):
    """torchvision's labels of the first are not labels for the second in all versions."""
    twice = v2.Compose([cls(num_classes=CLASSES), cls(num_classes=CLASSES)])
    _, targets = twice(torch.rand(ROWS, 3, 24, 30), torch.arange(ROWS))
    torch.testing.assert_close(targets.sum(1), torch.ones(ROWS))


@BOTH
@pytest.mark.parametrize("key", ["labels", "LABELS", "LaBeL", "SOME_KEY_WITH_LABeL_IN_IT"])
@pytest.mark.parametrize("kind", [tuple, list, dict])
def test_labels_are_found_where_torchvision_looks(cls, key, kind):
    images, ids = torch.rand(ROWS, 3, 24, 30), torch.arange(ROWS)
    named = {key: ids, "another_key": "whatever"}
    batch = {"image": images, **named} if kind is dict else kind((images, named, "whatever"))
    mixed = cls(num_classes=CLASSES)(batch)
    assert type(mixed) is kind
    found = mixed if kind is dict else mixed[1]
    assert_mixed(mixed["image"] if kind is dict else mixed[0], found[key])
    assert found["another_key"] == "whatever"
    if key.lower() != "labels":  # that one goes before others
        both = {"image": images, key: "something_else", "labels": ids}
        both = both if kind is dict else kind((images, both))
        mixed = cls(num_classes=CLASSES)(both)
        found = mixed if kind is dict else mixed[1]
        assert found["labels"].shape == (ROWS, CLASSES)
        assert found[key] == "something_else"


@pytest.mark.parametrize("getter", [None, "labels", 3])
def test_a_getter_that_is_none_is_refused(getter):
    for cls in (MixUp, CutMix, lambda **o: MixTransform(bm.policies.MixUp(), **o)):
        with pytest.raises(bm.MixError, match="labels_getter"):
            cls(num_classes=3, labels_getter=getter)
