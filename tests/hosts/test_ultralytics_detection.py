"""Ultralytics' mixing of detection as it runs, and plans that execute what it drew.

Its Mosaic has a canvas of twice the side, which no policy here draws; a plan of four layers is it.
"""

from __future__ import annotations

import os
import random
import tempfile

import numpy as np
import pytest

os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp())
from ultralytics.data.augment import CutMix, MixUp, Mosaic
from ultralytics.utils.instance import Instances

import batchmix as bm
from batchmix.fields import BoundingBoxes

SIDE = 32
ALL = {"min_visible": 0, "min_size": 0}


class Scenes:
    """What its transforms ask of a data set."""

    def __init__(self, seed, rows=8, boxes=3):
        rng = np.random.default_rng(seed)
        self.images = rng.integers(0, 256, (rows, SIDE, SIDE, 3), np.uint8)
        low, side = rng.integers(0, 20, (rows, boxes, 2)), rng.integers(3, 12, (rows, boxes, 2))
        number = np.arange(rows * boxes).reshape(rows, boxes, 1)
        self.boxes = np.concatenate([low, low + side, number], 2).astype(np.float32)
        self.cache, self.buffer, self.asked = True, [0], []

    def __len__(self):
        return len(self.images)

    def get_image_and_label(self, row):
        self.asked.append(row)
        instances = Instances(
            self.boxes[row, :, :4].copy(), np.zeros((0, 1000, 2), np.float32), None, "xyxy", False
        )
        return {
            "img": self.images[row].copy(), "cls": self.boxes[row, :, 4:].copy(),
            "instances": instances, "resized_shape": (SIDE, SIDE), "ori_shape": (SIDE, SIDE),
            "im_file": f"{row}.jpg",
        }  # fmt: skip

    def run(self, transform, row=0):
        """A row that is mixed, what was drawn for it, and with whom."""
        labels, self.asked = self.get_image_and_label(row), []
        drawn = transform.get_params(labels)
        theirs = [*self.asked]
        made = transform.apply_instances(transform.apply_image(labels, drawn), drawn)
        return made, drawn, theirs


def boxes_of(made):
    """[n, 5] as ours are; boxes without area left out."""
    made["instances"].convert_bbox("xyxy")
    found = np.concatenate([made["instances"].bboxes, made["cls"].reshape(-1, 1)], 1)
    return found[(found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])]


def ours(boxes, plan, **rule):
    found = BoundingBoxes(**rule)(boxes, plan)[0]
    return found[found[:, 2] > found[:, 0]]


@pytest.mark.parametrize("seed", range(3))
def test_its_mixup_is_a_blend_and_the_union_of_boxes(seed):
    np.random.seed(seed), random.seed(seed)
    scenes = Scenes(seed)
    made, drawn, (partner,) = scenes.run(MixUp(scenes, p=1.0))
    pair = [0, partner]
    whole = [[[0, SIDE]] * 2] * 2
    plan = bm.Plan([1, 0], whole, [1 - drawn["r"]] * 2, "HW", (SIDE, SIDE))
    mixed = bm.mix(scenes.images[pair], plan, "NHWC")[0]
    # it cuts to integers, ours are rounded
    assert set(np.unique(mixed.astype(int) - made["img"])) <= {0, 1}
    np.testing.assert_array_equal(ours(scenes.boxes[pair], plan), boxes_of(made))
    assert 0.25 < drawn["r"] < 0.75  # Beta(32, 32)


@pytest.mark.parametrize("seed", range(5))
def test_its_mosaic_is_a_plan_of_four_layers(seed):
    """On its canvas; every tile is a region of a row, pasted at its size."""
    random.seed(seed)
    scenes = Scenes(seed)
    mosaic = Mosaic(scenes, imgsz=SIDE, p=1.0, n=4)
    made, drawn, theirs = scenes.run(mosaic)
    canvas = np.full((5, 2 * SIDE, 2 * SIDE, 3), 114, np.uint8)
    canvas[1:, :SIDE, :SIDE] = scenes.images[[0, *theirs]]
    boxes = np.full((5, 3, 5), -1, np.float32)
    boxes[1:] = scenes.boxes[[0, *theirs]]
    plan = None
    for k, tile in enumerate(drawn["layout"]):
        box = [[tile["y1a"], tile["y2a"]], [tile["x1a"], tile["x2a"]]]
        source = [[tile["y1b"], tile["y2b"]], [tile["x1b"], tile["x2b"]]]
        layer = bm.Plan(
            [1 + k, 1, 2, 3, 4], [box] * 5, [1, 0, 0, 0, 0], "HW", (2 * SIDE, 2 * SIDE),
            source=[source] * 5,
        )  # fmt: skip
        plan = layer if plan is None else plan.then(layer)
    np.testing.assert_array_equal(bm.mix(canvas, plan, "NHWC")[0], made["img"])
    np.testing.assert_array_equal(ours(boxes, plan, **ALL), boxes_of(made))


def test_its_cutmix_takes_boxes_of_which_a_tenth_is_seen():
    """min_visible=0.1; its area is one that meets no box of the row."""
    mixed = 0
    for seed in range(40):
        np.random.seed(seed), random.seed(seed)
        scenes = Scenes(seed)
        made, drawn, (partner,) = scenes.run(CutMix(scenes, p=1.0))
        if drawn.get("skip"):
            continue
        mixed += 1
        pair = [0, partner]
        left, top, right, bottom = drawn["area"].astype(int)
        box = [[top, bottom], [left, right]]
        plan = bm.Plan([1, 0], [box] * 2, [1, 0], "HW", (SIDE, SIDE))
        np.testing.assert_array_equal(bm.mix(scenes.images[pair], plan, "NHWC")[0], made["img"])
        found = ours(scenes.boxes[pair], plan, min_visible=0.1, min_size=0)
        np.testing.assert_array_equal(found, boxes_of(made))
    assert mixed > 5
