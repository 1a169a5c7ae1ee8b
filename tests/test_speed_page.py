"""The charts of the page on speed are those of the last run, and show where others are faster."""

import re
import runpy

import pytest
from PIL import Image

from pages import DOCS, ROOT
from report import Report

FIGURES = runpy.run_path(str(DOCS / "speed_figures.py"))
REPORT = Report.load(ROOT / "benchmarks" / "results.json")
TEXT = (DOCS / "speed.md").read_text()


def test_every_chart_is_shown_light_and_dark_and_there_are_no_others():
    names = {f"{name}-{theme}" for name in FIGURES["CHARTS"] for theme in FIGURES["THEMES"]}
    assert {path.stem for path in FIGURES["HERE"].iterdir()} == names
    shown = re.findall(r"!\[[^\]]{40,}\]\(figures/speed/([\w-]+)\.png#only-(\w+)\)", TEXT)
    assert sorted(name for name, _ in shown) == sorted(names)
    assert all(name.endswith(theme) for name, theme in shown)


@pytest.mark.parametrize("theme", FIGURES["THEMES"])
@pytest.mark.parametrize("name", FIGURES["CHARTS"])
def test_a_chart_shows_the_numbers_of_the_last_run(name, theme):
    with Image.open(FIGURES["HERE"] / f"{name}-{theme}.png") as picture:
        assert picture.info["Description"] == FIGURES["digest"](name, REPORT), (
            "run: python docs/speed_figures.py"
        )


def test_a_size_at_which_timm_is_faster_is_drawn_and_in_the_table():
    lines = FIGURES["series"](REPORT, "MixUp, one lam", 32)
    ours, timm = (dict(lines[library, "in place"]) for library in ("batchmix", "timm"))
    assert timm[32] > ours[32]
    assert timm[2048] < ours[2048]
    assert re.search(r"\| 32 x 3 x 32 x 32 \| 0.4 \| MixUp, one lam \|.*\| \*\*0\.\d+\*\* \|", TEXT)


def test_a_draw_per_row_is_fastest_at_every_size_as_the_page_says():
    rows = re.findall(
        r"^\| \d+ x [^|]+\|[^|]+\| (?:MixUp|both), per row \|.*\| (\S+) \|$", TEXT, re.M
    )
    assert len(rows) == 2 * len(set(re.findall(r"^\| (\d+ x \d+ x \d+ x \d+) \|", TEXT, re.M)))
    assert all(float(times) >= 1 for times in rows)
