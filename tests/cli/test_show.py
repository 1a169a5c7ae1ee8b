"""`batchmix.show`: what it draws of a batch, and what it refuses."""

import base64
import io
import re
import sys

import numpy as np
import pytest
from PIL import Image as Pillow
from scipy.io import wavfile

import batchmix as bm
from batchmix.cli.show import marks, one_batch, pictures, strips, theme
from batchmix.cli.show.shown import Shown
from batchmix.fields import (
    Audio,
    BoundingBoxes,
    Features,
    Image,
    Instances,
    Keypoints,
    Labels,
    Mask,
    Targets,
    Video,
)
from batchmix.policies import Columns, CopyPaste, CutMix, Layers, MixUp, Switch

BOTH = Switch([MixUp(0.8), CutMix(1.0)])


@pytest.fixture
def seen(monkeypatch):
    """What goes to the drawing."""
    calls = []
    draw = pictures.rows
    monkeypatch.setattr(
        pictures, "rows", lambda title, shown, **how: calls.append((shown[0], how)) or b"png"
    )
    calls.append(draw)
    return calls


def batch(rows=6):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (rows, 3, 10, 14), np.uint8), np.arange(rows) % 4


def plan_of(policy=BOTH, rows=6, size=None):
    return bm.draw(policy, bm.Key(1), rows, {"H": 10, "W": 14} if size is None else size)


def test_the_picture_is_a_png_that_can_be_saved(tmp_path):
    picture = bm.show(batch()[0], plan_of(), "NCHW", rows=3)
    picture.save(tmp_path / "batch.png")
    assert (tmp_path / "batch.png").read_bytes() == picture.png == picture._repr_png_()
    few = Pillow.open(io.BytesIO(picture.png)).width
    assert few < Pillow.open(io.BytesIO(bm.show(batch()[0], plan_of(), "NCHW").png)).width


def test_what_is_drawn_is_what_is_mixed(seen):
    x, y = batch()
    fields = {0: Image("NCHW"), 1: Labels(4, smoothing=0.1)}
    plan = plan_of()
    bm.show((x, y), plan, fields, classes=["ant", "bee", "cat", "dog"])
    shown = seen[1][0]
    mixed, soft = bm.Mixer(BOTH, fields).apply((x, y), plan)
    np.testing.assert_array_equal(shown.mixed, mixed.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(shown.soft, soft)
    assert shown.batch.name(1) == "bee"
    assert shown.opacity.shape == (6, 10, 14)
    np.testing.assert_allclose(1 - shown.opacity.mean((1, 2)), plan.lam, atol=1e-3)


def test_a_mixer_shows_its_first_plan_and_counts_nothing(seen):
    x, y = batch()
    mixer = bm.Mixer(BOTH, {0: Image("NCHW"), 1: Labels(4)}, seed=3)
    mixer((x, y))
    before = mixer.state_dict()
    bm.show((x, y), mixer)
    bm.show(x, mixer.draw((x, y), step=0, epoch=0), "NCHW")
    assert mixer.state_dict() == before
    by_mixer, by_plan = (shown for shown, _ in seen[1:])
    np.testing.assert_array_equal(by_mixer.mixed, by_plan.mixed)
    np.testing.assert_array_equal(by_mixer.soft, mixer.apply((x, y), by_plan.plan)[1])


def test_without_labels_a_row_is_its_own_class(seen):
    plan = plan_of(Layers([CutMix(), CutMix()]))
    bm.show(batch()[0], plan, "NCHW")
    shown = seen[1][0]
    assert shown.batch.name(2) == "row 2"
    np.testing.assert_allclose(shown.soft[np.arange(6), np.arange(6)], plan.lam, atol=1e-6)


def test_floats_are_scaled_where_they_must_be(seen):
    x = batch()[0].astype(np.float32)
    for scaled in (x / 255, x / 50 - 2):
        bm.show(scaled, plan_of(), "NCHW")
        np.testing.assert_allclose(seen[-1][0].batch.x[0, 0, 0], x[0, :, 0, 0], atol=2)


def test_channels_that_are_no_colours_are_averaged(seen):
    bm.show(np.zeros((6, 10, 14, 5)), plan_of(), "NHWC")
    assert seen[1][0].batch.x.shape == (6, 10, 14, 1)
    bm.show(np.zeros((6, 10, 14)), plan_of(), "NHW")
    assert seen[2][0].batch.x.shape == (6, 10, 14, 1)


def test_of_a_video_the_middle_frame(seen):
    x = np.zeros((6, 3, 5, 10, 14), np.uint8)
    x[:, :, 2] = 9
    bm.show({"clip": x}, plan_of(), {"clip": Video("NCTHW")})
    assert (seen[1][0].batch.x == 9).all()


def test_of_a_video_the_boxes_that_the_middle_frame_has():
    """Boxes of a plan over frames: one that has frame 2 of 5, one before it, one whole."""
    boxes = [[[1, 4], [2, 8], [3, 9]], [[0, 2], [2, 8], [3, 9]], [[0, 5], [0, 10], [0, 14]]]
    plan = bm.Plan([1, 2, 0], boxes, [1.0] * 3, "THW", (5, 10, 14))
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (3, 3, 5, 10, 14), np.uint8)
    assert bm.show(x, plan, "NCTHW").png[:4] == b"\x89PNG"
    shown = Shown("", None, plan, None, None, None)
    assert [[box.tolist() for box in shown.cuts(row)] for row in range(3)] == [
        [[[2, 8], [3, 9]]], [], []
    ]  # fmt: skip


def test_a_picture_says_what_it_is_in_a_line():
    assert len(repr(bm.show(batch()[0], plan_of(), "NCHW"))) < 100


def test_sounds_are_waves(seen):
    x = np.random.default_rng(0).normal(size=(6, 1, 200)).astype(np.float32)
    bm.show({"x": x}, plan_of(size={"T": 200}), {"x": Audio("NCT")})
    assert seen[1][0].batch.source.form == "wave"
    assert seen[0]("title", [seen[1][0]])[:4] == b"\x89PNG"


def test_a_table_is_a_strip_of_its_columns(seen):
    x, y = np.arange(24, dtype=np.float32).reshape(6, 4), np.arange(6.0)
    fields = {0: Features("NC"), 1: Targets()}
    for policy, size in ((Columns(0.5), {"C": 4}), (MixUp(1.0), {})):
        plan = plan_of(policy, size=size)
        bm.show((x, y), plan, fields)
        shown = seen[-1][0]
        mixed, told = bm.Mixer(policy, fields, axes="".join(size)).apply((x, y), plan)
        np.testing.assert_array_equal(shown.mixed[..., 0], mixed)
        np.testing.assert_allclose(shown.soft @ shown.batch.numbers, told, rtol=1e-6)
        np.testing.assert_allclose(1 - shown.opacity.mean(1), plan.lam, atol=1e-6)
        row, partner, made = strips.of_table([shown], 2)
        assert row.cells == ["8", "9", "10", "11"]
        assert partner.cells == strips.of_table([shown], int(plan.partner[2]))[0].cells
        assert made.value == f"{strips.number(told[2])} = "
        assert made.shares.tolist() == shown.opacity[2].tolist()
        assert seen[0]("title", [shown])[:4] == b"\x89PNG"


def test_a_wide_table_shows_its_first_columns(seen):
    bm.show(np.zeros((6, 40)), plan_of(MixUp(), size={}), "NC")
    with theme.drawn(theme.LIGHT):
        canvas = strips.figure("", [str(k) for k in range(40)], [strips.of_table([seen[1][0]], 0)])
    words = [text.get_text() for text in canvas.axes[0].texts]
    assert "28 more" in words
    assert "11" in words
    assert "12" not in words


def test_of_a_volume_the_middle_slice_across_each_axis(seen):
    x = np.random.default_rng(0).integers(0, 256, (6, 1, 4, 6, 8), np.uint8)
    plan = plan_of(CutMix(), size={"D": 4, "H": 6, "W": 8})
    bm.show(x, plan, "NCDHW")
    shown, mixed = seen[1][0], bm.mix(x, plan, "NCDHW")
    assert shown.mixed.shape == (6, 6, 8 + 1 + 8 + 1 + 6, 1)
    for cells, volume in ((shown.batch.x, x), (shown.mixed, mixed)):
        np.testing.assert_array_equal(cells[:, :, :8, 0], volume[:, 0, 2])
        np.testing.assert_array_equal(cells[:, :4, 9:17, 0], volume[:, 0, :, 3])
        np.testing.assert_array_equal(cells[:, :4, 18:, 0], volume[:, 0, :, :, 4])
    assert shown.cuts(0) == []
    assert seen[0]("title", [shown])[:4] == b"\x89PNG"


def test_sounds_are_played_where_their_rate_is_known(seen):
    x = np.random.default_rng(0).normal(size=(6, 1, 200))
    plan = plan_of(CutMix(), size={"T": 200})
    assert bm.show(x, plan, "NCT")._repr_html_() is None
    page = bm.show(x, plan, "NCT", rows=2, rate=8000)._repr_html_()
    found = re.findall(r'data:audio/wav;base64,([^"]+)"', page)
    clips = [wavfile.read(io.BytesIO(base64.b64decode(one))) for one in found]
    assert [rate for rate, _ in clips] == [8000] * 4
    mixed = bm.mix(x, plan, "NCT").astype(np.float32)
    for row in (0, 1):
        np.testing.assert_array_equal(clips[2 * row][1], x[row, 0].astype(np.float32))
        np.testing.assert_array_equal(clips[2 * row + 1][1], mixed[row, 0])


def test_a_mask_is_drawn_over_its_image(seen):
    x, _ = batch()
    y = np.random.default_rng(0).integers(0, 3, (6, 10, 14))
    fields = {0: Image("NCHW"), 1: Mask("NHW")}
    bm.show((x, y), plan_of(), fields)
    shown = seen[1][0]
    np.testing.assert_array_equal(shown.batch.beside.mask, y)
    np.testing.assert_array_equal(shown.beside.mask, Mask("NHW")(y, plan_of()))
    axes = pictures.Figure().subplots()
    marks.draw(axes, shown.beside, 0, theme.LIGHT)
    colours = axes.images[-1].get_array()
    ids = shown.beside.mask[0]
    assert (colours[ids == 0][:, 3] == 0).all()
    assert len({tuple(c) for c in colours[ids == 1]}) == len({tuple(c) for c in colours[ids == 2]})
    assert tuple(colours[ids == 1][0]) != tuple(colours[ids == 2][0])


CORNERS = np.array([[1.0, 1, 6, 8], [7, 2, 13, 9]])
CENTRES = np.array([[3.5, 4.5, 5, 7], [10, 5.5, 6, 7]]) / [14, 10, 14, 10]


def targets_of(kind):
    """Boxes of six rows, classes 0 and 1, and their field."""
    ids = np.array([0, 1])
    if kind == "padded":
        padded = np.full((6, 3, 5), -1.0)
        padded[:, :2] = np.column_stack([CORNERS, ids])
        return padded, BoundingBoxes("xyxy", weights=True)
    if kind == "flat":
        flat = {"bboxes": np.tile(CENTRES, (6, 1)), "cls": np.tile(ids, 6)}
        return flat | {"batch_idx": np.repeat(np.arange(6), 2)}, BoundingBoxes("cxcywhn")
    if kind == "normalised":
        rows = [{"boxes": CENTRES.copy(), "class_labels": ids} for _ in range(6)]
        return rows, BoundingBoxes("cxcywhn")
    return [{"boxes": CORNERS.copy(), "labels": ids} for _ in range(6)], BoundingBoxes("xyxy")


@pytest.mark.parametrize("kind", ["padded", "ragged", "normalised", "flat"])
def test_boxes_are_those_of_the_field_in_the_colour_of_their_rows(kind, seen):
    value, field = targets_of(kind)
    plan = plan_of(CutMix())
    fields = {0: Image("NCHW"), 1: field}
    bm.show((batch()[0], value), plan, fields, classes=["ant", "bee"])
    shown = seen[1][0]
    still = list(shown.batch.beside.seen(3))
    np.testing.assert_allclose([one.corners for one in still], CORNERS)
    assert [(one.name, one.row) for one in still] == [("ant", 3), ("bee", 3)]
    plain, rule = targets_of("ragged")
    for row, expected in enumerate(rule(plain, plan)):
        found = list(shown.beside.seen(row))
        np.testing.assert_allclose([one.corners for one in found], expected["boxes"], atol=1e-9)
        assert {one.row for one in found} <= {row, int(plan.partner[row])}
        own = [one.row == row for one in found]
        assert own == sorted(own, reverse=True)  # first a row's own, then its partner's
    assert seen[0]("title", [shown])[:4] == b"\x89PNG"


def test_boxes_bring_their_masks_and_key_points(seen):
    masks = np.zeros((2, 10, 14), np.uint8)
    masks[0, 1:8, 1:6] = masks[1, 2:9, 7:13] = 1
    points = np.array([[[2.0, 3.0, 2], [5, 7, 1], [0, 0, 0]], [[8, 3, 2], [12, 8, 2], [9, 9, 2]]])
    rows = [{"boxes": CORNERS, "labels": np.array([0, 1]), "masks": masks, "keypoints": points}] * 6
    fields = {0: Image("NCHW"), 1: BoundingBoxes("xyxy")}
    mixer = bm.Mixer(CopyPaste(0.5), fields)
    both = batch()[0], rows
    plan = mixer.draw(both)
    bm.show(both, plan, fields)
    shown, mixed = seen[1][0], mixer.apply(both, plan)[1]
    for row, expected in enumerate(mixed):
        found = list(shown.beside.seen(row))
        np.testing.assert_array_equal([one.mask for one in found], expected["masks"])
        np.testing.assert_array_equal([one.points for one in found], expected["keypoints"])
    axes = pictures.Figure().subplots()
    marks.draw(axes, shown.batch.beside, 0, theme.LIGHT)
    assert [len(line.get_xdata()) for line in axes.lines] == [2, 3]
    assert [text.get_text() for text in axes.texts] == ["0", "1"]


def test_instances_and_key_points_without_boxes(seen):
    rng = np.random.default_rng(0)
    masks = np.zeros((6, 2, 10, 14), np.uint8)
    masks[:, 0, 1:8, 1:6] = masks[:, 1, 2:9, 7:13] = 1
    points = rng.uniform(0.1, 0.9, (6, 2, 3, 2))
    fields = {0: Image("NCHW"), 1: Instances("NKHW"), 2: Keypoints("xyn")}
    plan, both = plan_of(CutMix()), (batch()[0], masks, points)
    bm.show(both, plan, fields)
    shown = seen[1][0]
    _, cut, moved = bm.Mixer(CutMix(), fields).apply(both, plan)
    for row in range(6):
        found = list(shown.beside.seen(row))
        assert not any(one.corners for one in found)
        there = cut[row][cut[row].any((1, 2))]
        np.testing.assert_array_equal([one.mask for one in found if one.mask is not None], there)
        told = np.stack([one.points for one in found if one.points is not None])
        np.testing.assert_allclose(told, (moved[row] * [14, 10])[moved[row].any((1, 2))])
        own = [one.row == row for one in found if one.points is not None]
        assert own == sorted(own, reverse=True)
        assert {one.row for one in found} <= {row, int(plan.partner[row])}
    assert seen[0]("title", [shown])[:4] == b"\x89PNG"


def test_tensors_and_probabilities():
    torch = pytest.importorskip("torch")
    x, y = map(torch.as_tensor, batch())
    hot = torch.nn.functional.one_hot(y, 4).float()
    fields = {"x": Image("NCHW"), "y": Labels()}
    assert bm.show({"x": x, "y": hot}, plan_of(), fields).png[:4] == b"\x89PNG"


WRONG = {
    "series of frames": (lambda: bm.show(np.zeros((6, 4, 4)), plan_of(), "NWT"), "axes H and W"),
    "volume": (lambda: bm.show(np.zeros((6, 1, 4, 4, 4)), plan_of(), "NCDHW"), "drawn for size"),
    "rate of images": (lambda: bm.show(batch()[0], plan_of(), "NCHW", rate=8000), "no sounds"),
    "a rate below one": (
        lambda: bm.show(
            np.zeros((6, 9)), bm.draw(MixUp(1.0), bm.Key(0), 6, {"T": 9}), "NT", rate=-1
        ),
        "rate=-1",
    ),
    "no rows": (lambda: bm.show(batch()[0], plan_of(), "NCHW", rows=0), "1..32 rows"),
    "size": (lambda: bm.show(batch()[0][..., :9], plan_of(), "NCHW"), "drawn for size"),
    "half a row": (lambda: bm.show(batch()[0], plan_of(), "NCHW", rows=2.5), "1..32 rows"),
    "nothing": (lambda: bm.show(None, plan_of(), "NCHW"), "1..32 rows"),
    "swapped": (lambda: bm.show(plan_of(), batch()[0], "NCHW"), "After the batch come its plan"),
    "no layout": (lambda: bm.show(batch()[0], plan_of(), None), "a layout or the fields"),
    "names": (
        lambda: bm.show(batch(), plan_of(), {0: Image("NCHW"), 1: Labels(4)}, classes=["a"]),
        "Name each of them",
    ),
    "no grid": (lambda: bm.show(batch(), plan_of(), {1: Labels(4)}), "A grid is drawn"),
    "boxes": (
        lambda: bm.show((np.zeros((6, 2, 4)),), plan_of(), {0: BoundingBoxes("xyxy")}),
        "A grid is drawn",
    ),
    "a second batch": (
        lambda: bm.show(
            batch()[0],
            bm.Plan([0] * 6, [[[0, 10], [0, 14]]] * 6, [0.5] * 6, "HW", (10, 14), others=3),
            "NCHW",
        ),
        "second batch",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_drawn_is_refused(name):
    call, said = WRONG[name]
    with pytest.raises(bm.MixError, match=said):
        call()


def test_matplotlib_is_asked_for(monkeypatch):
    monkeypatch.delitem(sys.modules, one_batch.__name__)
    monkeypatch.delitem(sys.modules, pictures.__name__)
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delattr("batchmix.cli.show.one_batch")
    monkeypatch.delattr("batchmix.cli.show.pictures")
    with pytest.raises(bm.MixError, match=r"matplotlib is not installed(.|\n)* matplotlib typer"):
        bm.show(batch()[0], plan_of(), "NCHW")
