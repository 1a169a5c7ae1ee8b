"""`batchmix preview`, run for real: on digits and on a folder of images made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import batchmix as bm
from batchmix.cli import _pictures, main
from batchmix.cli._arms import Arm
from batchmix.cli._data import load
from batchmix.cli._shown import choose
from batchmix.policies import CutMix, MixUp, Switch

ALL = "none smooth:0.1 mixup:1 cutmix:1 switch:0.8,1.0"


def run(*words: object) -> int:
    """The exit code of the command line."""
    with pytest.raises(SystemExit) as stop:
        main(["preview", *map(str, words)])
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of three images, wider than high."""
    top = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name in ("ant", "bee", "a very long class name"):
        (top / name).mkdir()
        for i in range(3):
            Image.fromarray(rng.integers(0, 256, (12, 20, 3), np.uint8)).save(
                top / name / f"{i}.png"
            )
    return top


def test_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--out", tmp_path / "out") == 0
    files = ["rows.png", "alpha.png", "labels.png"]
    assert capsys.readouterr().out.split() == [str(tmp_path / "out" / name) for name in files]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        files
    )  # no temporary left
    for name in files:
        with Image.open(tmp_path / "out" / name) as image:
            image.verify()
            assert min(image.size) > 200


def test_a_folder_of_images_and_every_policy(folder: Path, tmp_path: Path) -> None:
    assert run(folder, "--policies", ALL, "--rows", 4, "--out", tmp_path) == 0
    assert (
        run(folder, "--policy", "mixup:1", "--policy", "cutmix:1", "--size", 8, "--out", tmp_path)
        == 0
    )


def test_same_seed_same_figure(tmp_path: Path) -> None:
    figures = []
    for seed in (0, 0, 1):
        assert run("--rows", 2, "--seed", seed, "--policy", "cutmix:1", "--out", tmp_path) == 0
        figures.append((tmp_path / "rows.png").read_bytes())
    assert figures[0] == figures[1] != figures[2]


def test_without_a_mixing_policy_there_is_no_alpha(tmp_path: Path) -> None:
    assert run("--policies", "none smooth:0.1", "--rows", 2, "--out", tmp_path) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels.png", "rows.png"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--policy", "cutmx:1"], "Did you mean 'cutmix:1'?"),
        (["--policy", "mixup:0"], "numbers > 0"),
        (["--policy", "switch:1"], "'switch:0.8,1.0'"),
        (["--policies", "mixup:1 mixup:1"], "same policy"),
        (["--rows", "1"], "--rows"),
        (["--seed", "-1"], "--seed"),
        (["./nowhere"], "is not a folder"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_out_that_is_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert run("--rows", 2, "--out", tmp_path / "file") == 2
    assert "--out" in capsys.readouterr().err


def test_the_parts_under_an_image_are_its_soft_label() -> None:
    batch = choose(load("digits"), 10, seed=0)
    assert len(set(batch.rows.y.tolist())) == 10  # the classes in turn
    for arm in (
        Arm("cutmix", CutMix(1.0)),
        Arm("mixup", MixUp(1.0), 0.1),
        Arm("smooth", None, 0.2),
    ):
        one = batch.show(arm)
        for row, y in enumerate(batch.rows.y):
            parts = one.parts(row)
            assert parts[0].share == pytest.approx(one.soft[row, y])
            assert sum(part.share for part in parts) == pytest.approx(1, abs=0.005)
        assert np.allclose(1 - one.weight.mean((1, 2)), one.plan.lam, atol=1e-6)


def test_partners_are_the_same_for_every_policy() -> None:
    batch = choose(load("digits"), 8, seed=0)
    plans = [batch.draw(policy) for policy in (None, MixUp(1.0), CutMix(1.0))]
    assert all((plan.partner == plans[0].partner).all() for plan in plans)


def test_a_cut_is_outlined_at_its_box() -> None:
    batch = choose(load("digits"), 2, seed=0)
    plan = bm.Plan([1, 0], [[[1, 3], [2, 7]], [[0, 8], [0, 8]]], [1, 0.5], axes="HW", size=(8, 8))
    axes = _pictures.Figure().subplots(1, 2)
    for row, panel in enumerate(axes):
        _pictures._mixed(panel, batch.apply("by hand", plan), row)
    assert [patch.get_bbox().bounds for patch in axes[0].patches] == [(1.5, 0.5, 5, 2)]
    assert not axes[1].patches


def test_alpha_reaches_every_part_of_a_switch() -> None:
    policy = _pictures._with_alpha(Switch([MixUp(0.8), CutMix(1.0)], [1, 3]), 2.0)
    assert policy == Switch([MixUp(2.0), CutMix(2.0)], [1, 3])
