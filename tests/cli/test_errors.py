"""Wrong input: one line, exit code 2, no file."""

import subprocess
import sys

import pytest

import batchmix
from batchmix import MixError
from batchmix.cli import _output, _prepare
from batchmix.cli.lab.engine import model_names

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
        (
            ["--policies", "mixup:0"],
            "--policies: got 'mixup:0'. The form is 'mixup:1'; its numbers are > 0",
        ),
        (["--policies", "mixup:x"], "--policies: got 'mixup:x'."),
        (["--label-noise", "1.5"], "--label-noise: got 1.5. It is the share"),
        (["--label-noise", "-0.1"], "--label-noise: got -0.1."),
        (["--label-noise", "nan"], "--label-noise: got nan."),
        (["--label-noise", "many"], "Invalid value for '--label-noise'"),
        (["--seeds", "0"], "Invalid value for '--seeds'"),
        (["--model", "resnet21"], "--model: got 'resnet21'. It is one of mlp, convnet, resnet20"),
        (["--model", "resnet21"], "Did you mean 'resnet20'?"),
        (["--lr", "0"], "--lr: got 0.0. It is a number > 0, at most 1000."),
        (["--limit-train", "3"], "for 10 classes. Every class needs a training row"),
        (["--accelerator", "abacus"], "Invalid value for '--accelerator'"),
        (["--mix-on", "workers", "--policies", "regmixup:10"], "--mix-on: got workers with"),
        (["--image-size", "4"], "--image-size: got 4 with digits."),
        (["--nonsense"], "No such option: --nonsense"),
        (["./nowhere"], "DATA: './nowhere' is not a folder."),
        (["/nowhere/at/all"], "DATA: '/nowhere/at/all' is not a folder."),
        ([__file__], "is not a folder."),
    ],
)
def test_options(run, tmp_path, options, says):
    assert says in fails(run, tmp_path / "out", "compare", *options)


def test_a_gpu_that_is_there(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    _prepare.check_accelerator("cuda")
    _prepare.check_accelerator("gpu")
    with pytest.raises(MixError, match=r"mps: PyTorch .* finds none"):
        _prepare.check_accelerator("mps")


def test_a_gpu_that_is_not_there(run, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    error = fails(run, tmp_path / "out", "compare", "--accelerator", "cuda")
    assert "finds none on this machine" in error


def test_a_gpu_elsewhere():
    _prepare.check_accelerator("cuda", elsewhere=True)


def test_wrong_labels_of_numbers(run, images, tmp_path):
    data = images("data")
    lines = [f"{path.relative_to(data)},{i}" for i, path in enumerate(sorted(data.rglob("*.png")))]
    (tmp_path / "targets.csv").write_text("\n".join(["file,size", *lines]))
    options = (data, "--targets", tmp_path / "targets.csv", "--label-noise", 0.4)
    for command in ("compare", "tune"):
        policies = ("--policies", "mixup:1") if command == "compare" else ()
        error = fails(run, tmp_path / "out", command, *options, *policies)
        assert "--label-noise: got it for targets of the kind 'numbers'" in error


def test_too_few_rows_for_a_search(run, tmp_path):
    error = fails(run, tmp_path / "out", "tune", "digits", "--limit-train", 3)
    assert "Every class needs a training row" in error


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--mixup", "-1"], "--mixup: got -1.0."),
        (["--mixup-mode", "half"], "Invalid value for '--mixup-mode'"),
        (["--smoothing", "1"], "--smoothing: got 1.0."),
        (["--precision", "7"], "--precision: got 7. It is one of 32-true, "),
        (["--cutmix-minmax", "0.8", "0.2"], "--cutmix-minmax: got 0.8 0.2."),
    ],
)
def test_options_of_train(run, tmp_path, options, says):
    assert says in fails(run, tmp_path / "out", "train", "digits", *options)


# what else can be wrong with data is in test_data, test_images, test_sounds, test_targets and
# test_bad_folders
def test_folders_that_are_refused(run, images, tmp_path):
    (tmp_path / "empty").mkdir()
    error = fails(run, tmp_path / "out", "preview", tmp_path / "empty")
    assert "it holds no class folders." in error
    folder = images("data/train")
    images("data/test", ("blue", "green", "red", "yellow"))
    error = fails(run, tmp_path / "out", "compare", tmp_path / "data", *TINY)
    assert "test/yellow: there is no such class in train." in error
    (folder / "yellow").mkdir()
    error = fails(run, tmp_path / "out", "compare", folder, *TINY)
    assert f"DATA {folder / 'yellow'}: the class folder holds no image (bmp, " in error


@pytest.mark.parametrize("keep", [0, 60])
def test_an_image_that_cannot_be_decoded(run, images, tmp_path, keep):
    broken = images("data", rows=1) / "green" / "0.png"
    broken.write_bytes(broken.read_bytes()[:keep] or b"no image")
    error = fails(run, tmp_path / "out", "preview", tmp_path / "data")
    assert f"DATA {broken}: the image cannot be decoded (" in error


def test_a_folder_that_cannot_be_written(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    error = fails(run, tmp_path / "file" / "out", "compare", *TINY)
    assert "cannot be written to (Not a directory)" in error

    def denied(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_output.tempfile, "TemporaryFile", denied)
    assert "(Permission denied)" in fails(run, tmp_path / "out", "compare", *TINY)


def test_timm_is_not_installed(run, tmp_path, monkeypatch):
    monkeypatch.setattr(model_names.importlib.util, "find_spec", lambda name: None)
    model_names.timm_models.cache_clear()
    error = fails(run, tmp_path / "out", "compare", "--model", "timm:resnet18")
    assert "--model: timm is not installed." in error
    assert "pip install 'batchmix[timm]'" in error


def test_an_extra_is_missing_when_a_command_runs(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    error = fails(run, tmp_path / "out", "stats", "none", "--batches", 1)
    assert "is not installed; the command line needs it: pip install 'batchmix[cli]'" in error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (FileNotFoundError(2, "No such file or directory", "nope.npz"), "nope.npz: No such file"),
        (OSError("the disk is full"), "batchmix: the disk is full"),
    ],
)
def test_a_file_that_no_command_has_checked(run, tmp_path, monkeypatch, error, says):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("batchmix.cli.lab.data.open_data", fail)
    assert says in fails(run, tmp_path / "out", "compare", *TINY)


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        _output.write(tmp_path / "report.json", "not bytes")
    assert list(tmp_path.iterdir()) == []


def python(*lines):
    """A new interpreter."""
    return subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)


def test_the_command_line_without_its_extra():
    done = python(
        "import sys", "sys.modules['typer'] = None", "import batchmix.cli as c", "c.main(['stats'])"
    )
    line = (
        "batchmix: typer is not installed; the command line needs it: pip install 'batchmix[cli]'"
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line + "\n")


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_versions_without_its_extra(word):
    lines = "import sys", "sys.modules['typer'] = None", "import batchmix.cli as c"
    done = python(*lines, f"c.main(['{word}'])")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"batchmix {batchmix.__version__}\nPython ")


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
