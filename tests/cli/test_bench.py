"""`batchmix bench`, run for real on tiny batches. What it says is checked, not how fast it is."""

import json

import pytest

from batchmix import backends

TINY = ("bench", "--shape", "4x3x8x8", "--seconds", 0)
WORKS = ("MixUp, per row", "CutMix, per row", "both, per row")


def test_a_table(run):
    code, out, error = run(*TINY)
    assert code == 0
    assert error == "timing 17 lines, 0 s each ...\n"
    assert f"4x3x8x8 float32, kernel {backends.kernels()['host']}, threads default" in out
    for work in WORKS:
        assert sum(line.startswith(work) for line in out.splitlines()) == 5


def test_numbers(run):
    code, out, error = run(*TINY, "--threads", 2, "--json", "--quiet")
    assert (code, error) == (0, "")
    found = json.loads(out)
    assert found["shape"] == [4, 3, 8, 8]
    assert found["kernel"]["threads"] == 2
    scale, copy, *lines = found["lines"]
    assert {line["work"] for line in lines} == set(WORKS)
    assert all(line["ms"] > 0 for line in lines)
    for line in lines:
        limit = scale if line["how"].startswith("in place") else copy
        assert line["limit"] == limit["ms"]


def test_the_table_fits_80_columns(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = run(*TINY)[1]
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_threads_are_as_before(run):
    before = backends.kernels()
    run(*TINY, "--threads", 2)
    assert backends.kernels() == before


@pytest.mark.parametrize(
    "shape",
    [
        "256",
        "4x3x8",
        "4x3x8x0",
        "axbxcxd",
        "4x3x8x-8",
        "1x1x1x" + "9" * 5000,
        "9x999999999x9999x9999",
    ],
)
def test_a_shape_that_is_none(run, shape):
    code, out, error = run("bench", "--shape", shape)
    assert (code, out) == (2, "")
    assert "--shape" in error
    assert error.count("\n") == 1
