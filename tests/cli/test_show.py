"""`batchmix.show`: what it draws of a batch, and what it refuses."""

import io
import sys

import numpy as np
import pytest
from PIL import Image as Pillow

import batchmix as bm
from batchmix.cli.show import one_batch, pictures
from batchmix.cli.show.shown import Shown
from batchmix.fields import Audio, BoundingBoxes, Image, Labels, Video
from batchmix.policies import CutMix, Layers, MixUp, Switch

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


def test_tensors_and_probabilities():
    torch = pytest.importorskip("torch")
    x, y = map(torch.as_tensor, batch())
    hot = torch.nn.functional.one_hot(y, 4).float()
    fields = {"x": Image("NCHW"), "y": Labels()}
    assert bm.show({"x": x, "y": hot}, plan_of(), fields).png[:4] == b"\x89PNG"


WRONG = {
    "table": (lambda: bm.show(np.zeros((6, 3)), plan_of(MixUp(), size={}), "NC"), "axes H and W"),
    "volume": (lambda: bm.show(np.zeros((6, 1, 4, 4, 4)), plan_of(), "NCDHW"), "axes H and W"),
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
