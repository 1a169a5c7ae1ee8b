"""What the house is kept with names what is there: workflows, guide, release, recipe, versions."""

import ast
import json
import math
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import batchmix
import history
import release
from report import Report

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
CHOOSER = ROOT / ".github/ISSUE_TEMPLATE/config.yml"
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()


def targets():
    """The names that make knows."""
    found = re.findall(r"^([\w. /$()-]+?):(?![=:])", (ROOT / "Makefile").read_text(), re.M)
    return {word for names in found for word in names.split()}


def commands(flow):
    """The commands of a workflow, in the order of its jobs."""
    jobs = yaml.safe_load(flow.read_text())["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("flow", FLOWS, ids=lambda path: path.name)
def test_workflows_call_targets_that_are_there(flow):
    called = re.findall(r"^make ([\w./-]+)", "\n".join(commands(flow)), re.M)
    assert set(called) <= targets()
    assert called or "cibuildwheel" in flow.read_text()
    parsed = yaml.safe_load(flow.read_text())
    assert {"name", "permissions", "jobs", True} <= parsed.keys()  # YAML reads `on` as true
    assert all("timeout-minutes" in job for job in parsed["jobs"].values())


def test_continuous_integration_calls_targets_that_are_there():
    called = re.findall(r"^make ([\w-]+)", (ROOT / ".ci/run").read_text(), re.M)
    assert {"test", "test-hosts", "fuzz"} <= set(called) <= targets()


def test_a_target_that_is_not_there_is_seen():
    assert "quick" in targets()
    assert not {"fast", "PYTHON", "SECONDS"} & targets()


def test_no_program_is_started_for_each_framework():
    """The contract runs for each framework, and where the kernel for GPUs is interpreted.

    There a training program takes hours.
    """
    listed = re.search(r"^CONTRACT = .*?,(.*)\)$", (ROOT / "Makefile").read_text(), re.M)
    files = [ROOT / f"tests/test_{name}" for name in listed[1].split()]
    assert len(files) > 10
    assert not [path.name for path in files if "import subprocess" in path.read_text()]


def test_workflows_have_the_pythons_that_are_promised():
    flow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    pythons = flow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert f">={pythons[0]}" == PROJECT["requires-python"]


def test_the_guide_names_what_is_there():
    """Targets, and files but those that a newcomer is to write."""
    called = re.findall(r"`?make ([a-z][\w-]*)", GUIDE)
    assert set(called) <= targets()
    places = re.findall(
        r"`((?:src|docs|tests|benchmarks|policies|backends|\.github)/[\w./-]+)`", GUIDE
    )
    assert len(places) > 15
    for place in places:
        if "NAME" not in place:
            assert (ROOT / place).exists() or (ROOT / "src/batchmix" / place).exists(), place
    tests = re.findall(r"pytest ((?:tests|src)/[\w./-]+)", GUIDE)
    assert all((ROOT / place).exists() for place in tests if "NAME" not in place)


def test_the_guide_names_tables_that_are_there():
    tables = {
        "POLICIES": "tests/checks.py", "TWO_AXES": "tests/checks.py", "MAKERS": "tests/conftest.py",
        "WAYS": "tests/policies/test_hints_of_a_mixer.py", "LAYERS": "tests/test_architecture.py",
        "FRAMEWORKS": "tests/test_architecture.py", "FORMS": "src/batchmix/cli/_forms.py",
        "_ARRAYS": "src/batchmix/backends/__init__.py", "CONTRACT": "Makefile",
    }  # fmt: skip
    for name, place in tables.items():
        assert f"`{name}`" in GUIDE
        assert re.search(rf"^{name}\b.*=", (ROOT / place).read_text(), re.M), name
    assert set(re.findall(r"`([A-Z_]{4,})`", GUIDE)) <= set(tables)


def test_the_site_has_the_same_guide():
    assert (ROOT / "docs/contributing.md").read_text() == GUIDE


def test_the_design_names_every_layer():
    text = (ROOT / "tests/test_architecture.py").read_text()
    table = next(
        node.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAYERS"
    )
    design = (ROOT / "docs/design.md").read_text()
    assert not [name for name in ast.literal_eval(table) if f"`{name}`" not in design]


def test_versions_agree():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == batchmix.__version__
    assert cited["license"] == PROJECT["license"]
    heading = re.search(r"^## \[(\d.*)\] - (.*)$", CHANGELOG, re.M)
    assert heading.groups() == (batchmix.__version__, cited["date-released"])
    assert {"cff-version", "title", "message", "authors"} <= cited.keys()


def test_the_recipe_is_of_this_project():
    text = (ROOT / "conda/meta.yaml").read_text()
    (version,) = re.findall(r'^{% set version = "(.*)" %}$', text, re.M)
    plain = re.sub(r"^{%.*%}$", "", text, flags=re.M)
    recipe = yaml.safe_load(re.sub(r"{{ *([^}]*?) *}}", r"<\1>", plain).replace('"cxx"', "cxx"))
    assert version == batchmix.__version__
    assert recipe["package"] == {"name": PROJECT["name"], "version": "<version>"}
    python, *rest = (line.replace(" ", "") for line in recipe["requirements"]["run"])
    assert python == f"python{PROJECT['requires-python']}"
    assert rest == PROJECT["dependencies"]
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    host = [line.replace(" ", "") for line in recipe["requirements"]["host"]]
    assert {*build, python, "pip"} == {*host}
    assert recipe["about"]["summary"] == PROJECT["description"]
    assert recipe["about"]["license"] == PROJECT["license"]
    (entry,) = recipe["build"]["entry_points"]
    assert entry.split(" = ") == [*PROJECT["scripts"], *PROJECT["scripts"].values()]


def test_the_history_has_a_line_for_each_release():
    lines = [json.loads(line) for line in history.HISTORY.read_text().splitlines()]
    released = re.findall(r"^## \[(\d.*)\]", CHANGELOG, re.M)
    assert [line["version"] for line in lines] == released[::-1]
    for line in lines:
        assert line.keys() == {"version", "measured", "cpu", "kernel", "ratios"}
        assert line["ratios"]
        assert all(math.isfinite(ratio) and ratio > 0 for ratio in line["ratios"].values())


def test_a_line_of_the_history_is_of_the_last_run():
    new = history.entry("9.9.9", Report.load(history.RESULTS))
    assert all(says.endswith(("copy", "scale")) for says in new["ratios"])
    lines = history.added(history.HISTORY.read_text(), new)
    assert json.loads(lines.splitlines()[-1]) == new
    assert history.added(lines, new) == lines  # again: one line all the same


BEFORE = """# Changelog

## [Unreleased]

### Added

- A thing.

## [0.1.0] - 2026-11-22

The first version.

[Unreleased]: ../../compare/v0.1.0...HEAD
[0.1.0]: ../../releases/tag/v0.1.0
"""
AFTER = """# Changelog

## [Unreleased]

## [0.2.0] - 2027-01-02

### Added

- A thing.

## [0.1.0] - 2026-11-22

The first version.

[Unreleased]: ../../compare/v0.2.0...HEAD
[0.2.0]: ../../compare/v0.1.0...v0.2.0
[0.1.0]: ../../releases/tag/v0.1.0
"""


def test_a_release_moves_what_is_unreleased():
    assert release.moved(BEFORE, "0.2.0", "2027-01-02") == AFTER


def test_a_section_that_is_there_gets_its_date():
    moved = release.moved(AFTER, "0.2.0", "2027-02-03")
    assert moved == AFTER.replace("2027-01-02", "2027-02-03")


@pytest.mark.parametrize(
    ("text", "version", "says"),
    [
        (AFTER, "0.3.0", "nothing under"),
        (BEFORE, "0.1.0", "move them"),
        ("# Changelog\n", "0.1.0", "needs"),
        (BEFORE.replace("HEAD", "main"), "0.2.0", "needs"),
    ],
)
def test_a_changelog_that_does_not_fit_is_refused(text, version, says):
    with pytest.raises(release.Refused, match=says):
        release.moved(text, version, "2027-01-02")


def test_a_release_writes_the_version_everywhere():
    for name, patterns in release.PLACES.items():
        text = release.stamped((ROOT / name).read_text(), patterns, ("9.8.7", "2030-01-01"))
        assert text.count("9.8.7") == 1
        assert text.count("2030-01-01") == len(patterns) - 1
    with pytest.raises(release.Refused, match="0 times"):
        release.stamped("", [r"^version: (.*)$"], ["1"])


@pytest.mark.parametrize(
    ("version", "says"), [("", "got VERSION=''"), ("v1", "got VERSION='v1'"), ("1.0", "say for")]
)
def test_what_is_no_version_is_refused(version, says):
    with pytest.raises(release.Refused, match=says):
        release.release(version, "python")


def test_hooks_and_styles_are_those_of_make_check():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]  # nothing is fetched
    entries = [hook["entry"] for hook in hooks[0]["hooks"]]
    makefile = (ROOT / "Makefile").read_text()
    for entry in entries:
        assert entry.replace(".venv/bin/", "$(BIN)/") in makefile
    style = yaml.safe_load((ROOT / ".clang-format").read_text())
    assert style["ColumnLimit"] == 100
    wide = [path for path in (ROOT / "native").iterdir() if _widest(path) > 100]
    assert not wide


def _widest(path):
    return max(map(len, path.read_text().splitlines()))


@pytest.mark.parametrize(
    "path",
    sorted(set((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")) - {CHOOSER}),
    ids=lambda path: path.name,
)
def test_forms_can_be_filled_in(path):
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= form.keys()
    asked = [part for part in form["body"] if part["type"] != "markdown"]
    assert asked
    assert len({part["id"] for part in asked}) == len(asked)
    assert all(part["attributes"]["label"] for part in asked)


def test_the_fuzzer_repeats_itself_only_with_a_seed():
    words = ["--runs", "5", "plans"]
    done = subprocess.run(
        [sys.executable, "tests/fuzz/run.py", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "--runs goes with --seed" in done.stderr
