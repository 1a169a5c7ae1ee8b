"""The layers, what an import costs, the public names, and how the code is kept."""

import ast
import pathlib
import subprocess
import sys

import pytest

import batchmix

SRC = pathlib.Path(batchmix.__file__).parent
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
FILES = sorted(SRC.rglob("*.py"))
FRAMEWORKS = {"torch", "jax", "tensorflow", "keras", "flax", "optax", "torchvision", "timm"}
FRAMEWORKS |= {"accelerate", "composer", "datarax", "fastai", "grain"}
FRAMEWORKS |= {"playwright", "ray", "scipy", "transformers"}
FRAMEWORKS |= {"ignite", "monai", "skorch", "torchdata", "ultralytics", "webdataset"}
FRAMEWORKS |= {"braindecode", "torch_audiomentations", "torchaudio"}
FRAMEWORKS |= {"lightning", "torchmetrics", "safetensors", "sklearn", "datasets", "matplotlib"}
# what each part may import of the package; a name stands for itself and all below it
LAYERS = {
    "_errors": [],
    "_numbers": [],
    "_columns": ["_errors", "_numbers"],
    "_key": [],
    "_stream": ["_key"],
    "_weights": ["_columns"],
    "_layers": ["_errors", "_columns", "_weights"],
    "_regrid": ["_errors", "_columns", "_layers"],
    "_saved": ["_errors", "_columns", "_npz"],
    "_regular": [],
    "_npz": ["_regular"],
    "_describe": ["_errors", "_layers"],
    "_drawn": ["_layers"],
    "_plan": [
        "_errors", "_numbers", "_columns", "_describe", "_drawn", "_layers", "_regrid", "_saved",
        "_weights",
    ],
    "_tree": ["_errors"],
    "_classes": ["_errors"],
    "pairing": ["_errors", "_numbers", "_classes", "pairing"],
    "policies": ["_errors", "_numbers", "_columns", "_key", "_classes", "_weights", "policies"],
    "_draw": [
        "_errors", "_numbers", "_columns", "_key", "_layers", "_plan", "_stream", "backends",
        "pairing", "policies",
    ],
    "backends": ["_errors", "_columns", "_plan", "backends"],
    "_batch": ["_errors", "_plan", "backends"],
    "_mix": ["_errors", "_plan", "_batch", "backends"],
    "_energy": ["_errors", "_plan", "_batch", "_mix", "backends"],
    "_stack": ["_errors", "_plan", "_batch", "_mix", "backends"],
    "_detection": ["_errors", "_numbers", "_plan", "_batch", "_weights", "_detection", "backends"],
    "_pairs": ["_errors", "_plan", "_batch", "backends"],
    "_label_rules": ["_errors", "_numbers"],
    "_labels": ["_errors", "_plan", "_batch", "_label_rules", "_pairs", "backends"],
    "_targets": ["_errors", "_plan", "_batch", "_pairs", "backends"],
    "_soft_masks": ["_errors", "_numbers", "_plan", "_batch", "_mix", "_labels", "backends"],
    "fields": [
        "_errors", "_plan", "_mix", "_energy", "_label_rules", "_labels", "_targets",
        "_detection", "_soft_masks", "fields",
    ],
    "losses": ["_errors", "_numbers", "backends"],
    "metrics": ["_errors", "_numbers", "backends"],
    "_audit": ["_errors", "_regular", "backends", "_audit"],
    "_stats": ["_errors", "_numbers", "_key", "_plan", "_draw", "pairing", "policies"],
    "recipes": ["_errors", "_numbers", "losses", "pairing", "policies", "recipes"],
    "_address": ["_errors", "_key"],
    "_parts": ["_errors", "_batch", "_tree", "backends", "fields"],
    "_drawing": [
        "_errors", "_key", "_plan", "_tree", "_address", "_batch", "_draw", "_parts", "backends",
        "pairing",
    ],
    "_mixer": [
        "_errors", "_key", "_plan", "_tree", "_address", "_drawing", "_drawn", "_parts", "backends",
        "fields", "pairing", "policies",
    ],
    "_show": [
        "_errors", "_numbers", "_plan", "_detection", "_drawing", "_labels", "_layers", "_mix",
        "_mixer", "_parts", "_show", "fields", "cli",
    ],
    "extend": [
        "_errors", "_columns", "_key", "_address", "_tree", "_mixer", "backends", "policies",
    ],
    # as those of third parties: public names, and what is meant for them
    "adapters": ["adapters", "extend", "fields", "losses", "pairing", "policies", "recipes"],
}  # fmt: skip


def imports(path):
    """Names of the modules that a file imports, at any depth; types alone do not count."""
    found = set()
    tree = ast.parse(path.read_text())
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = node.module or ""
            found.add(package)
            found |= {f"{package}.{alias.name}" for alias in node.names}
    return found


def part(path):
    """The part of the package that a file belongs to: its module, or its folder."""
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def below(name):
    """The part that an import of the package names, or None."""
    return name.split(".")[1] if name.startswith("batchmix.") else None


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_layers(path):
    layer = part(path)
    if layer in ("cli", "__init__", "__main__"):
        return  # the upper layers may import anything below
    seen = {below(name) for name in imports(path)} - {None}
    assert seen <= set(LAYERS[layer]), f"{path.name} imports {seen - set(LAYERS[layer])}"


def test_adapters_do_not_know_each_other():
    """Each takes only its own host's files, and those that several share (`_count`, ...)."""
    for path in (SRC / "adapters").rglob("*.py"):
        for name in imports(path):
            if name.startswith("batchmix.adapters."):
                other = name.split(".")[2]
                assert other.startswith((path.stem, "_")), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_frameworks_are_named_in_their_places_only(path):
    if part(path) in ("backends", "adapters", "cli"):
        return
    named = {name.split(".")[0] for name in imports(path)} & FRAMEWORKS
    assert not named


def test_a_forbidden_import_is_seen(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    import torch.nn\n    from batchmix import policies\n")
    assert {"torch.nn", "batchmix.policies"} <= imports(bad)


def imported_by(code):
    """Top-level modules that a fresh interpreter has after running `code`."""
    code += "\nimport sys; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_batchmix_imports_numpy_and_nothing_else():
    bare = imported_by(
        "import numpy.random, dataclasses, difflib, importlib, typing, copy, pathlib"
    )
    new = imported_by("import batchmix") - bare
    assert {m for m in new if m not in sys.stdlib_module_names} == {"batchmix"}
    assert not new & FRAMEWORKS


def test_mixing_numpy_imports_no_framework():
    code = (
        "import numpy as np, batchmix as bm\n"
        "fields = {0: bm.fields.Image('NCHW'), 1: bm.fields.Labels(2)}\n"
        "mixer = bm.Mixer(bm.policies.MixUp(), fields)\n"
        "mixer((np.ones((2, 3, 4, 4)), np.array([0, 1])))"
    )
    assert not imported_by(code) & FRAMEWORKS


def test_that_guard_can_fail():
    assert "scipy" in imported_by("import batchmix, scipy")


def test_public_names():
    modules = [batchmix, batchmix.fields, batchmix.pairing, batchmix.policies]
    for module in modules:
        assert sorted(module.__all__) == list(module.__all__)
        assert all(hasattr(module, name) for name in module.__all__)
    public = {name for name in vars(batchmix) if not name.startswith("_")}
    assert public - {"adapters", "backends", "cli", "extend", "metrics"} == set(batchmix.__all__)
    assert len(batchmix.__all__) <= 18


def test_show_is_there_and_nobody_pays_for_it():
    assert "show" in dir(batchmix)
    assert batchmix.show.__module__ == "batchmix._show"
    loaded = imported_by("import batchmix; batchmix.show")
    assert "matplotlib" not in loaded


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_files_and_functions_stay_small(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 250, f"{path.name} has {len(lines)} lines: does it hold one idea?"
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, FUNCTION):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert length <= 60, f"{path.name}: {node.name} has {length} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_public_functions_say_what_they_do(path):
    """Private ones where name and signature do not; those of a protocol are told in it."""
    parts = path.relative_to(SRC).with_suffix("").parts
    if any(name.startswith("_") for name in parts) or parts[0] in ("backends", "cli"):
        return
    protocols = {"pair", "sample", "reads", "layers"}
    for node in ast.parse(path.read_text()).body:
        told = parts[0] == "adapters" or not isinstance(node, ast.ClassDef)  # methods: by the host
        functions = [node] if told else [node, *node.body]
        for one in functions:
            if isinstance(one, FUNCTION | ast.ClassDef) and not one.name.startswith("_"):
                assert ast.get_docstring(one) or one.name in protocols, f"{path.name}: {one.name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_names_say_something(path):
    vague = {"utils", "common", "helpers", "base", "manager", "misc"}
    assert not vague & set(path.relative_to(SRC).with_suffix("").parts)
