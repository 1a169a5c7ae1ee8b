"""`batchmix stats`, run for real."""

import json

import pytest
from PIL import Image

import batchmix as bm
from batchmix.policies import CutMix


def test_a_line_and_a_panel_per_policy(run, tmp_path):
    code, out, _ = run(
        "stats", "cutmix:1", "mixup:0.2", "none", "--size", 8, "--batches", 64, "--out", tmp_path
    )
    assert code == 0
    assert "8 x 8 cells, 64 batches of 64, derangement" in out
    assert out.split()[-1] == str(tmp_path / "stats.png")
    (line,) = [line for line in out.splitlines() if line.startswith("cutmix:1")]
    found = bm.stats(CutMix(1.0), {"H": 8, "W": 8}, batches=64)
    assert f"{100 * found.pasted:.1f}" in line.split()
    assert line.endswith(found.sparkline(12))
    heights = []
    for words in (["cutmix:1"], ["cutmix:1", "none"]):
        assert run("stats", *words, "--batches", 4, "--out", tmp_path)[0] == 0
        with Image.open(tmp_path / "stats.png") as image:
            assert len(image.convert("L").getcolors()) > 50  # something is drawn
            heights.append(image.height)
    assert heights[1] > heights[0] + 200


def test_size_and_pairing_reach_the_draw(run, tmp_path):
    words = ["stats", "cutmix:1", "--batches", 16, "--out", tmp_path]
    assert "12 x 20 cells" in run(*words, "--size", "12x20")[1]
    assert "4 x 6 x 8 cells" in run(*words, "--size", "4x6x8")[1]
    words[3] = 256
    permuted = run(*words, "--pairing", "permutation", "--batch-size", 2)[1]
    (line,) = [line for line in permuted.splitlines() if line.startswith("cutmix:1")]
    assert 35 < float(line.split()[4]) < 65  # own partners, %


def test_the_table_fits_80_columns(run, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    policies = ["cutmix:1", "switch:0.8,1.0", "switch:0.1234567,1.0987654321"]
    out = run("stats", *policies, "--batches", 16, "--out", tmp_path)[1]
    assert "…" not in out
    assert max(map(len, out.splitlines()[:-1])) <= 80
    assert "1.0987654321" in out
    assert len([line for line in out.splitlines() if "0.8,1.0" in line]) == 1


def test_quiet_is_without_notes(run, tmp_path):
    words = ["stats", "cutmix:1", "--batches", 4, "--out", tmp_path]
    assert "mean weight of the partner" in run(*words)[1]
    quiet = run(*words, "--quiet")[1]
    assert "mean weight of the partner" not in quiet
    assert "cutmix:1" in quiet


def test_numbers(run, tmp_path):
    words = ["none", "cutmix:1", "--size", 8, "--batches", 64, "--json", "--out", tmp_path]
    code, out, error = run("stats", *words)
    assert (code, error) == (0, "")
    told = json.loads(out)
    assert told["size"] == {"H": 8, "W": 8}
    assert told["files"] == [str(tmp_path / "stats.png")]
    none, cutmix = told["policies"]
    assert (none["policy"], none["unmixed"], none["own_weight"]["5"]) == ("none", 1, 1)
    found = bm.stats(CutMix(1.0), {"H": 8, "W": 8}, batches=64)
    assert (cutmix["pasted"], cutmix["empty_box"]) == (found.pasted, found.empty)
    assert cutmix["histogram"] == found.histogram().tolist()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["cutmx:1"], "Did you mean 'cutmix:1'?"),
        ([], "POLICY"),
        (["cutmix:1", "--size", "0"], "--size"),
        (["cutmix:1", "--size", "8x"], "--size"),
        (["cutmix:1", "--size", "1x2x3x4"], "--size"),
        (["cutmix:1", "--pairing", "friends"], "--pairing"),
        (["cutmix:1", "--margin", "0.7"], "--margin"),
        (["cutmix:1", "--batches", "0"], "--batches"),
        (["cutmix:1", "--batches", "1" + "0" * 11], "--batches: that makes 6,400,000,000,000 rows"),
        (["cutmix:1", "--size", "3000000000"], "each 1..65536"),
        (["cutmix:1", "--seed", str(2**70)], "--seed"),
        ([f"mixup:{i}" for i in range(1, 20_000)], "At most 64 are counted"),
        (["mixup:5e-324"], "1e-9 to 1e9"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(run, tmp_path, words, says):
    code, _, error = run("stats", *words, "--out", tmp_path / "out")
    assert code == 2
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
