"""Reports of benchmarks: lines are found, targets hit and missed, pages written."""

from dataclasses import replace
from pathlib import Path

import pytest

import figure
import tables
from cases import LARGE, MIXUP
from report import Report
from targets import FRONT_DOOR, TARGETS, Find

RESULTS = Path(figure.__file__).with_name("results.json")
ABSENT = {"timm": {"version": "1", "absent": None}, "Keras": {"version": None, "absent": "?"}}


def line(library, ms, how="in place", work=MIXUP):
    """A line as results.json has it."""
    times = {"median": ms, "q1": ms, "q3": ms, "min": ms, "samples": 5}
    return {"library": library, "work": work, "how": how, "ms": times}


def report_of(*lines, group="float32", shape=LARGE, **setting):
    """A report of one table."""
    where = {"threads": 1, "allocator": "warm", "group": group, "shape": list(shape), "bytes": 1}
    keys = ("cpu", "cores", "system", "python", "numpy", "torch", "batchmix", "kernel")
    head = {"command": "benchmarks/run.py", "date": "2000-01-01", "libraries": ABSENT}
    head["machine"] = dict.fromkeys(keys, "?")
    return Report.of({**head, "runs": [{**where, **setting, "cases": list(lines)}]})


def both(ours, theirs):
    """A line of batchmix, and one of timm."""
    return report_of(line("batchmix", ours), line("timm", theirs))


def test_lines_are_found_by_what_they_say():
    report = report_of(line("limit", 3, "copy: a"), line("limit", 2, "copy: b"), line("timm", 5))
    assert report.median(library="limit", how="copy: *") == 2
    assert report.median(library="limit", how="copy") is None
    assert report.median(shape=LARGE, threads=1, library="timm") == 5
    assert report.median(threads=2) is None
    assert report.ratio({"library": "timm"}, {"how": "copy: *"}) == 2.5
    assert report.ratio({"library": "timm"}, {"how": "scale: *"}) is None
    with pytest.raises(AttributeError):
        report.find(libary="timm")


def test_a_line_that_failed_has_no_median():
    failed = {"library": "timm", "work": MIXUP, "how": "in place", "failed": "ValueError: no"}
    report = report_of(failed, line("batchmix", 10))
    assert report.median(library="timm") is None
    assert report.median() == 10
    assert TARGETS[0].measured(report) is None
    assert "failed: ValueError: no" in tables.page("", report)


def test_targets_are_hit_and_missed():
    target = TARGETS[0]
    assert target.measured(both(10, 60)) == 6
    assert target.hit(6)
    assert not target.hit(4.9)
    grid = tables.targets(both(10, 40), TARGETS)
    assert grid.rows[0][1:] == ["≥ 5", "4", "missed", ""]
    assert {row[2] for row in grid.rows[1:]} == {"not measured"}


def test_a_target_is_one_thread_with_a_warm_allocator():
    for setting in ({"threads": 2}, {"allocator": "shipped"}):
        report = report_of(line("batchmix", 10), line("timm", 60), **setting)
        assert TARGETS[0].measured(report) is None


def test_a_target_counts_the_whole_step():
    lines = [line("batchmix", 10), line("timm", 60), line("batchmix", 5, "in place, pixels only")]
    report = report_of(*lines)
    assert TARGETS[0].measured(report) == 6
    assert TARGETS[0].pixels_alone(report) == 12


def test_at_most_is_ours_over_theirs():
    """The other way round a slow line would be a hit."""
    found = [t for t in TARGETS if t.at_most and t.other and t.ours.group == "JAX"]
    for target in (found[0], FRONT_DOOR[0]):
        ours, other = target.ours, target.other
        report = report_of(
            line(ours.library, 13, ours.how, ours.work),
            line(other.library, 10, other.how, other.work),
            group=ours.group, shape=ours.shape,
        )  # fmt: skip
        assert target.measured(report) == 1.3
        assert not target.hit(1.3)
        assert target.hit(target.goal)


def test_targets_have_names_of_their_own():
    assert len({target.says for target in TARGETS}) == len(TARGETS)


def test_every_target_of_the_last_whole_run_was_measured():
    report = Report.load(RESULTS)
    groups = {line.group for line in report.lines}
    for target in TARGETS:
        if target.ours.group in groups:
            assert target.measured(report), target.says


def test_the_page_is_that_of_the_last_run():
    text = RESULTS.with_name("README.md").read_text()
    assert tables.page(text, Report.load(RESULTS)) == text


def test_the_page_keeps_what_was_written_by_hand():
    first = tables.page("", both(10, 60))
    by_hand = first.replace("# Benchmarks\n", "# By hand\n") + "after\n"
    again = tables.page(by_hand, both(20, 60))
    assert again.startswith("# By hand\n")
    assert again.endswith("after\n")
    assert "| 3.0 |" in again
    assert "Absent: Keras (?)" in again
    assert again.count(tables.BEGIN) == 1


def test_a_table_has_a_column_for_each_setting():
    report = both(10, 60)
    two = report_of(line("batchmix", 7), line("timm", 50), threads=2)
    (grid,) = tables.grids(replace(report, lines=report.lines + two.lines))
    assert "2 threads\nwarm" in grid.headings
    assert [row[-1] for row in grid.rows] == ["7", "50"]


def test_a_figure_of_what_there_is():
    assert figure.figure(both(1, 2)).startswith(b"\x89PNG")
    only = report_of(line("limit", 1, "copy: a", "limit"), line("batchmix", 2))
    assert figure.figure(only).startswith(b"\x89PNG")


def test_a_find_without_how_takes_the_fastest():
    find = Find("float32", LARGE, "timm", MIXUP)
    report = report_of(line("timm", 9, "a"), line("timm", 8, "b"))
    assert report.median(**find.wanted) == 8
