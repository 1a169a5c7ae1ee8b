"""Targets of detection as data sets have them: what goes with a box stays with it."""

import collections

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import batchmix as bm
import batchmix.adapters.torch as adapter
from batchmix.fields import BoundingBoxes, Image, Instances, Keypoints
from batchmix.policies import CopyPaste, CutMix, MixUp, Mosaic, ResizeMix

SIZE = (16, 12)
PLAN = bm.Plan([1, 0], [[[0, 16], [0, 6]], [[4, 4], [0, 0]]], [1, 1], "HW", SIZE)


def target(xp, boxes, labels, **more):
    """One row, as torchvision's detection has it."""
    corners = np.array(boxes, float).reshape(-1, 4)
    return {
        "boxes": xp.array(corners, "float32"),
        "labels": xp.ids(labels),
        "image_id": xp.ids([17]),
        "name": "a.jpg",
        **more,
    }


def test_what_goes_with_a_box_follows_it(xp):
    rows = [target(xp, [[2, 0, 12, 8], [0, 1, 4, 3]], [1, 2]), target(xp, [[1, 1, 5, 5]], [3])]
    before = [dict(row) for row in rows]
    mixed = BoundingBoxes()(rows, PLAN)
    assert isinstance(mixed, list)
    assert [list(row) for row in mixed] == [list(row) for row in rows]
    assert xp.numpy(mixed[0]["boxes"]).tolist() == [[6, 0, 12, 8], [1, 1, 5, 5]]
    assert xp.numpy(mixed[0]["labels"]).tolist() == [1, 3]
    assert xp.numpy(mixed[0]["image_id"]).tolist() == [17]
    assert xp.dtype(mixed[0]["boxes"]) == "float32"
    assert xp.dtype(mixed[0]["labels"]) == "int64"
    assert xp.numpy(mixed[1]["boxes"]).tolist() == [[1, 1, 5, 5]]  # not mixed
    for row, was in zip(rows, before):
        assert all(row[name] is was[name] for name in was)


def quarters(n):
    """Two places on an axis, at quarters of cells."""
    return st.lists(st.integers(0, 4 * n), min_size=2, max_size=2, unique=True)


@st.composite
def padded(draw, rows):
    """[rows, 3, 5] with a number that tells boxes apart; some places are padding."""
    made = np.full((rows, 3, 5), -1.0)
    for i in range(rows):
        for k in range(draw(st.integers(0, 3))):
            ends = [sorted(draw(quarters(n))) for n in (SIZE[1], SIZE[0])]
            (left, right), (top, bottom) = ends
            right = max(right, 6)  # all in the first cell would be taken for shares
            made[i, k] = left / 4, top / 4, right / 4, bottom / 4, 10 * i + k
    return made


def ragged(boxes):
    """The same as a dict for each row."""
    some = [row[row[:, 4] >= 0] for row in boxes]
    return [{"boxes": row[:, :4], "labels": row[:, 4].astype(int)} for row in some]


def layer_of(rng, rows, axes="HW"):
    """A paste of any box, opacity, mask and source."""
    ends = [np.sort(rng.integers(0, n + 1, (rows, 2)), 1) for n in SIZE]
    source = [np.stack([low := rng.integers(0, n, rows), rng.integers(low + 1, n + 1)], 1)
              for n in SIZE]  # fmt: skip
    masks = [None, None, rng.choice(np.uint8([0, 128, 255]), (rows, *SIZE)),
             rng.choice([0.0, 0.5, 1.0], (rows, 3, 2))]  # fmt: skip
    return bm.Plan(
        rng.integers(0, rows, rows), np.stack(ends, 1), rng.choice([0, 0.25, 1], rows), "HW", SIZE,
        mask=masks[rng.integers(4)], source=np.stack(source, 1) if rng.random() < 0.5 else None,
    )  # fmt: skip


@st.composite
def layered(draw):
    """A plan of one to three pastes."""
    rng, rows = np.random.default_rng(draw(st.integers(0, 10**6))), draw(st.integers(1, 4))
    plan = layer_of(rng, rows)
    for _ in range(draw(st.integers(0, 2))):
        plan = plan.then(layer_of(rng, rows))
    return plan


@given(layered(), st.data())
def test_ragged_is_padded(plan, data):
    boxes = data.draw(padded(len(plan)))
    field = BoundingBoxes(weights=True)
    wide, rows = field(boxes, plan), field(ragged(boxes), plan)
    for one, row in zip(wide, rows):
        there = one[one[:, 2] > one[:, 0]]
        np.testing.assert_array_equal(there[:, :4], row["boxes"])
        np.testing.assert_array_equal(there[:, 4], row["labels"])
        np.testing.assert_allclose(there[:, 5], row["weights"], rtol=1e-6)


class Seen:
    """A policy that keeps what it was handed."""

    def __init__(self, name):
        self.reads = (name,)

    def sample(self, request):
        self.got = request.theirs[self.reads[0]]
        return MixUp(1.0).sample(request)


IMAGES = np.zeros((2, 1, *SIZE), np.float32)


@pytest.mark.parametrize("format", ["xyxy", "cxcywh", "xyxyn", "cxcywhn"])
def test_policies_read_boxes_in_cells(format, xp):
    cells = {"xyxy": [[2, 4, 8, 12]], "cxcywh": [[5, 8, 6, 8]]}[format.removesuffix("n")]
    share = np.array([12, 16, 12, 16.0]) if format.endswith("n") else 1
    rows = [
        {"boxes": xp.array(np.array(cells) / share, "float64"), "class_labels": xp.ids([5])},
        {"boxes": xp.array(np.zeros((0, 4)), "float64"), "class_labels": xp.ids([])},
    ]
    policy = Seen("boxes")
    pairing = bm.pairing.Roll(0)
    bm.Mixer(policy, {0: Image("NCHW"), 1: BoundingBoxes(format)}, pairing=pairing)((IMAGES, rows))
    np.testing.assert_allclose(policy.got, [[[2, 4, 8, 12, 5]], [[-1] * 5]])
    wide = np.concatenate([np.array(cells) / share, [[5.0]]], 1)[None].repeat(2, 0)
    bm.Mixer(policy, {0: Image("NCHW"), 1: BoundingBoxes(format)}, pairing=pairing)((IMAGES, wide))
    np.testing.assert_allclose(policy.got, [[[2, 4, 8, 12, 5]]] * 2)


def test_masks_of_targets_are_the_instances_that_are_pasted():
    masks = np.zeros((2, *SIZE), bool)
    masks[0, 2:6, 2:6], masks[1, 8:12, 3:9] = True, True
    rows = [
        {"boxes": np.array([[2.0, 2, 6, 6]]), "masks": masks[:1]},
        {"boxes": np.array([[3.0, 8, 9, 12]]), "masks": masks[1:]},
    ]
    mixer = bm.Mixer(CopyPaste(prob=1), {0: Image("NCHW"), 1: BoundingBoxes()})
    images = masks[:, None] + np.array([1.0, 3.0]).reshape(2, 1, 1, 1)
    mixed, targets = mixer((images, rows))
    assert [len(row["boxes"]) for row in targets] == [2, 2]
    assert (mixed[0, 0][targets[0]["masks"][1]] == 4).all()
    np.testing.assert_array_equal(targets[0]["boxes"], [[2, 2, 6, 6], [3, 8, 9, 12]])


CELLS = np.array([[[2.0, 4, 8, 12], [0, 0, 5.5, 6]], [[3, 1, 9, 15], [6, 8, 12, 16]]])
UNIT = np.array([12.0, 16, 12, 16])


def as_format(corners, format):
    """Left, top, right, bottom as another four numbers."""
    a, b, c, d = np.moveaxis(corners, -1, 0)
    return np.stack({
        "xyxy": [a, b, c, d], "yxyx": [b, a, d, c], "xywh": [a, b, c - a, d - b],
        "cxcywh": [(a + c) / 2, (b + d) / 2, c - a, d - b],
    }[format], -1)  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("format", ["xyxy", "yxyx", "xywh", "cxcywh"])
def test_shares_of_an_image_are_mixed_as_cells(format, dtype, xp):
    rng = np.random.default_rng(3)
    for _ in range(5):
        plan = layer_of(rng, 2).then(layer_of(rng, 2))
        cells = BoundingBoxes(weights=True)(CELLS, plan)
        shares = xp.array(as_format(CELLS / UNIT, format), dtype)
        got = BoundingBoxes(f"{format}n", weights=True)(shares, plan)
        assert xp.dtype(got) == dtype
        there = cells[..., 0] >= 0
        want = as_format(cells[there][:, :4] / UNIT, format)
        got = xp.numpy(got)
        np.testing.assert_allclose(got[there][:, :4], want, rtol=1e-5)
        np.testing.assert_allclose(got[there][:, 4], cells[there][:, 4], rtol=1e-5)
        np.testing.assert_array_equal(got[~there], -1)


def test_a_row_that_is_not_mixed_is_as_it_was(xp):
    share = xp.array(np.array([[[0.1, 0.7, 0.1 + 1e-4, 0.9], [0.3, 0.3, 0.9, 1.1]]]), "float32")
    plan = bm.Plan([0], [[[0, 16], [0, 12]]], [1], "HW", SIZE)
    mixed = BoundingBoxes("xyxyn")(share, plan)
    np.testing.assert_array_equal(xp.numpy(mixed)[:, :2], xp.numpy(share))
    row = {"boxes": share[0], "labels": xp.ids([1, 2])}
    (same,) = BoundingBoxes("xyxyn")([row], plan)
    assert same is not row
    assert same["boxes"] is row["boxes"]
    (weighed,) = BoundingBoxes("xyxyn", weights=True)([row], plan)
    assert xp.numpy(weighed["weights"]).tolist() == [1, 1]


def test_the_weight_of_a_blended_box_is_lam():
    plan = bm.Plan([1, 0], [[[0, 16], [0, 12]]] * 2, [0.25, 0.5], "HW", SIZE)
    mixed = BoundingBoxes(weights=True)(CELLS, plan)
    assert mixed[..., 4].tolist() == [[0.75, 0.75, 0.25, 0.25], [0.5] * 4]
    np.testing.assert_array_equal(mixed[0, :, :4], CELLS.reshape(4, 4))


def test_slivers_go():
    plan = bm.Plan([1, 0], [[[0, 16], [0, 7]], [[0, 16], [0, 3]]], [1, 1], "HW", SIZE)
    boxes = np.array([[[2.0, 0, 8, 16, 1]], [[6, 0, 12, 16, 2]]])
    assert BoundingBoxes()(boxes, plan)[:, :, 4].tolist() == [[-1, -1], [2, -1]]
    every = BoundingBoxes(min_size=0)(boxes, plan)
    assert every[0].tolist() == [[7, 0, 8, 16, 1], [6, 0, 7, 16, 2]]
    assert BoundingBoxes(min_size=0, min_visible=0.2)(boxes, plan)[0, :, 4].tolist() == [-1, -1]


def test_small_boxes_that_nothing_covers_stay():
    boxes = np.array([[[10.0, 3, 11, 4]], [[1, 3, 2, 4]]])
    assert BoundingBoxes()(boxes, PLAN)[0].tolist() == [[10, 3, 11, 4], [1, 3, 2, 4]]


def test_partners_of_another_batch():
    rows = [{"boxes": CELLS[i], "labels": np.array([i, i])} for i in range(2)]
    others = [{"boxes": CELLS[0] + k, "labels": np.array([10 + k] * 2)} for k in range(3)]
    pasted = [[[0, 16], [0, 12]]] * 2
    plan = bm.Plan([2, 0], pasted, [0.5, 0.5], "HW", SIZE, others=3)
    mixed = BoundingBoxes()(rows, plan, others)
    assert mixed[0]["labels"].tolist() == [0, 0, 12, 12]
    mixer = bm.Mixer(MixUp(1.0), {0: Image("NCHW"), 1: BoundingBoxes()})
    pool = np.zeros((3, 1, *SIZE), np.float32)
    _, mixed = mixer((IMAGES, rows), other=(pool, others))
    assert [len(row["boxes"]) for row in mixed] == [4, 4]
    wide = np.stack([other["boxes"] for other in others])
    _, mixed = mixer((IMAGES, CELLS), other=(pool, wide))
    assert mixed.shape == (2, 4, 4)


def test_one_dict_with_the_row_of_each_box(xp):
    """As ultralytics collates; the order of boxes is that of the rows."""
    flat = {
        "cls": xp.array(np.array([[1.0], [2], [3], [4]]), "float32"),
        "bboxes": xp.array(as_format(CELLS / UNIT, "cxcywh").reshape(4, 4), "float32"),
        "batch_idx": xp.array(np.array([0.0, 0, 1, 1]), "float32"),
        "im_file": ["a", "b"],
    }
    plan = layer_of(np.random.default_rng(0), 2)
    plan = bm.Plan([1, 0], [[[0, 16], [0, 12]]] * 2, [0.5, 0], "HW", SIZE)
    mixed = BoundingBoxes("cxcywhn", weights=True)(flat, plan)
    assert xp.numpy(mixed["batch_idx"]).tolist() == [0, 0, 0, 0, 1, 1]
    assert xp.numpy(mixed["cls"]).ravel().tolist() == [1, 2, 3, 4, 3, 4]
    assert xp.numpy(mixed["weights"]).tolist() == [0.5] * 4 + [1] * 2
    assert mixed["im_file"] == ["a", "b"]
    assert xp.dtype(mixed["bboxes"]) == "float32"
    none = {
        "bboxes": flat["bboxes"][:0],
        "batch_idx": flat["batch_idx"][:0],
        "cls": flat["cls"][:0],
    }
    assert tuple(BoundingBoxes("cxcywhn")(none, plan)["bboxes"].shape) == (0, 4)


def test_keep_is_for_what_belongs_to_the_row():
    row = {"boxes": CELLS[0], "camera": np.array([5, 6])}
    plan = bm.Plan([1, 0], [[[0, 16], [0, 12]]] * 2, [0.5, 0.5], "HW", SIZE)
    assert len(BoundingBoxes()([row, row], plan)[0]["camera"]) == 4
    assert BoundingBoxes(keep=("camera",))([row, row], plan)[0]["camera"] is row["camera"]
    sized = row | {"size": np.array([16, 12]), "names": ["x", "y"]}
    mixed = BoundingBoxes(keep=("camera",))([sized, sized], plan)[0]
    assert mixed["size"] is sized["size"]
    assert mixed["names"] == ["x", "y", "x", "y"]


def test_tensors_of_torchvision_come_back_as_such():
    tv_tensors = pytest.importorskip("torchvision.tv_tensors")
    rows = [
        {
            "boxes": tv_tensors.BoundingBoxes(torch.tensor(boxes), format="XYXY", canvas_size=SIZE),
            "masks": tv_tensors.Mask(torch.ones(2, *SIZE, dtype=torch.uint8)),
            "labels": torch.tensor([1, 2]),
        }
        for boxes in CELLS
    ]
    mixed = BoundingBoxes()(rows, PLAN)[0]
    assert type(mixed["boxes"]) is tv_tensors.BoundingBoxes
    assert mixed["boxes"].format.value == "XYXY"
    assert mixed["boxes"].canvas_size == SIZE
    assert type(mixed["masks"]) is tv_tensors.Mask
    assert type(mixed["labels"]) is torch.Tensor
    with pytest.raises(bm.MixError, match=r"boxes are XYXY.*'cxcywh'"):
        BoundingBoxes("cxcywh")(rows, PLAN)
    rows[1]["boxes"] = tv_tensors.wrap(rows[1]["boxes"], like=rows[1]["boxes"], canvas_size=(8, 8))
    with pytest.raises(bm.MixError, match=r"\(8, 8\).*\(16, 12\)"):
        BoundingBoxes()(rows, PLAN)


def test_the_containers_of_other_libraries_are_kept():
    rows = (collections.UserDict(boxes=CELLS[0]), collections.UserDict(boxes=CELLS[1]))
    mixed = BoundingBoxes()(rows, PLAN)
    assert type(mixed) is tuple
    assert type(mixed[0]) is collections.UserDict
    assert rows[0]["boxes"] is not mixed[0]["boxes"]


def rows_with(**entries):
    """A batch of which the first row has something else."""
    return [{"boxes": CELLS[0], "labels": np.array([1, 2])} | entries,
            {"boxes": CELLS[1], "labels": np.array([1, 2])}]  # fmt: skip


BAD = CELLS.copy()
BAD[1, 0, 2] = np.nan
FIELDS = {0: Image("NCHW"), 1: BoundingBoxes()}


def mixed(value):
    """Mixed as a field without arguments would."""
    return BoundingBoxes()(value, PLAN)


REFUSED = {
    "shares as cells": (lambda: mixed(CELLS / UNIT), "between 0 and 1.*'xyxyn'"),
    "shares as centres": (
        lambda: BoundingBoxes("cxcywh")(as_format(CELLS / UNIT, "cxcywh"), PLAN), "'cxcywhn'"
    ),
    "cells as shares": (
        lambda: BoundingBoxes("cxcywhn")(CELLS, PLAN), "box 0 of row 0 is.*cells are 'cxcywh'"
    ),
    "integers as shares": (lambda: BoundingBoxes("xyxyn")(CELLS.astype(int), PLAN), "int64"),
    "nan": (lambda: mixed(BAD), "box 0 of row 1.*finite"),
    "nan in a dict": (lambda: mixed(rows_with(boxes=BAD[1])), "box 0 of row 0"),
    "weights of integers": (
        lambda: BoundingBoxes(weights=True)(CELLS.astype(int), PLAN), "weights=True.*float32"
    ),
    "rotated": (lambda: BoundingBoxes("cxcywhr"), "rotated.*masks"),
    "corners": (lambda: BoundingBoxes("xyxyxyxy"), "rotated.*masks"),
    "rotated in a dict": (lambda: mixed(rows_with(boxes=np.ones((2, 5)))), "rotated"),
    "polygons": (lambda: mixed(rows_with(segmentation=[[1, 2]])), "outline.*masks"),
    "labels": (lambda: mixed(rows_with(labels=np.array([1]))), "2 boxes and 1 'labels'"),
    "an entry of one row": (
        lambda: mixed(rows_with(area=np.ones(2))), "has 'area', and not all"
    ),
    "masks of another grid": (
        lambda: mixed([rows_with(masks=np.ones((2, 3, 3)))[0]] * 2), "masks of row 0"
    ),
    "points": (
        lambda: mixed([rows_with(keypoints=np.ones((2, 4)))[0]] * 2), "key points"
    ),
    "no boxes": (lambda: mixed([{"labels": CELLS}] * 2), r"no 'boxes'.*\[0, 4\]"),
    "no dicts": (lambda: mixed([CELLS[0], CELLS[1]]), "ndarray.*dict for each row"),
    "too few": (lambda: mixed(rows_with()[:1]), "1 targets.*2 rows"),
    "one dict": (lambda: mixed({"boxes": CELLS[0]}), "batch_idx"),
    "a row that is not there": (
        lambda: mixed({"boxes": CELLS[0], "batch_idx": np.array([0, 2])}), "0 to 2"
    ),
    "a share": (lambda: BoundingBoxes(min_visible=2), "min_visible=2"),
    "a side": (lambda: BoundingBoxes(min_size=-1), "min_size=-1"),
    "a name": (lambda: BoundingBoxes(keep="size"), "keep='size'.*tuple"),
    "a layout": (lambda: Instances("NCHW"), "layout='NCHW'.*NKHW"),
    "an area": (lambda: Instances(min_area=-1), "min_area=-1"),
    "another grid": (lambda: Instances()(np.ones((2, 1, 3, 3)), PLAN), r"\(2, 1, 3, 3\)"),
    "a format of points": (lambda: Keypoints("yx"), "'yx'.*xyvn"),
    "points without v": (lambda: Keypoints("xyv")(np.ones((2, 1, 3, 2)), PLAN), r"\[B, N, P, 3\]"),
    "points as shares": (
        lambda: Keypoints("xy")(np.full((2, 1, 3, 2), 0.5), PLAN), "between 0 and 1.*'xyn'"
    ),
    "points as cells": (lambda: Keypoints("xyn")(np.full((2, 1, 3, 2), 9.0), PLAN), "go to 9"),
    "no masks to read": (
        lambda: bm.Mixer(CopyPaste(), FIELDS)((IMAGES, rows_with())), "no 'masks'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(bm.MixError, match=f"(?s){message}"):
        call()


def test_instances_are_handed_to_the_policy(xp):
    masks = np.zeros((2, 2, *SIZE), np.uint8)
    masks[0, 0, 2:6, 2:6], masks[1, 1, 4:12, 3:9] = 1, 1
    fields = {"image": Image("NCHW"), "masks": Instances()}
    batch = {"image": xp.array(IMAGES, "float32"), "masks": xp.array(masks, "uint8")}
    mixed = bm.Mixer(CopyPaste(prob=1), fields, inplace=True)(batch)["masks"]
    assert xp.dtype(mixed) == "uint8"
    got = xp.numpy(mixed)
    assert got.shape == (2, 4, *SIZE)
    np.testing.assert_array_equal(got[0, 3], masks[1, 1])
    np.testing.assert_array_equal(got[0, 0], masks[0, 0] * (masks[1, 1] == 0))
    small = Instances(min_area=14)(masks, bm.Mixer(CopyPaste(prob=1), fields).draw(batch))
    assert not small[0, 0].any()  # 10 of its 16 cells are left
    last = Instances("NHWK")(masks.transpose(0, 2, 3, 1), PLAN)
    np.testing.assert_array_equal(last, Instances()(masks, PLAN).transpose(0, 2, 3, 1))


def scenes(rows=8):
    """A data set of images, and of as many boxes each as its number says."""
    rng = np.random.default_rng(0)
    made = []
    for k in range(rows):
        low = rng.uniform(0, 6, (k % 3, 2))
        corners = torch.tensor(np.concatenate([low, low + 5], 1).reshape(-1, 4))
        labels = torch.full((k % 3,), k)
        made.append((torch.full((1, *SIZE), float(k)), {"boxes": corners, "labels": labels}))
    return made


def stacked(rows):
    """Images as one tensor, targets as a list."""
    images, targets = zip(*rows)
    return torch.stack(images), list(targets)


def test_loaders_take_targets_in_a_list():
    mixer = bm.Mixer(MixUp(1.0), FIELDS, seed=1)
    loader = adapter.MixLoader(scenes(), mixer, batch_size=4, shuffle=True, collate_fn=stacked)
    loader.set_epoch(0)
    mix = adapter.MixCollate(mixer, collate_fn=stacked)
    mix.set_epoch(0)
    for batches in (loader, torch.utils.data.DataLoader(scenes(), 4, collate_fn=mix)):
        counted = 0
        for images, targets in batches:
            assert images.shape == (4, 1, *SIZE)
            assert all(len(t["boxes"]) == len(t["labels"]) for t in targets)
            counted += sum(len(t["boxes"]) for t in targets)
        assert counted == 2 * 7
    images, targets = stacked(scenes())
    module = adapter.MixModule(mixer)
    assert len(module((images, targets))[1]) == 8


def test_images_in_a_list_are_refused_with_what_to_do():
    for batch in (tuple(zip(*scenes())), tuple(zip(*[*scenes(1), (torch.zeros(1, 3, 3), {})]))):
        with pytest.raises(bm.MixError, match=r"(?s)field 0 is a tuple of .*torch\.stack"):
            bm.Mixer(MixUp(1.0), FIELDS)(batch)


def test_nothing_that_is_given_is_written_to():
    rows = [target | {"masks": torch.ones(len(target["boxes"]), *SIZE),
                      "keypoints": torch.ones(len(target["boxes"]), 2, 3) * 5}
            for _, target in scenes(4)]  # fmt: skip
    before = [{name: value.clone() for name, value in row.items()} for row in rows]
    plan = bm.draw(CutMix(), bm.Key(2), 4, {"H": SIZE[0], "W": SIZE[1]})
    mixer = bm.Mixer(CutMix(), FIELDS, inplace=True)
    mixer.apply((torch.zeros(4, 1, *SIZE), rows), plan)
    for row, was in zip(rows, before):
        assert all(torch.equal(row[name], was[name]) for name in was)


@pytest.mark.parametrize("policy", [CutMix(), MixUp(1.0), Mosaic(), ResizeMix()])
def test_the_audit_finds_no_wrong_box(policy):
    mixer = bm.Mixer(policy, FIELDS)
    found = bm.audit(mixer, call="pair", labels="boxes", calls=4)
    assert found["wrong boxes"].verdict == "ok"
    assert found["wrong boxes"].number == 0


def test_dtypes_devices_and_the_order_of_entries_are_kept(xp):
    rows = [
        {"iscrowd": xp.ids([0, 1]), "boxes": xp.array(CELLS[i], dtype),
         "masks": xp.array(np.ones((2, *SIZE)), "uint8"), "area": xp.array([48, 33], "float32")}
        for i, dtype in enumerate(("float32", "float32"))
    ]  # fmt: skip
    mixed = BoundingBoxes(weights=True)(rows, PLAN)[0]
    assert list(mixed) == ["iscrowd", "boxes", "masks", "area", "weights"]
    dtypes = {name: xp.dtype(value) for name, value in mixed.items()}
    assert dtypes == {"iscrowd": "int64", "boxes": "float32", "masks": "uint8",
                      "area": "float32", "weights": "float32"}  # fmt: skip
    assert type(mixed["boxes"]) is type(rows[0]["boxes"])
    half = BoundingBoxes("xyxy")(xp.array(CELLS, "float16"), PLAN)
    assert xp.dtype(half) == "float16"
    whole = BoundingBoxes()(xp.array(np.rint(CELLS), "int32"), PLAN)
    assert xp.dtype(whole) == "int32"


@pytest.mark.parametrize("bad", [None, 3, "abc", [None, None], [{}, {}], {}, [[1], [2]]])
def test_what_holds_no_boxes_is_refused(bad):
    field = BoundingBoxes()
    for call in (
        lambda: field(bad, PLAN),
        lambda: field.read(bad, {"H": 16, "W": 12}),
        lambda: bm.Mixer(MixUp(1.0), FIELDS)((IMAGES, bad)),
    ):
        with pytest.raises(bm.MixError):
            call()


def test_rows_without_boxes_and_batches_without_rows():
    none = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)}
    some = {"boxes": CELLS[0], "labels": np.array([1, 2])}
    plan = bm.Plan([1, 0], [[[0, 16], [0, 12]]] * 2, [0.5, 0.5], "HW", SIZE)
    first, second = BoundingBoxes()([none, some], plan)
    assert first["labels"].tolist() == second["labels"].tolist() == [1, 2]
    first, _ = BoundingBoxes()([none, none], plan)
    assert first["boxes"].shape == (0, 4)
    assert BoundingBoxes()([], bm.Plan.identity(0, "HW", SIZE)) == []
    assert BoundingBoxes()(np.zeros((0, 3, 5)), bm.Plan.identity(0, "HW", SIZE)).shape == (0, 6, 5)
    assert BoundingBoxes()(np.zeros((2, 0, 5)), plan).shape == (2, 0, 5)


def test_of_one_dict_policies_read_every_row():
    flat = {"batch_idx": np.array([0, 0]), "cls": np.array([[3], [4]]), "bboxes": CELLS[0]}
    policy = Seen("boxes")
    bm.Mixer(policy, FIELDS)((IMAGES, flat))
    assert policy.got[..., 4].tolist() == [[3, 4], [-1, -1]]  # the last row has no box
