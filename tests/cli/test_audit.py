"""`batchmix audit`, run for real on files of this test and on timm."""

import json

import pytest

RIGHT = """
import batchmix as bm
from batchmix.fields import Image, Labels

class Mix:
    def __init__(self, shift=0):
        self.mixer = bm.Mixer(bm.policies.CutMix(1.0), {0: Image("NCHW"), 1: Labels(10)})
        self.shift = shift

    def __call__(self, x, y):
        images, labels = self.mixer((x, y))
        return images, labels if not self.shift else labels[:, ::-1]

def pair(batch, flip=False):
    images, labels = batch
    return (images, labels) if not flip else (images[::-1], labels)

mixer = bm.Mixer(bm.policies.MixUp(0.2), {"x": Image("NCHW"), "y": Labels(10)})
number = 5

class Ends:
    def __call__(self, x, y):
        raise SystemExit(0)

class Speaks(Mix):
    def __call__(self, x, y):
        print("hello")
        return super().__call__(x, y)

class Fails:
    def __init__(self):
        raise RuntimeError("not today")
"""
KEYS = '{"image": "x", "label": "y"}'


@pytest.fixture
def code(tmp_path):
    """A file with callables."""
    path = tmp_path / "mixing.py"
    path.write_text(RIGHT)
    return path


def test_nothing_found_is_exit_code_0(run, code, tmp_path):
    done, out, error = run("audit", f"{code}:Mix", "--calls", 3, "--out", tmp_path / "out")
    assert (done, error) == (0, "")
    assert "nothing found" in out
    assert "label error, odd batch" in out
    words = ["--call", "dict", "--keys", KEYS, "--calls", 3, "--out", tmp_path / "out"]
    assert run("audit", f"{code}:mixer", *words)[0] == 0
    assert not list((tmp_path / "out").iterdir())


def test_a_finding_is_exit_code_1_and_can_be_replayed(run, code, tmp_path):
    words = ["--args", '{"shift": 1}', "--calls", 3, "--out", tmp_path / "out"]
    done, out, _ = run("audit", f"{code}:Mix", *words)
    assert done == 1
    assert "found" in out
    files = [line for line in out.splitlines() if line.endswith(".npz")]
    path = tmp_path / "out" / "label-error-odd-batch.npz"
    assert str(path) in files

    done, again, error = run("audit", f"{code}:Mix", *words[:2], "--replay", path)
    assert (done, error) == (1, "")
    (first,) = [line for line in out.splitlines() if "odd batch" in line and ".npz" not in line]
    (second,) = [line for line in again.splitlines() if "odd batch" in line]
    assert first == second
    assert "even batch" not in again

    done, fixed, error = run("audit", f"{code}:Mix", "--replay", path)  # without the shift
    assert done == 0
    assert "nothing found" in fixed
    assert error == f'{path} was written with the --args {{"shift": 1}}, and this is {{}}\n'


def test_what_an_earlier_audit_found_does_not_stay(run, code, tmp_path):
    words = ["--calls", 3, "--out", tmp_path / "out"]
    run("audit", f"{code}:Mix", "--args", '{"shift": 1}', *words)
    (tmp_path / "out" / "mine.npz").touch()
    assert run("audit", f"{code}:Mix", *words)[0] == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.npz"]


def test_one_document_for_programs(run, code, tmp_path):
    words = ["--calls", 3, "--out", tmp_path / "out", "--json"]
    done, out, error = run("audit", f"{code}:Speaks", "--args", '{"shift": 1}', *words)
    assert done == 1
    assert set(error.split()) == {"hello"}
    told = json.loads(out)
    checks = {check["check"]: check for check in told["checks"]}
    odd = checks["label error, odd batch"]
    assert odd["check"] in told["found"]
    assert odd["verdict"] == "found"
    assert odd["number"] > odd["limit"] > 0
    assert odd["file"] == str(tmp_path / "out" / "label-error-odd-batch.npz")
    assert checks["changed ids"]["number"] is None
    assert checks["changed ids"]["file"] is None


def test_the_findings_fit_80_columns(run, code, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    words = ["audit", f"{code}:Mix", "--args", '{"shift": 1}', "--calls", 3]
    _, out, _ = run(*words, "--out", tmp_path / "out")
    lines = out.partition(" found\n")[0].splitlines()
    assert "    row " in out
    assert max(map(len, lines[2:])) <= 80
    _, quiet, _ = run(*words, "--quiet", "--out", tmp_path / "out")
    assert "label error, odd batch" in quiet
    assert "changed ids" not in quiet


def test_known_findings_can_be_accepted(run, code, tmp_path):
    words = ["audit", f"{code}:pair", "--call", "pair", "--labels", "onehot", "--calls", 3]
    words += ["--out", tmp_path / "out", "--max-unmixed", 1]
    assert run(*words)[0] == 0  # an identity: nothing is wrong but that nothing is mixed
    assert run(*words[:-1], 0.5)[0] == 1
    accepted = run(*words[:-1], 0.5, "--accept", "unmixed rows")
    assert accepted[0] == 0
    assert "accepted" in accepted[1]


def test_timm_by_its_module_name(run, tmp_path):
    args = {"mixup_alpha": 0, "cutmix_alpha": 1, "num_classes": 10, "mode": "elem"}
    words = ["--args", json.dumps(args), "--framework", "torch", "--out", tmp_path / "out"]
    done, out, _ = run("audit", "timm.data.mixup:Mixup", *words)
    assert done == 1
    assert (tmp_path / "out" / "label-error-video.npz").exists()
    assert "draws from numpy.random" in out
    words = ["--args", json.dumps(args), "--replay", tmp_path / "out" / "label-error-video.npz"]
    assert run("audit", "timm.data.mixup:Mixup", *words)[0] == 1  # of torch, as the file says


@pytest.mark.parametrize(
    ("target", "words", "says"),
    [
        ("mixing", [], "module:callable"),
        ("nowhere.py:mix", [], "no file nowhere.py"),
        ("no.such.module:mix", [], "ModuleNotFoundError"),
        ("{code}:nothing", [], "AttributeError"),
        ("{code}:number", [], "is of type int"),
        ("{code}:Fails", [], "RuntimeError: not today"),
        ("{code}:Mix", ["--args", "{}}"], "--args"),
        ("{code}:Mix", ["--args", "[]"], "--args"),
        ("{code}:Mix", ["--call", "pair"], "raised TypeError"),
        ("{code}:Mix", ["--layout", "NHW"], "layout='NHW'"),
        ("{code}:Mix", ["--accept", "nothing"], "The checks are"),
        ("{code}:Mix", ["--framework", "mxnet"], "--framework"),
        ("{code}:Mix", ["--replay", "nowhere.npz"], "nowhere.npz"),
        (None, ["--replay", "nowhere.npz"], "no file says what is run"),
        ("{code}:Mix", ["--args", "[" * 100000], "--args"),
        ("{code}:Ends", [], "ends the program (exit code 0)"),
        (None, [], "Type for example: batchmix audit timm.data:Mixup"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_exit_code_2(run, code, tmp_path, target, words, says):
    given = [] if target is None else [target.format(code=code)]
    done, _, error = run("audit", *given, *words, "--out", tmp_path / "out")
    assert done == 2
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
