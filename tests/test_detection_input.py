"""Targets of detection that are odd, or wrong: what is refused, and what is right all the same."""

import types
from typing import NamedTuple

import numpy as np
import pytest
import torch

import batchmix as bm
from batchmix.fields import BoundingBoxes, Image, Keypoints
from batchmix.pairing import Roll
from batchmix.policies import Blend, CopyBlend, CopyPaste, CutMix

PLAN = bm.Plan([1, 0], [[[0, 16], [0, 6]]] * 2, [1, 1], "HW", (16, 12))
BOXES = torch.tensor([[2.0, 0, 12, 8], [0, 1, 6, 9]])
LEFT = BoundingBoxes(min_visible=0, min_size=0)


def rows(**more):
    """Two targets of two boxes; entries may be functions of the number of the row."""
    values = [{n: v(i) if callable(v) else v for n, v in more.items()} for i in range(2)]
    return [{"boxes": BOXES, "labels": torch.tensor([1, 2])} | value for value in values]


def test_a_field_inside_of_another_is_refused():
    # the flat dict was put in the place of the batch, with the images as they were
    fields = {"img": Image("NCHW"), (): BoundingBoxes("cxcywhn")}
    with pytest.raises(bm.MixError, match="part of field"):
        bm.Mixer(Blend(), fields)
    with pytest.raises(bm.MixError, match="or the same"):
        bm.Mixer(Blend(), {1: BoundingBoxes(), (1,): BoundingBoxes()})


def test_of_one_dict_entries_of_images_stay_where_there_are_as_many_boxes():
    x = {
        "batch_idx": torch.tensor([0.0, 1]),
        "bboxes": torch.tensor([[0.5, 0.5, 1, 1]] * 2),
        "cls": torch.tensor([[3.0], [4]]),
        "im_file": ["a", "b"],
        "ori_shape": [(9, 9), (8, 8)],
        "mine": [1, 2],
    }
    mixed = BoundingBoxes("cxcywhn", keep=("mine",))(x, PLAN)
    assert mixed["cls"].ravel().tolist() == [3, 4, 4, 3]
    assert (mixed["im_file"], mixed["ori_shape"], mixed["mine"]) == (
        ["a", "b"], [(9, 9), (8, 8)], [1, 2],
    )  # fmt: skip


def test_an_image_in_a_target_is_no_entry_of_boxes():
    mixed = LEFT(rows(image=torch.zeros(2, 16, 12), img_shape=(16, 12)), PLAN)
    assert mixed[0]["image"].shape == (2, 16, 12)
    assert mixed[0]["img_shape"] == (16, 12)


def test_an_entry_that_not_all_rows_have_is_refused():
    # it kept its length, and the boxes did not
    targets = rows(track=torch.tensor([7, 8]))
    del targets[1]["track"]
    with pytest.raises(bm.MixError, match=r"'track', and not all"):
        LEFT(targets, PLAN)
    assert BoundingBoxes(keep=("track",))(targets, PLAN)[0]["track"].tolist() == [7, 8]
    assert LEFT([targets[0] | {"note": "x"}, targets[0]], PLAN)[0]["note"] == "x"


def test_a_row_without_boxes_takes_the_dtype_of_its_partner():
    none = {"boxes": torch.zeros(0, 4), "labels": torch.tensor([])}  # of floats
    mixed = LEFT([none, rows()[0]], PLAN)
    assert mixed[0]["labels"].dtype == torch.int64
    assert mixed[0]["labels"].tolist() == [1, 2]
    assert mixed[1]["labels"].tolist() == [1]


def test_ids_of_another_width_keep_their_value():
    # 300 came into a row of uint8 as 44
    ids = [torch.tensor([1, 2], dtype=torch.uint8), torch.tensor([1, 300])]
    plan = bm.Plan([1, 0], [[[0, 16], [0, 12]]] * 2, [0.5, 0.5], "HW", (16, 12))
    mixed = LEFT(rows(labels=lambda i: ids[i]), plan)
    assert [one["labels"].tolist() for one in mixed] == [[1, 2, 1, 300], [1, 300, 1, 2]]
    with_bools = LEFT(rows(labels=lambda i: ids[i] if i else torch.tensor([True, False])), plan)
    assert with_bools[0]["labels"].tolist() == [1, 0, 1, 300]


def test_weights_that_boxes_have_are_multiplied():
    half = bm.Plan([1, 0], [[[0, 16], [0, 12]]] * 2, [0.25, 0], "HW", (16, 12))
    targets = rows(weights=lambda i: torch.tensor([1.0, 0.5]) / (1 + i))
    mixed = BoundingBoxes(weights=True)(targets, half)
    assert mixed[0]["weights"].tolist() == [0.75, 0.375, 0.125, 0.0625]
    assert mixed[1]["weights"].tolist() == [0.5, 0.25]


def test_a_list_of_areas_is_scaled():
    assert LEFT(rows(area=[80, 48.0]), PLAN)[1]["area"] == [48, 32, 48]


def test_a_share_that_was_rounded_touches_no_further_cell():
    # 4 of 12 cells are 0.33333334 in float32, 3 of 9 of 12 not quite 3
    plan = bm.Plan([1, 0], [[[0, 8], [4, 6]], [[0, 0]] * 2], [1, 1], "HW", (8, 12))
    shares = torch.tensor([[0.33333331, 0, 0.75, 1]])
    targets = [{"boxes": shares}, {"boxes": torch.zeros(0, 4)}]
    left = BoundingBoxes("xyxyn", min_visible=0)(targets, plan)[0]["boxes"]
    torch.testing.assert_close(left * 12, torch.tensor([[6.0, 0, 9, 12]]))


def test_a_policy_sees_cells_whatever_the_format():
    # shares of float32 are off by parts of 1e-6 of a cell: objects were pasted with a cell too many
    unit = torch.tensor([64.0, 48, 64, 48])
    left = torch.randint(0, 24, (6, 4, 2), generator=torch.Generator().manual_seed(0))
    boxes = torch.cat([left, left + 11], -1).float()
    of_rows = [{"boxes": one, "labels": torch.arange(4)} for one in boxes]
    for cells, shares in (
        (of_rows, [one | {"boxes": one["boxes"] / unit} for one in of_rows]),
        (boxes, boxes / unit),
    ):
        one, two = (
            bm.Mixer(CopyBlend(), {0: Image("NCHW"), 1: BoundingBoxes(name)}, seed=0).draw(
                (torch.zeros(6, 1, 48, 64), targets), step=0
            )
            for name, targets in (("xyxy", cells), ("xyxyn", shares))
        )
        assert all(np.array_equal(a.source, b.source) for a, b in zip(one.layers, two.layers))
        assert (np.diff(one.source) == 11).all()


def test_points_as_shares_lie_in_the_cells_that_they_are_in():
    # at the edge of a paste a whole number that was rounded down lay in the cell before it
    unit = torch.tensor([49.0, 47])
    at = torch.arange(1.0, 47)[:, None].repeat(1, 2)
    for edge in range(1, 47):
        box = [[[edge, 47], [0, 49]], [[0, 0], [0, 0]]]
        plan = bm.Plan([1, 0], box, [1, 1], "HW", (47, 49))
        cells = Keypoints("xy")(at.expand(2, 1, -1, -1), plan)
        shares = Keypoints("xyn")((at / unit).expand(2, 1, -1, -1), plan)
        assert torch.equal(cells >= 0, shares >= 0)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"masks": lambda i: [np.ones((16, 12))] * 2}, "Stack masks"),
        ({"keypoints": lambda i: [[[1.0, 1, 2]]] * 2}, "Stack masks"),
        ({"labels": lambda i: np.array(["cat", "dog"])}, "tolist"),
        ({"keypoints": lambda i: torch.full((2, 3 + i, 2), 5.0)}, "one shape"),
        ({"labels": lambda i: torch.ones(2) if i else torch.ones(2, dtype=torch.int64)}, "kind"),
        ({"boxes": None}, "NoneType"),
        ({"boxes": torch.tensor([[9.0, 9, 3, 3], [1, 1, 4, 4]])}, "ends before it begins"),
        ({"bboxes": BOXES}, "'boxes' and 'bboxes'"),
        ({"labels": lambda i: torch.ones(2, 1 + i)}, "row 0 have .* row 1"),
        ({"boxes": [[1, 2, 3, 4]]}, "(?s)are a list.*torch.tensor"),
        ({"boxes": torch.zeros(0)}, "reshape"),
        ({"boxes": torch.tensor([[10.0, 2, 40, 9]] * 2)}, "(?s)16 x 12 cells .* Resize boxes"),
        ({"boxes": torch.tensor([[-30, 2, 5, 9]] * 2)}, "Resize boxes"),
    ],
)
def test_what_cannot_be_mixed_is_said(more, words):
    with pytest.raises(bm.MixError, match=words):
        LEFT(rows(**more), PLAN)


def test_boxes_of_images_in_another_layout_do_not_go_in_silence():
    targets = rows(boxes=torch.tensor([[2.0, 3, 12, 12], [4, 8, 9, 16]]))
    mixer = bm.Mixer(CutMix(), {0: Image("NHWC"), 1: BoundingBoxes()}, pairing=Roll(1))
    with pytest.raises(bm.MixError, match=r"(?s)3 x 16 cells .* layout"):
        mixer((torch.rand(2, 3, 16, 12), targets))


@pytest.mark.parametrize(
    ("format", "ours"),
    [("coco", "xywh"), ("yolo", "cxcywhn"), ("XYXY", "xyxy"), ("rel_yxyx", "yxyxn")],
)
def test_formats_that_others_name_otherwise(format, ours):
    with pytest.raises(bm.MixError, match=f"Say '{ours}'"):
        BoundingBoxes(format)


def test_boxes_may_leave_their_image():
    # as crops leave them: up to twice its sides
    boxes = torch.tensor([[-11.0, -8, 24, 20], [1, 0, 13, 31]])
    assert len(BoundingBoxes()(rows(boxes=boxes), PLAN)[0]["boxes"]) == 4


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ({"boxes": np.ones((2, 3, 4)), "classes": np.ones((2, 3))}, r"side by side: \[B, N, 5\]"),
        (torch.ones(5, 4), "'batch_idx'"),
        ([{"gt_bboxes": BOXES}] * 2, "Name the boxes so"),
    ],
)
def test_targets_of_other_forms_are_told_theirs(x, words):
    with pytest.raises(bm.MixError, match=words):
        LEFT(x, PLAN)


def test_an_index_of_each_image_is_no_entry_of_its_one_box():
    # rows of one box each: what DEIM and D-FINE call "idx" was handed on with boxes
    targets = [{"boxes": BOXES[:1], "idx": torch.tensor([i])} for i in range(2)]
    mixed = LEFT(targets, PLAN)
    assert [(len(one["boxes"]), one["idx"].tolist()) for one in mixed] == [(2, [0]), (2, [1])]


@pytest.mark.parametrize(
    "masks",
    [
        lambda i: torch.ones(2, 16 - i, 12),
        lambda i: torch.ones(2, 12),
        lambda i: [torch.ones(16, 12)] * 2,
        lambda i: torch.ones(2, 16, 12) if i else torch.zeros(0),
    ],
)
def test_masks_of_another_grid_are_refused_before_the_draw(masks):
    mixer = bm.Mixer(CopyPaste(), {0: Image("NCHW"), 1: BoundingBoxes()}, pairing=Roll(1))
    with pytest.raises(bm.MixError, match="masks"):
        mixer((torch.rand(2, 3, 16, 12), rows(masks=masks)))


def test_a_batch_without_rows_has_no_masks():
    mixer = bm.Mixer(CopyPaste(), {0: Image("NCHW"), 1: BoundingBoxes()})
    assert mixer((torch.rand(0, 3, 16, 12), []))[1] == []


def test_names_as_labels_do_not_stop_a_policy_that_reads_boxes():
    mixer = bm.Mixer(CopyBlend(1, min_area=1), {0: Image("NCHW"), 1: BoundingBoxes()}, seed=0)
    targets = [row | {"labels": ["cat", "dog"]} for row in rows()]
    labels = mixer((torch.rand(2, 3, 16, 12), targets))[1][0]["labels"]
    assert set(labels) == {"cat", "dog"}


def test_boxes_are_read_on_height_and_width_alone():
    fields = {0: Image("NCDHW"), 1: BoundingBoxes()}
    with pytest.raises(bm.MixError, match="lie on H and W"):
        bm.Mixer(CopyBlend(), fields)((torch.rand(2, 1, 4, 16, 12), rows()))
    with pytest.raises(bm.MixError, match="lie on H and W"):
        bm.Mixer(CopyBlend(), fields, axes="D")((torch.rand(2, 1, 4, 16, 12), rows()))


@pytest.mark.parametrize("index", [torch.tensor([0.5, 1]), torch.tensor([float("nan"), 1])])
def test_rows_of_boxes_are_whole_numbers(index):
    x = {"batch_idx": index, "bboxes": BOXES}
    with pytest.raises(bm.MixError, match="whole number"):
        LEFT(x, PLAN)


def test_two_batches_are_of_one_form():
    x = {"batch_idx": torch.tensor([0, 1]), "bboxes": BOXES}
    with pytest.raises(bm.MixError, match="of one form"):
        LEFT(x, PLAN, rows())


@pytest.mark.parametrize("options", [{"keep": None}, {"keep": 3}, {"weights": "yes"}])
def test_options_of_another_kind_are_refused(options):
    with pytest.raises(bm.MixError, match=f"got {next(iter(options))}"):
        BoundingBoxes(**options)


class Two(NamedTuple):
    """Targets of two rows."""

    first: object
    second: object


def test_targets_of_other_kinds_stay_what_they_are():
    mixed = LEFT(Two(*rows()), PLAN)
    assert isinstance(mixed, Two)
    read_only = [types.MappingProxyType(row) for row in rows()]
    assert LEFT(read_only, PLAN)[0]["labels"].tolist() == mixed.first["labels"].tolist()


def test_boxes_that_are_padded_by_any_number_are_none():
    padded = torch.stack([torch.cat([BOXES, torch.full((1, 4), fill)]) for fill in (-1.0, 0.0)])
    for format in ("xyxy", "xywh"):
        mixed = BoundingBoxes(format, min_visible=0, min_size=0)(padded, PLAN)
        assert (mixed[0, 2] == -1).all()


def test_a_plan_is_asked_for():
    for x in (rows(), {"batch_idx": torch.tensor([0, 1]), "bboxes": BOXES}):
        with pytest.raises(bm.MixError, match="is a NoneType"):
            LEFT(x, None)


def test_nothing_of_a_batch_is_mixed_that_is_refused():
    images = torch.rand(2, 3, 16, 12)
    before = images.clone()
    mixer = bm.Mixer(CutMix(1.0), {0: Image("NCHW"), 1: BoundingBoxes()}, inplace=True)
    with pytest.raises(bm.MixError):
        mixer((images, rows(boxes=None)))
    assert torch.equal(images, before)
