"""Wrong input: one line, exit code 2, no file."""

import subprocess
import sys

import pytest

from batchmix.cli import _output

TINY = ("--epochs", 1, "--seeds", 1, "--jobs", 1)


def fails(run, out, *argv):
    """The one line; nothing was written."""
    code, text, error = run(*argv, "--out", out)
    assert code == 2
    assert text == ""
    assert error.startswith("batchmix: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert not out.exists()
    return error


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--policies", "mixpu:1"], "--policies: got 'mixpu:1'. A policy is one of none, "),
        (["--policies", "mixup:0"], "--policies: got 'mixup:0'. The form is 'mixup:1'; alpha"),
        (["--policies", "mixup:x"], "--policies: got 'mixup:x'."),
        (["--label-noise", "1.5"], "--label-noise: got 1.5. It is the share"),
        (["--label-noise", "-0.1"], "--label-noise: got -0.1."),
        (["--label-noise", "nan"], "--label-noise: got nan."),
        (["--label-noise", "many"], "Invalid value for '--label-noise'"),
        (["--seeds", "0"], "--seeds: got 0. It is a number of runs >= 1. Try --seeds 5."),
        (["--model", "resnet21"], "--model: got 'resnet21'. It is one of mlp, convnet, resnet20"),
        (["--model", "resnet21"], "Did you mean 'resnet20'?"),
        (["--lr", "0"], "--lr: got 0.0. It is a number > 0."),
        (["--limit-train", "3"], "for 10 classes. Every class needs a training row"),
        (["--accelerator", "abacus"], "--accelerator abacus"),
        (["--image-size", "4"], "--image-size: got 4 with digits."),
        (["--nonsense"], "No such option: --nonsense"),
        (["./nowhere"], "DATA: './nowhere' is not a folder."),
        (["/nowhere/at/all"], "DATA: '/nowhere/at/all' is not a folder."),
        ([__file__], "is not a folder."),
    ],
)
def test_options(run, tmp_path, options, says):
    assert says in fails(run, tmp_path / "out", "compare", *options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--mixup", "-1"], "--mixup: got -1.0."),
        (["--mixup-mode", "half"], "Invalid value for '--mixup-mode'"),
        (["--smoothing", "1"], "--smoothing: got 1.0."),
        (["--precision", "7"], "--precision: got 7. It is one of 32-true, "),
        (["--cutmix-minmax", "0.8", "0.2"], "minmax=(0.8, 0.2)"),
    ],
)
def test_options_of_train(run, tmp_path, options, says):
    assert says in fails(run, tmp_path / "out", "train", "digits", *options)


def test_an_empty_class_folder(run, images, tmp_path):
    folder = images("data")
    (folder / "yellow").mkdir()
    error = fails(run, tmp_path / "out", "compare", folder, *TINY)
    assert f"DATA {folder / 'yellow'}: the class folder is empty." in error


def test_a_class_that_train_does_not_have(run, images, tmp_path):
    images("data/train")
    images("data/test", ("blue", "green", "red", "yellow"))
    error = fails(run, tmp_path / "out", "compare", tmp_path / "data", *TINY)
    assert "test/yellow: there is no such class in train." in error


@pytest.mark.parametrize("keep", [0, 60])
def test_an_image_that_cannot_be_decoded(run, images, tmp_path, keep):
    folder = images("data")
    broken = folder / "green" / "3.png"
    broken.write_bytes(broken.read_bytes()[:keep] or b"no image")
    error = fails(run, tmp_path / "out", "compare", folder, *TINY)
    assert f"DATA {broken}: the image cannot be decoded (" in error


def test_images_of_two_sizes(run, images, tmp_path):
    from PIL import Image

    folder = images("data")
    Image.new("RGB", (9, 8)).save(folder / "red" / "7.png")
    error = fails(run, tmp_path / "out", "compare", folder, *TINY)
    assert "7.png: an image is 9 x 8, the first is 8 x 8." in error
    assert "--image-size 32" in error


def test_parts_of_two_sizes(run, images, tmp_path):
    images("data/train")
    images("data/test", size=9)
    error = fails(run, tmp_path / "out", "compare", tmp_path / "data", *TINY)
    assert "an image is 9 x 9, train is 8 x 8." in error


def test_one_class_and_none(run, images, tmp_path):
    error = fails(run, tmp_path / "out", "compare", images("one", ("cat",)), *TINY)
    assert "there is one class only, 'cat'." in error
    (tmp_path / "empty").mkdir()
    error = fails(run, tmp_path / "out", "compare", tmp_path / "empty", *TINY)
    assert "it holds no class folders." in error


def test_too_few_images(run, images, tmp_path):
    error = fails(run, tmp_path / "out", "compare", images("data", rows=1), *TINY)
    assert "no part may be empty" in error


def test_a_folder_that_cannot_be_written(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    error = fails(run, tmp_path / "file" / "out", "compare", *TINY)
    assert "cannot be written to (Not a directory)" in error

    def denied(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_output.tempfile, "TemporaryFile", denied)
    assert "(Permission denied)" in fails(run, tmp_path / "out", "compare", *TINY)


def test_timm_is_not_installed(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    error = fails(run, tmp_path / "out", "compare", "--model", "timm:resnet18")
    assert "timm cannot be imported" in error
    assert "pip install timm" in error


def test_an_extra_is_missing_when_a_command_runs(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    error = fails(run, tmp_path / "out", "compare", *TINY)
    assert "is not installed; the command line needs it: pip install 'batchmix[cli]'" in error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (FileNotFoundError(2, "No such file or directory", "nope.npz"), "nope.npz: No such file"),
        (OSError("the disk is full"), "batchmix: the disk is full"),
    ],
)
def test_a_file_that_no_command_has_checked(run, tmp_path, monkeypatch, error, says):
    def fail(*_):
        raise error

    monkeypatch.setattr("batchmix.cli.lab.data.load", fail)
    assert says in fails(run, tmp_path / "out", "compare", *TINY)


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        _output.write(tmp_path / "report.json", "not bytes")
    assert list(tmp_path.iterdir()) == []


def python(*lines):
    """A new interpreter."""
    return subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)


def test_the_command_line_without_its_extra():
    done = python("import sys", "sys.modules['typer'] = None", "import batchmix.cli")
    line = (
        "batchmix: typer is not installed; the command line needs it: pip install 'batchmix[cli]'"
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line + "\n")


def test_help_imports_nothing_heavy():
    heavy = "[m for m in ('torch', 'matplotlib', 'datasets', 'sklearn') if m in sys.modules]"
    done = python("import sys, batchmix.cli", f"print({heavy})")
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("argv", [[], ["--help"]])
def test_help(run, argv):
    code, text, _ = run(*argv)
    assert code == 0
    assert "compare" in text
    assert "train" in text
