"""The table of methods: every row is drawn, and measured against what it says."""

import re
from pathlib import Path

import numpy as np
import pytest

import batchmix as bm
import oracle
from batchmix import policies

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "policies" / "index.md").read_text()
SIZES = {
    "images": {"H": 32, "W": 32}, "volumes": {"D": 8, "H": 16, "W": 16}, "sound": {"T": 256},
    "tables": {}, "columns": {"C": 16},
}  # fmt: skip
SPANS = (0, 0.7), (0.1, 0.5)  # of bounding boxes: where they start, their sides
LARGE = {"images": {"H": 224, "W": 224}, "columns": {"C": 224}, "sound": {"T": 16000}}


def table(heading):
    """The rows of the table under a heading, each a mapping from its columns."""
    lines = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0].splitlines()
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("|")
    ]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


ROWS = {row["method"].partition("]")[0].strip("["): row for row in table("Policies")}
STEPS = table("Partners, labels and training steps")


def policy_of(row):
    return eval(row["write"].strip("`"), vars(policies))


def hints(batch, size):
    """Anything that may be read, of rows with spots of 4 cells a side."""
    rng, shape = np.random.default_rng(0), tuple(size.values())
    coarse = rng.integers(0, 4, (batch, *(-(-n // 4) for n in shape)))
    for axis, n in enumerate(shape):
        coarse = coarse.repeat(4, axis + 1).take(np.arange(n), axis + 1)
    low, side = (rng.uniform(a, b, (batch, 6, 2)) * max(size.values(), default=1) for a, b in SPANS)
    return {
        "boxes": np.concatenate([low, low + side], 2),
        "image": rng.integers(0, 256, (batch, *shape, 3), np.uint8),
        "label": rng.integers(0, 10, batch),
        "instances": coarse,
        "mask": coarse,
        "audio": rng.normal(size=(batch, *shape)) * rng.random((batch, *[1] * len(shape))),
    }


def draw(policy, size, batch=8, step=0):
    return bm.draw(policy, bm.Key(0, 0, step), batch, size, hints=hints(batch, size))


def counted(plan):
    """[B, K + 1]: what is left of each row, cell by cell."""
    found = np.zeros((len(plan), len(plan.layers) + 1))
    for row in range(len(plan)):
        cell = dict(zip(plan.axes, np.indices(plan.size, sparse=True)))
        seen = np.zeros((found.shape[1], *plan.size))
        seen[0] = 1
        for k, layer in enumerate(plan.layers):
            a = np.broadcast_to(oracle.alpha(layer, row, cell), plan.size)
            seen *= 1 - a
            seen[k + 1] += a
        found[row] = seen.reshape(len(seen), -1).mean(1)
    return found


def test_there_are_enough_methods():
    assert len(ROWS) >= 14
    assert len(ROWS) + len(STEPS) >= 24


@pytest.mark.parametrize("name", ROWS)
def test_the_kinds_of_data(name):
    """Those that are named are drawn, the others refused; a box of columns is nobody's business."""
    policy, named = policy_of(ROWS[name]), ROWS[name]["data"].split(", ")
    assert set(named) <= set(SIZES)
    for kind, size in SIZES.items():
        if kind in named:
            assert draw(policy, size).lam.min() < 1
        elif kind != "columns" and named != ["columns"]:
            with pytest.raises(bm.MixError):
                draw(policy, size)


@pytest.mark.parametrize("name", ROWS)
def test_the_label_rule(name):
    row = ROWS[name]
    policy, rule = policy_of(row), row["its label counts"]
    for kind in row["data"].split(", "):
        for step in range(3):
            plan = draw(policy, SIZES[kind], 12, step)
            want = counted(plan)
            np.testing.assert_allclose(plan.weights, want, atol=2e-6)
            if rule == "the drawn ratio":
                labels = np.stack([plan.label_lam, 1 - plan.label_lam], 1)
                assert np.isin(plan.label_lam[plan.lam < 1] * 4096, np.arange(4097)).all()
                assert not np.allclose(labels, want, atol=0.05)
            elif rule != "classes, then area":
                labels = want
            else:
                alone = np.isclose(plan.label_lam, plan.lam)
                assert (alone | np.isin(plan.label_lam, (0, 1))).all()
                assert 0 < alone.sum() < 12
                labels = np.stack([plan.label_lam, 1 - plan.label_lam], 1)
            np.testing.assert_allclose(plan.label_weights, labels, atol=2e-6)
            whole = (plan.box == [[0, n] for n in plan.size]).all() if plan.size else True
            opaque = np.isin(plan.opacity, (0, 1)).all()
            if rule == "the opacity":
                np.testing.assert_allclose(1 - plan.opacity, plan.lam, atol=1e-7)
                assert whole
            elif rule == "cells of the box":
                assert opaque
                assert plan.mask is None
            elif rule == "cells of the mask":
                assert opaque
                assert set(np.unique(plan.mask)) <= {0, 255}
            elif rule == "mean of the mask":
                assert len(np.unique(plan.mask)) > 10
            elif rule == "cells of each part":
                assert len(plan.layers) > 1
            else:
                assert rule in ("what was drawn", "classes, then area", "the drawn ratio")


@pytest.mark.parametrize("name", ROWS)
def test_what_it_costs(name):
    """The share that is written, the bytes of the plan, and what is read of the batch."""
    row = ROWS[name]
    policy = policy_of(row)
    size = LARGE.get(row["data"], LARGE["images"])
    few = 4 if policies._paste.reads_of(policy) else 20
    plans = [draw(policy, size, 64, step) for step in range(few)]
    pasted = np.mean([1 - plan.lam.mean() for plan in plans])
    assert pasted == pytest.approx(float(row["pasted"]), abs=0.03)
    each = sum(column.nbytes for column in plans[0].columns().values()) / 64
    assert each == int(row["bytes"])
    assert ", ".join(policies._paste.reads_of(policy)) == row["reads"]


@pytest.mark.parametrize("name", ROWS)
def test_sources_are_those_of_the_code_and_of_the_page(name):
    row = ROWS[name]
    (page,) = re.findall(r"\]\((.*?\.md)\)", row["method"])
    text = (DOCS / "policies" / page).read_text()
    found = re.findall(r"\]\((http.*?)\)", row["source"]) or [row["source"]]
    said = " ".join((type(policy_of(row)).__doc__ or "").split())
    for source in found:
        assert source in said, f"{name}: the docstring names another source than {source}"
        assert source in text or found == [row["source"]]


@pytest.mark.parametrize("row", STEPS, ids=lambda row: row["method"])
def test_pages_of_the_steps_name_the_source(row):
    """Their blocks are run by the tests of the documentation."""
    (page,) = re.findall(r"\]\((.*?\.md)\)", row["how"])
    (source,) = re.findall(r"\]\((http.*?)\)", row["source"])
    text = (DOCS / "policies" / page).resolve().read_text()
    assert source in text
    assert "```python" in text
