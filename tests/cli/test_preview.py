"""`batchmix preview`, run for real: on digits, and on folders of images and sounds made here."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile
from sklearn.datasets import load_digits

import batchmix as bm
from batchmix.cli import main
from batchmix.cli._mixing import Mixing
from batchmix.cli._words import Entry
from batchmix.cli.lab.data import open_data
from batchmix.cli.show import panels, pictures
from batchmix.cli.show.opened import choose, open_source
from batchmix.cli.show.shown import Batch, Shown
from batchmix.cli.show.theme import DARK, LIGHT
from batchmix.policies import Columns, CutMix, MixUp, PerBatch, Sometimes, Switch

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


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of three tones at 8 kHz; those of `low` are shorter."""
    top = tmp_path_factory.mktemp("sounds")
    for name, hertz, cells in (("low", 200, 1600), ("high", 2000, 2000)):
        (top / name).mkdir()
        for i in range(3):
            tone = np.sin(np.arange(cells) * 2 * np.pi * hertz / 8000) * 8000 * (i + 1)
            wavfile.write(top / name / f"{i}.wav", 8000, tone.astype(np.int16))
    return top


def digits(count: int, **options: object) -> Batch:
    """Rows of the digits."""
    return choose(open_source("digits"), count, Mixing(**options))  # type: ignore[arg-type]


def test_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--rows", 3, "--policy", "cutmix:1", "--out", tmp_path / "out") == 0
    files = ["rows.png", "alpha.png", "labels.png", "preview.html"]
    assert capsys.readouterr().out.split() == [str(tmp_path / "out" / name) for name in files]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        files
    )  # no temporary left
    for name in files[:-1]:
        with Image.open(tmp_path / "out" / name) as image:
            image.verify()
            assert min(image.size) > 200


def test_a_folder_of_images_and_every_policy(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "alphas", lambda *_: b"")  # drawn in the test above
    assert run(folder, "--policies", ALL, "--rows", 2, "--out", tmp_path) == 0


def test_an_option_may_be_repeated_and_images_resized(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Shown] = []
    monkeypatch.setattr(pictures, "rows", lambda title, shown: seen.extend(shown) or b"")
    monkeypatch.setattr(pictures, "_png", lambda canvas: b"")
    words = ["--policy", "mixup:1", "--policy", "cutmix:1", "--size", 8, "--rows", 2]
    assert run(folder, *words, "--out", tmp_path) == 0
    assert [(one.name, one.mixed.shape) for one in seen] == [
        ("mixup:1", (2, 8, 8, 3)),
        ("cutmix:1", (2, 8, 8, 3)),
    ]


def test_the_photographs_of_a_batch_are_of_different_classes() -> None:
    batch = choose(open_source("photos"), 8, Mixing())
    assert sorted(batch.y.tolist()) == list(range(8))


@pytest.mark.parametrize("draw", ["rows", "alphas", "labels"])
def test_figures_have_a_light_and_a_dark_page(draw: str) -> None:
    batch, entry = digits(2), Entry("cutmix", CutMix(1.0))
    shown = [batch.show(entry)] if draw == "rows" else batch
    more = () if draw == "rows" else ([entry],)
    for theme in (LIGHT, DARK):
        content = getattr(pictures, draw)("title", shown, *more, theme=theme)
        with Image.open(io.BytesIO(content)) as image:
            colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24) or ()}
            corner = image.convert("RGB").getpixel((0, 0))
        assert corner == to_rgb(theme["page"])
        assert {to_rgb(theme["own"]), to_rgb(theme["partner"])} <= colours
        other = DARK if theme is LIGHT else LIGHT
        assert not {to_rgb(other["own"]), to_rgb(other["partner"])} & colours


def to_rgb(colour: str) -> tuple[int, ...]:
    """Such as (255, 0, 0) of #ff0000."""
    return tuple(bytes.fromhex(colour[1:]))


def test_a_figure_of_mixed_rows_only_is_lower() -> None:
    shown = [digits(2).show(Entry("cutmix", CutMix(1.0)))]
    heights = []
    for only in (True, False):
        content = pictures.rows("", shown, only_mixed=only)
        heights.append(Image.open(io.BytesIO(content)).height)
    assert heights[0] < heights[1]


def test_same_seed_same_figure() -> None:
    figures = []
    for seed in (0, 0, 1):
        batch = digits(2, seed=seed)
        figures.append(pictures.rows("title", [batch.show(Entry("cutmix", CutMix(1.0)))]))
    assert figures[0] == figures[1] != figures[2]


def test_without_a_mixing_policy_there_is_no_alpha(tmp_path: Path) -> None:
    assert run("--policies", "none smooth:0.1", "--rows", 2, "--out", tmp_path) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "labels.png",
        "preview.html",
        "rows.png",
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--policy", "cutmx:1"], "Did you mean 'cutmix:1'?"),
        (["--policy", "mixup:0"], "numbers are > 0"),
        (["--policy", "switch:1"], "'switch:0.8,1.0'"),
        (["--policies", "mixup:1 mixup:1"], "same policy"),
        (["--rows", "1"], "--rows"),
        (["--seed", "-1"], "--seed"),
        (["./nowhere"], "is not a folder"),
        (["--prob", "2"], "--prob"),
        (["--per", "pair"], "--pairing reverse"),
        (["--per", "epoch"], "--per"),
        (["--seconds", "1"], "photos holds images"),
        (["digits", "--first", "1797"], "digits has 1797 training rows"),
        (["--first", "32"], "photos has 32 training rows"),
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
    batch = digits(10)
    assert len(set(batch.y.tolist())) == 10  # the classes in turn
    for entry in (
        Entry("cutmix", CutMix(1.0)),
        Entry("mixup", MixUp(1.0), 0.1),
        Entry("smooth", None, 0.2),
    ):
        one = batch.show(entry)
        for row, y in enumerate(batch.y):
            parts = one.parts(row)
            assert parts[0].share == pytest.approx(one.soft[row, y])
            assert sum(part.share for part in parts) == pytest.approx(1, abs=0.005)
        assert np.allclose(1 - one.opacity.mean((1, 2)), one.plan.lam, atol=1e-6)


def test_partners_are_the_same_for_every_policy() -> None:
    batch = digits(8)
    plans = [batch.draw(policy) for policy in (None, MixUp(1.0), CutMix(1.0))]
    assert all((plan.partner == plans[0].partner).all() for plan in plans)


def test_a_cut_is_outlined_at_its_box() -> None:
    batch = digits(2)
    plan = bm.Plan([1, 0], [[[1, 3], [2, 7]], [[0, 8], [0, 8]]], [1, 0.5], axes="HW", size=(8, 8))
    axes = pictures.Figure().subplots(1, 2)
    for row, panel in enumerate(axes):
        panels.mixed(panel, batch.apply("by hand", plan), row)
    assert [patch.get_bbox().bounds for patch in axes[0].patches] == [(1.5, 0.5, 5, 2)]
    assert not axes[1].patches


def test_a_policy_whose_alpha_is_left_out_has_none() -> None:
    for policy in (Columns(0.3), Columns(0.4)):
        assert pictures._with_alpha(policy, 2.0) == policy
        assert pictures.varied([Entry("columns", policy)]) == []
    assert pictures._with_alpha(Columns(alpha=0.5), 2.0) == Columns(alpha=2.0)


def test_alpha_reaches_every_part_of_a_switch() -> None:
    policy = pictures._with_alpha(Switch([MixUp(0.8), CutMix(1.0)], [1, 3]), 2.0)
    assert policy == Switch([MixUp(2.0), CutMix(2.0)], [1, 3])


def test_the_page_needs_nothing_else_and_says_how_it_was_made(tmp_path: Path) -> None:
    words = ["digits", "--policies", "mixup:1 none", "--rows", "2", "--prob", "0.5", "--step", "4"]
    assert run(*words, "--out", tmp_path / "one") == 0
    page = (tmp_path / "one" / "preview.html").read_text()
    inside = [base64.b64decode(data) for data in re.findall(r'base64,([^"]+)"', page)]
    names = ("rows.png", "alpha.png", "labels.png")
    assert inside == [(tmp_path / "one" / name).read_bytes() for name in names]
    assert not re.findall(r"(?:src|href)=\"(?!data:)|url\(|@import|<script", page)
    (command,) = re.findall("<pre>(.*)</pre>", page)
    program, verb, *rest = shlex.split(command.replace("&#x27;", "'"))
    assert (program, verb) == ("batchmix", "preview")
    assert run(*rest, "--out", tmp_path / "two") == 0
    for name in names:
        one, two = ((tmp_path / n / name).read_bytes() for n in ("one", "two"))
        assert one == two, name


def test_sounds(sounds: Path, tmp_path: Path) -> None:
    both = ["--policies", "mixup:1 cutmix:1", "--rows", 2, "--seconds", 0.2]
    assert run(sounds, *both, "--out", tmp_path / "out") == 0
    for name in ("rows.png", "alpha.png", "labels.png"):
        with Image.open(tmp_path / "out" / name) as image:
            image.verify()


def test_sounds_are_read_as_they_are_and_followed_by_silence(sounds: Path) -> None:
    source = open_source(str(sounds), seconds=0.25)
    assert (source.form, source.data.rate, source.classes) == ("wave", 8000, ("high", "low"))
    assert source.data.train.names[3] == "low/0.wav"
    x = source.read(np.arange(6))
    assert x.shape == (6, 2000, 1)
    assert x.dtype == np.int16
    assert (x[3, :1600, 0] == wavfile.read(sounds / "low" / "0.wav")[1]).all()
    assert not x[3, 1600:].any()
    assert x[:3, 1600:].any()
    assert open_source(str(sounds), seconds=0.1).read(np.arange(6)).shape == (6, 800, 1)


def test_sounds_last_as_long_as_their_median(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = open_source(str(sounds))
    assert source.read(np.arange(6)).shape == (6, 1800, 1)
    assert run(sounds, "--policy", "none", "--rows", 2, "--out", tmp_path / "out") == 0
    assert "sounds last 0.23 s each, the median of the files" in capsys.readouterr().err


def test_a_flat_folder_can_be_seen(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "flat").mkdir()
    for i, name in enumerate(("ant", "bee")):
        shutil.copy(folder / name / "0.png", tmp_path / "flat" / f"{i}.png")
    (tmp_path / "flat" / "notes.txt").touch()
    words = [tmp_path / "flat", "--policy", "mixup:1", "--rows", 2, "--out", tmp_path / "out"]
    assert run(*words) == 0
    assert "not read: 1 files of other kinds" in capsys.readouterr().err


def test_names_are_text_and_not_formulas(folder: Path, tmp_path: Path) -> None:
    for name, odd in (("ant", r"a$\x$"), ("bee", os.fsdecode(b"\xff\x1b"))):
        shutil.copytree(folder / name, tmp_path / r"d$\frac$" / odd)
    words = [tmp_path / r"d$\frac$", "--policy", "mixup:1", "--rows", 2, "--out", tmp_path / "out"]
    assert run(*words) == 0


def test_a_cut_in_a_sound_is_a_span_of_it(sounds: Path) -> None:
    batch = choose(open_source(str(sounds), seconds=0.2), 2, Mixing())
    plan = bm.Plan([1, 0], [[[100, 700]], [[0, 1600]]], [1, 0.5], axes="T", size=(1600,))
    one = batch.apply("by hand", plan)
    assert (one.mixed[0, 100:700] == batch.x[1, 100:700]).all()
    assert (one.mixed[0, 700:] == batch.x[0, 700:]).all()
    both = pictures.Figure().subplots(1, 2)
    for row, axes in enumerate(both):
        panels.mixed(axes, one, row)
    lines = [line.get_xdata()[0] for line in both[0].lines[1:]]
    assert lines == [100, 700]
    assert len(both[1].lines) == 1


def test_a_spectrogram_is_bright_at_the_pitch(sounds: Path) -> None:
    batch = choose(open_source(str(sounds), seconds=0.2), 2, Mixing())
    axes = pictures.Figure().subplots()
    for row, y in enumerate(batch.y):
        panels.spectrogram(axes, batch.show(Entry("none")), row)
        power = axes.images[-1].get_array()
        hertz = float(power.mean(1).argmax()) / (len(power) - 1) * 4000
        assert hertz == pytest.approx({"low": 200, "high": 2000}[batch.source.classes[y]], abs=32)


@pytest.mark.parametrize(
    ("spoil", "words", "says"),
    [
        (lambda top: None, ["--seconds", 0], "--seconds"),
        (lambda top: None, ["--size", 8], "--image-size 8"),
        (lambda top: (top / "low" / "0.wav").write_bytes(b"RIFF"), [], "cannot be decoded"),
        (lambda top: (top / "low" / "0.wav").write_bytes(b"x" * 99), [], "cannot be decoded"),
        (
            lambda top: _write(top, 16000, np.int16),
            ["--seconds", 1],
            "16000 Hz, 1 channels of int16",
        ),
        (lambda top: _write(top, 8000, np.int32), ["--seconds", 1], "1 channels of float32"),
        (lambda top: None, ["--seconds", 1e12], "A row has at most 64000000 cells"),
        (lambda top: (top / "empty").mkdir(), ["--seconds", 1], "holds no WAV file"),
    ],
)
def test_sounds_that_cannot_be_shown(
    sounds: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], object],
    words: list[object],
    says: str,
) -> None:
    top = shutil.copytree(sounds, tmp_path / "sounds")
    spoil(top)
    assert run(top, *words, "--out", tmp_path / "out") == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def _cut_off(file: Path) -> None:
    """The second half of a file is lost."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _write(top: Path, rate: int, dtype: type) -> None:
    """A sound of another form among the others."""
    wavfile.write(top / "low" / "0.wav", rate, np.zeros(2000, dtype))


def test_how_often_for_how_many_and_with_whom() -> None:
    policy = CutMix(1.0)
    assert Mixing().policy(policy) == policy
    assert Mixing(prob=0.5, per="batch").policy(policy) == PerBatch(Sometimes(policy, 0.5))
    assert Mixing(prob=0).policy(None) is None
    assert digits(6, pairing="reverse").draw(policy).partner.tolist() == [5, 4, 3, 2, 1, 0]
    pairs = digits(6, pairing="reverse", per="pair").draw(policy)
    assert (pairs.lam == pairs.lam[::-1]).all()
    assert len(set(pairs.lam.tolist())) > 1
    again = bm.draw(policy, bm.Key(3, step=4), 6, {"H": 8, "W": 8})
    assert (digits(6, seed=3, step=4).draw(policy).box == again.box).all()


def test_the_first_row_moves_through_all_rows() -> None:
    source = open_source("digits")
    numbers = source.choose(1797)
    assert sorted(numbers) == list(range(1797))
    assert (source.choose(4, first=3) == numbers[3:7]).all()
    assert (source.choose(2, first=1796) == numbers[[-1, 0]]).all()


def test_a_distribution_is_over_many_steps_also_when_a_batch_shares_one_draw() -> None:
    lam = digits(4, per="batch").lam(MixUp(1.0))
    assert len(lam) == 4096
    assert len(set(lam.tolist())) > 200
    assert lam.mean() == pytest.approx(0.5, abs=0.05)


def test_what_an_earlier_call_drew_does_not_stay(tmp_path: Path) -> None:
    (tmp_path / "mine.png").touch()
    assert run("--rows", 2, "--policy", "mixup:1", "--out", tmp_path) == 0
    assert (tmp_path / "alpha.png").exists()
    assert run("--rows", 2, "--policies", "none", "--out", tmp_path) == 0
    files = ["labels.png", "mine.png", "preview.html", "rows.png"]
    assert sorted(p.name for p in tmp_path.iterdir()) == files


def test_one_document_for_programs(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [folder, "--policies", "none mixup:1", "--rows", 3, "--out", tmp_path]
    assert run(*words, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"][-1] == str(tmp_path / "preview.html")
    none, mixup = (policy["rows"] for policy in told["policies"])
    assert [row["lam"] for row in none] == [1, 1, 1]
    for row, other in zip(none, mixup):
        assert row["row"].startswith(row["class"])
        assert row["label"] == {row["class"]: 1}
        assert other["partner"] == row["partner"]
        partner = none[other["partner"]]["class"]
        assert other["label"] == pytest.approx(
            {row["class"]: other["lam"], partner: 1 - other["lam"]}
        )


def test_a_figure_has_room_for_some_policies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = " ".join(f"mixup:{i}" for i in range(1, 20_000))
    assert run("--policies", many, "--out", tmp_path / "out") == 2
    assert "A figure has room for 32" in capsys.readouterr().err


def test_the_page_plays_sounds(sounds: Path, tmp_path: Path) -> None:
    words = [sounds, "--policies", "mixup:1 none", "--rows", 2, "--seconds", 0.2]
    assert run(*words, "--out", tmp_path) == 0
    page = (tmp_path / "preview.html").read_text()
    found = re.findall(r'<audio controls preload="none" src="data:audio/wav;base64,([^"]+)"', page)
    clips = [wavfile.read(io.BytesIO(base64.b64decode(one))) for one in found]
    assert len(clips) == 2 * (1 + 2)  # of each row itself and two policies
    assert {rate for rate, _ in clips} == {8000}
    assert (clips[0][1] == clips[2][1]).all()  # itself, as no policy leaves it
    assert (clips[0][1] != clips[1][1]).any()


def test_a_quiet_sound_is_drawn_as_high_as_a_loud_one_and_marked(sounds: Path) -> None:
    batch = choose(open_source(str(sounds), seconds=0.2), 6, Mixing())
    tops = np.abs(batch.x).max((1, 2))
    both = pictures.Figure().subplots(1, 6)
    for row, axes in enumerate(both):
        panels.original(axes, batch, row, "own")
        assert axes.get_ylim()[1] == pytest.approx(tops[row], rel=1e-3)
    marks = [[text.get_text() for text in axes.texts] for axes in both]
    assert marks == [
        [f"x {tops.max() / top:.0f}"] if top < tops.max() / 1.5 else [] for top in tops
    ]
    assert sum(map(bool, marks)) == 2


def test_digits_are_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = load_digits()
    for found in (False, True):  # its file where that is, else its function
        data = open_data("digits")
        x = np.stack([data.train[i] for i in range(len(data.train))])
        assert (x[..., 0] == np.round(theirs.images * (255 / 16))).all()
        assert (data.train.y == theirs.target).all()
        assert (x.dtype, data.train.y.dtype) == (np.uint8, np.int64)
        if not found:
            monkeypatch.setattr(Path, "is_file", lambda self: False)
