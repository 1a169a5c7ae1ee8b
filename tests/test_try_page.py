"""The page "Try it": every setting that it offers has its picture, its labels and its code."""

import io
import json
import runpy

import numpy as np
import pytest
from PIL import Image

import batchmix as bm
from batchmix import policies
from pages import DOCS


@pytest.fixture(scope="module")
def made():
    return runpy.run_path(str(DOCS / "make_try.py"))


@pytest.fixture(scope="module")
def files(made):
    """Every file of the page by its name."""
    found = list(made["files"]())
    assert len(dict(found)) == len(found)
    return dict(found)


@pytest.fixture(scope="module")
def document(files):
    return json.loads(files["settings.json"])


def test_every_setting_has_its_picture_and_no_picture_is_left(made, files, document):
    steps = range(document["steps"])
    views = {
        made["name"](policy, alpha, step)
        for policy, alphas in document["policies"].items()
        for alpha in alphas or [None]
        for step in steps
    }
    others = {"settings.json", "rows.webp", *(f"partners-{step}.webp" for step in steps)}
    assert set(document["views"]) == views
    assert set(files) == {f"{name}.webp" for name in views} | others
    assert 150 < len(document["views"]) < 250
    assert sum(map(len, files.values())) < 4e6


def test_the_code_line_draws_what_its_picture_shows(made, files, document):
    rows = made["batch"]()
    side, gap = made["SIDE"], made["GAP"]
    for name, view in document["views"].items():
        names = {"bm": bm, **vars(policies)}
        exec(view["code"], names)
        plan = names["plan"]
        assert view["partners"] == [rows.name(k) for k in plan.partner.tolist()]
        soft = bm.mix_labels(rows.y, plan, len(rows.source.classes))
        for row, parts in enumerate(view["parts"]):
            assert parts[0][:2] == [rows.name(row), pytest.approx(soft[row, rows.y[row]], abs=1e-3)]
            assert sum(share for _, share, _ in parts) == pytest.approx(1, abs=0.006)
        with Image.open(io.BytesIO(files[f"{name}.webp"])) as picture:
            shown = np.asarray(picture.convert("RGB"), float)
        assert shown.shape == (side, 5 * side + 4 * gap, 3)
        mixed = bm.mix(rows.x, plan, "NHWC")
        for row in range(5):
            small = Image.fromarray(mixed[row]).resize((side, side), Image.Resampling.LANCZOS)
            there = shown[:, row * (side + gap) : row * (side + gap) + side]
            assert np.abs(there - np.asarray(small, float)).mean() < 6  # of 255: WebP loses some


def test_the_pictures_are_the_same_again(made, files):
    assert dict(made["files"]()) == files


def test_without_javascript_the_page_shows_one_of_its_settings(files, document):
    page = (DOCS / "try.md").read_text()
    assert document["views"]["cutmix-1-0"]["code"] in page
    for name in ("rows.webp", "partners-0.webp", "cutmix-1-0.webp"):
        assert f'src="{name}"' in page
        assert name in files


def test_the_page_asks_no_other_host():
    for name in ("try.md", "try.js", "try.css"):
        assert "//" not in (DOCS / name).read_text().replace("\n//", "").removeprefix("//")
