"""`batchmix preview` of images with bounding boxes and masks: COCO files, YOLO's, and PNGs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import batchmix as bm
from batchmix.cli import main
from batchmix.cli._mixing import Mixing
from batchmix.cli._words import Entry
from batchmix.cli.show import panels, pictures
from batchmix.cli.show.opened import choose, open_source
from batchmix.cli.show.shown import Batch
from batchmix.fields import BoundingBoxes, Ids
from batchmix.policies import CutMix

HEIGHT, WIDTH, ROWS = 30, 40, 4
CLASSES = ["disc", "square"]


def run(*words: object) -> int:
    """The exit code of the command line."""
    with pytest.raises(SystemExit) as stop:
        main(["preview", *map(str, words)])
    return int(stop.value.code or 0)


def boxes_of(row: int) -> list[list[int]]:
    """Two boxes: left, top, width, height, class."""
    return [[2 + row, 3, 12, 10, 0], [20, 12 + row, 16, 14, 1]]


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """images/, labels/ (YOLO), masks/ and instances.json (COCO) of four images."""
    for name in ("images", "labels", "masks"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for row in range(ROWS):
        cells = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(cells).save(tmp_path / "images" / f"{row}.png")
        images.append({"id": 10 + row, "file_name": f"{row}.png", "height": 30, "width": 40})
        ids, lines = np.zeros((HEIGHT, WIDTH), np.uint8), []
        for x, y, wide, high, label in boxes_of(row):
            ids[y : y + high, x : x + wide] = label + 1
            outline = [x, y, x + wide, y, x + wide, y + high, x, y + high]
            annotations.append({
                "id": len(annotations), "image_id": 10 + row, "category_id": 7 + label,
                "bbox": [x, y, wide, high], "segmentation": [outline], "iscrowd": 0,
            })  # fmt: skip
            shares = (x + wide / 2) / 40, (y + high / 2) / 30, wide / 40, high / 30
            lines.append(" ".join(map(str, (label, *shares))))
        Image.fromarray(ids).save(tmp_path / "masks" / f"{row}.png")
        (tmp_path / "labels" / f"{row}.txt").write_text("\n".join(lines))
    names = [{"id": 7 + k, "name": name} for k, name in enumerate(CLASSES)]
    found = {"images": images, "annotations": annotations, "categories": names}
    (tmp_path / "instances.json").write_text(json.dumps(found))
    (tmp_path / "labels" / "classes.txt").write_text("disc\nsquare\n")
    return tmp_path


def opened(scenes: Path, boxes: str | None = None, masks: bool = False, side: int = 0) -> Batch:
    """All rows."""
    source = open_source(
        str(scenes / "images"), side or None, None, scenes / boxes if boxes else None,
        scenes / "masks" if masks else None,
    )  # fmt: skip
    return choose(source, ROWS, Mixing())


@pytest.mark.parametrize("boxes", ["instances.json", "labels"])
def test_boxes_are_read_and_go_where_their_pixels_go(boxes: str, scenes: Path) -> None:
    batch = opened(scenes, boxes)
    assert [batch.name(row) for row in range(ROWS)] != []
    for row in range(ROWS):
        found = list(batch.beside.seen(row))
        expected = boxes_of(int(batch.name(row)))
        assert [one.name for one in found] == CLASSES
        corners = [[x, y, x + wide, y + high] for x, y, wide, high, _ in expected]
        np.testing.assert_allclose([one.corners for one in found], corners, atol=1e-4)
    plan = batch.draw(CutMix(1.0))
    shown = batch.apply("cutmix:1", plan)
    held = batch.beside.targets
    mixed = BoundingBoxes("xyxy")(held, plan)
    for row in range(ROWS):
        np.testing.assert_allclose(
            np.reshape([one.corners for one in shown.beside.seen(row)], (-1, 4)),
            mixed[row]["boxes"],
        )


def test_a_coco_file_is_data_too_and_images_are_resized(scenes: Path) -> None:
    (scenes / "instances.json").rename(scenes / "images" / "boxes.json")
    source = open_source(str(scenes / "images" / "boxes.json"), 20)
    batch = choose(source, 2, Mixing())
    assert batch.x.shape == (2, 20, 20, 3)
    for row in range(2):
        x, y, wide, high, _ = boxes_of(int(batch.name(row)))[0]
        corners = next(batch.beside.seen(row)).corners
        np.testing.assert_allclose(
            corners, [x / 2, y / 1.5, (x + wide) / 2, (y + high) / 1.5], atol=1e-9
        )


def test_masks_follow_their_cells(scenes: Path) -> None:
    batch = opened(scenes, masks=True)
    mask = batch.beside.mask
    assert mask is not None
    for row in range(ROWS):
        x, y, wide, high, _ = boxes_of(int(batch.name(row)))[1]
        assert (mask[row, y : y + high, x : x + wide] == 2).all()
    entries = {"cutmix": CutMix(1.0), "classmix": bm.policies.ClassMix()}
    for name, policy in entries.items():
        shown = batch.show(Entry(name, policy))
        np.testing.assert_array_equal(shown.beside.mask, Ids("NHW")(mask, shown.plan))
    half = opened(scenes, masks=True, side=20).beside.mask
    assert half is not None
    assert set(np.unique(half)) == {0, 1, 2}
    assert half.shape == (ROWS, 20, 20)


def test_instances_are_the_cells_of_their_outlines(scenes: Path) -> None:
    batch = opened(scenes, "instances.json")
    held = batch.beside.targets
    assert held is not None
    for row in range(ROWS):
        for (x, y, wide, high, _), cells in zip(
            boxes_of(int(batch.name(row))), held[row]["masks"], strict=True
        ):
            assert cells[y : y + high, x : x + wide].all()
            assert cells.sum() == wide * high
    shown = batch.show(Entry("copypaste:1", bm.policies.CopyPaste(1.0)))
    for row in range(ROWS):
        whose = [one.row for one in shown.beside.seen(row)]
        assert whose.count(int(shown.plan.partner[row])) == 2  # all that was pasted is told of


def test_boxes_in_a_figure_have_their_rows_colours_and_names(scenes: Path) -> None:
    batch = opened(scenes, "labels")
    shown = batch.show(Entry("mixup:1", bm.policies.MixUp(1.0)))
    left, right = pictures.Figure().subplots(1, 2)
    panels.original(left, batch, 0, "own")
    panels.mixed(right, shown, 0)
    own, theirs = ({patch.get_edgecolor() for patch in axes.patches} for axes in (left, right))
    assert len(own) == 1
    assert len(theirs) == 2
    assert own < theirs
    assert [text.get_text() for text in right.texts] == CLASSES * 2


POLICIES = "mixup:1 cutmix:1 mosaic copypaste:0.5 classmix"


def test_a_page_with_boxes_and_masks(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [scenes / "images", "--boxes", scenes / "instances.json", "--masks", scenes / "masks"]
    out = tmp_path / "out"
    assert run(*words, "--policies", POLICIES, "--rows", 2, "--out", out, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {path.name for path in out.iterdir()} == {"rows.png", "alpha.png", "preview.html"}
    assert "--boxes" in told["command"]
    assert "--masks" in told["command"]
    mixup = told["policies"][0]["rows"]
    assert [len(row["boxes"]) for row in mixup] == [4, 4]
    assert {box["class"] for box in mixup[0]["boxes"]} == set(CLASSES)
    assert {box["row"] for box in mixup[0]["boxes"]} == {0, 1}
    assert mixup[0]["class"] in {str(row) for row in range(ROWS)}  # each row is its own


def test_what_an_image_has_not_is_no_fault(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scenes / "labels" / "1.txt").unlink()
    (scenes / "labels" / "2.txt").write_text("\n")
    (scenes / "labels" / "classes.txt").write_text("disc\n")
    words = [scenes / "images", "--boxes", scenes / "labels", "--rows", 4, "--out", tmp_path / "o"]
    assert run(*words, "--policy", "cutmix:1") == 0
    assert "1 images have no text file" in capsys.readouterr().err
    assert "class 1" in {
        s.name for row in range(4) for s in opened(scenes, "labels").beside.seen(row)
    }


def coco(scenes: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Another COCO file."""
    path = scenes / "instances.json"
    held = json.loads(path.read_text())
    change(held)
    path.write_text(json.dumps(held))


def test_crowds_are_left_out_and_run_lengths_have_no_outline(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(held: dict[str, Any]) -> None:
        held["annotations"][0]["iscrowd"] = 1
        held["annotations"][1]["segmentation"] = {"counts": [3, 4], "size": [30, 40]}

    coco(scenes, change)
    words = [scenes / "images", "--boxes", scenes / "instances.json", "--rows", 2]
    assert run(*words, "--policy", "cutmix:1", "--out", tmp_path / "out") == 0
    told = capsys.readouterr().err
    assert "not drawn: 1 regions of crowds" in told
    assert "no instances: 1 boxes have no polygon" in told
    assert run(*words, "--policy", "copypaste:1", "--out", tmp_path / "other") == 2
    assert "maps of instances, which these rows have not" in capsys.readouterr().err


def test_boxes_that_are_not_in_their_image_are_counted(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _annotation("bbox", [90, 90, 5, 5])(scenes)
    words = [scenes / "images", "--boxes", scenes / "instances.json", "--out", tmp_path / "out"]
    assert run(*words, "--policy", "copypaste:1", "--json") == 0
    told = capsys.readouterr()
    assert "not drawn: 1 boxes without area inside their image" in told.err
    rows = json.loads(told.out)["policies"][0]["rows"]
    assert sum(box["row"] == k for k, row in enumerate(rows) for box in row["boxes"]) <= 7


def _annotation(name: str, value: object) -> Callable[[Path], None]:
    return lambda top: coco(top, lambda held: held["annotations"][0].update({name: value}))


def _image(name: str, value: object) -> Callable[[Path], None]:
    return lambda top: coco(top, lambda held: held["images"][0].update({name: value}))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no JSON": (lambda top: (top / "instances.json").write_text("{"), "cannot be read"),
    "a list": (lambda top: (top / "instances.json").write_text("[1]"), "lists is missing"),
    "nested": (lambda top: (top / "instances.json").write_text("[" * 10**5), "cannot be read"),
    "no file": (lambda top: (top / "instances.json").unlink(), "cannot be read"),
    "no categories": (lambda top: coco(top, lambda held: held.pop("categories")), "is missing"),
    "text for lists": (lambda top: coco(top, lambda h: h.update(images=["a"])), "is missing"),
    "no images": (lambda top: coco(top, lambda h: h.update(images=[], annotations=[])), "no image"),
    "unknown image": (_annotation("image_id", 99), "no image with the id 99"),
    "unknown class": (_annotation("category_id", [1]), "does not fit"),
    "three numbers": (_annotation("bbox", [1, 2, 3]), "does not fit"),
    "not finite": (_annotation("bbox", [1, 2, 3, float("nan")]), "not of four numbers"),
    "an id twice": (_image("id", 11), "two images have one id"),
    "a class twice": (lambda t: coco(t, lambda h: h["categories"][0].update(id=8)), "have one id"),
    "an image twice": (_image("file_name", "1.png"), "two images are '1.png'"),
    "an outline without end": (
        _annotation("segmentation", [[float("nan"), 1, 2, 3, 4, 5]]), "pairs x, y"
    ),
    "no height": (
        lambda top: coco(top, lambda h: h["images"][0].pop("height")), "'height' is missing"
    ),
    "negative": (_annotation("bbox", [1, 2, -3, 4]), "is no box"),
    "words": (_annotation("bbox", ["a", 2, 3, 4]), "does not fit"),
    "odd outline": (_annotation("segmentation", [[1, 2, 3, 4, 5, 6, 7]]), "does not fit"),
    "outside": (_image("file_name", "../../etc/passwd.png"), "path of an image inside"),
    "absolute": (_image("file_name", "/etc/passwd.png"), "path of an image inside"),
    "no image's suffix": (_image("file_name", "0.txt"), "path of an image inside"),
    "other size": (_image("width", 41), "its boxes are for 41 x 30"),
    "no size": (_image("height", 0), "are no sizes"),
    "gone": (lambda top: (top / "images" / "0.png").unlink(), "0.png"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_coco_file_is_one_line(
    name: str, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, says = BROKEN[name]
    spoil(scenes)
    words = [scenes / "images", "--boxes", scenes / "instances.json", "--rows", 4]
    assert run(*words, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0 0.5 0.5 0.2", "line 1"),
        ("0 0.5 0.5 20 10", "line 1"),
        ("0.5 0.5 0.5 0.2 0.2", "line 1"),
        ("-1 0.5 0.5 0.2 0.2", "line 1"),
        ("nan 0.5 0.5 0.2 0.2", "line 1"),
        ("disc 0.5 0.5 0.2 0.2", "line 1"),
        ("1e9 0.5 0.5 0.2 0.2", "line 1"),
        ("0 0.1 0.1 0.5 0.1 0.5", "line 1"),
    ],
)
def test_a_broken_line_of_yolo_is_named(
    line: str, says: str, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scenes / "labels" / "2.txt").write_text(line)
    words = [scenes / "images", "--boxes", scenes / "labels", "--out", tmp_path / "out"]
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert f"2.txt {says}" in error
    assert error.count("\n") == 1


def test_polygons_of_yolo_are_outlines(scenes: Path) -> None:
    for row in range(ROWS):
        (scenes / "labels" / f"{row}.txt").write_text("1 0.25 0.2 0.75 0.2 0.75 0.8 0.25 0.8")
    batch = opened(scenes, "labels")
    assert "instances" in batch.beside.hints
    assert next(batch.beside.seen(0)).corners == pytest.approx((10, 6, 30, 24))


MASKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "none": (lambda top: (top / "masks" / "1.png").unlink(), "1.png: it is not there"),
    "another size": (
        lambda top: Image.new("L", (40, 31)).save(top / "masks" / "1.png"),
        "40 x 31, the image 40 x 30",
    ),
    "colours": (lambda top: Image.new("RGB", (40, 30)).save(top / "masks" / "1.png"), "RGB"),
    "no PNG": (lambda top: (top / "masks" / "1.png").write_text("P"), "cannot be read"),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_broken_mask_is_one_line(
    name: str, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, says = MASKS[name]
    spoil(scenes)
    words = [scenes / "images", "--masks", scenes / "masks", "--rows", 4, "--out", tmp_path / "out"]
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["images", "--policy", "classmix"], "segmentation masks, which these rows have not"),
        (["images", "--masks", "masks", "--policy", "copypaste:1"], "maps of instances"),
        (["images", "--boxes", "masks"], "no boxes for these images"),
        (["images", "--boxes", "nowhere.json"], "cannot be read"),
        (["mixed", "--masks", "masks"], "other than images alone"),
        (["nowhere", "--masks", "masks"], "not a folder"),
        (["images", "--masks", "nowhere"], "nowhere: it is not a folder"),
        (["instances.json"], "none of the images of instances.json"),
        (["nowhere.json"], "cannot be read"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    words: list[str], says: str, scenes: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(scenes)
    for name in ("mixed/ant", "mixed/bee"):
        Path(name).mkdir(parents=True)
        Image.new("L", (4, 4)).save(Path(name, "0.png"))
    assert run(*words, "--out", "out") == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
