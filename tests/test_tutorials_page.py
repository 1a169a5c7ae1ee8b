"""The pages of tutorials and examples are those of the programs, and name only what is there."""

import ast
import importlib
import json
import re
import runpy

import pytest
import typer.main

from batchmix.cli._commands import app
from pages import DOCS, ROOT

PAGE = (DOCS / "tutorials" / "index.md").read_text()
MAKE = runpy.run_path(str(DOCS / "make_tutorials.py"))
MADE = MAKE["made"]()
COMMANDS = re.findall(r"^(?:python|batchmix) .+$", PAGE, re.MULTILINE)
SCRIPTS = sorted(set(re.findall(r"\bexamples/[\w/]+\.py", PAGE)))
NAMES = sorted(set(re.findall(r"`(batchmix(?:\.\w+)+)`", PAGE)))
LINKS = sorted(set(re.findall(r"\]\(([\w./-]+\.md)", PAGE)))


def exists(name):
    """Whether a dotted name is there; adapters are read, as their hosts are not installed here."""
    parts = name.split(".")
    if parts[:2] == ["batchmix", "adapters"]:
        path = ROOT / "src" / "batchmix" / "adapters" / f"{parts[2]}.py"
        return path.is_file() and set(parts[3:]) <= defined(path)
    found = importlib.import_module("batchmix")
    for part in parts[1:]:
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def defined(path):
    """The names that a module has at its top level."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("name", NAMES)
def test_names_exist(name):
    assert exists(name)


@pytest.mark.parametrize("name", ["batchmix.mixes", "batchmix.adapters.timm.Mixdown"])
def test_false_names_are_noticed(name):
    assert not exists(name)


@pytest.mark.parametrize("script", SCRIPTS)
def test_programs_exist(script):
    assert (ROOT / script).is_file()


def test_all_programs_of_tutorials_are_on_the_page():
    there = {f"examples/seeds/{path.name}" for path in (ROOT / "examples" / "seeds").glob("*.py")}
    assert there
    assert there <= set(SCRIPTS)
    assert {script for script in SCRIPTS if f"python {script}" in PAGE} >= there


@pytest.mark.parametrize("command", COMMANDS)
def test_options_of_commands_exist(command):
    program, script, *words = command.split()
    options = [word for word in words if word.startswith("--")]
    if program == "batchmix":
        parameters = typer.main.get_command(app).commands[script].params
        assert set(options) <= {option for part in parameters for option in part.opts}
    else:
        text = (ROOT / script).read_text()
        for option in options:  # some are written with their dashes, some as names of arguments
            assert f'"{option}"' in text or f'"{option[2:]}":' in text, option


def test_options_of_train_in_the_table_exist():
    parameters = typer.main.get_command(app).commands["train"].params
    there = {option for part in parameters for option in part.opts}
    table = PAGE.partition("## timm")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| `?(--.+?) \|", table, re.MULTILINE))
    options = {option for cell in named for option in re.findall(r"--[\w-]+", cell)}
    assert len(options) == 7
    assert options <= there


@pytest.mark.parametrize("link", LINKS)
def test_pages_exist(link):
    assert (DOCS / "tutorials" / link).is_file()


def test_figures_are_those_that_the_programs_write():
    for name in set(re.findall(r"`((?:cv|timm|deep)-[\w-]+)\.png`", PAGE)):
        prefix = re.split(r"mixup-|cutmix-|batch$|elem$|pair$", name)[0]  # the rest is filled in
        texts = [(ROOT / script).read_text() for script in SCRIPTS if "seeds" in script]
        assert any(prefix in text for text in texts), name


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.name)
def test_pages_and_notebooks_are_those_of_the_programs(path):
    assert path.read_text() == MADE[path], "run `python docs/make_tutorials.py`"


def test_every_program_is_a_tutorial_with_figures_that_are_there():
    scripts = {path.stem for path in (ROOT / "examples" / "seeds").glob("*.py")}
    assert scripts == {one.script for one in MAKE["TUTORIALS"].values()}
    shown = set()
    for name, one in MAKE["TUTORIALS"].items():
        text = MADE[DOCS / "tutorials" / f"{name}.md"]
        assert one.printed.read_text().rstrip() in text
        shown |= set(re.findall(r"\]\(([\w-]+\.png)\)", text))
    assert shown == {path.name for path in (DOCS / "tutorials").glob("*.png")}


@pytest.mark.parametrize("name", MAKE["TUTORIALS"])
def test_notebooks_hold_every_line_that_the_program_runs(name):
    """But for its options, as a notebook is not called from a command line."""
    made = json.loads(MADE[DOCS / "tutorials" / f"{name}.ipynb"])
    cells = ["".join(one["source"]) for one in made["cells"] if one["cell_type"] == "code"]
    assert [cell for cell in cells if re.search(r"^main\(", cell, re.MULTILINE)] == cells[-1:]
    program = MAKE["TUTORIALS"][name].source.partition("if __name__")[0]
    expected = [ast.dump(node) for node in ast.parse(program).body[1:]]  # without its docstring
    found = [ast.dump(node) for node in ast.parse("\n".join(cells)).body]
    assert found[: len(expected)] == expected


def test_every_example_is_on_its_page():
    text = (DOCS / "examples.md").read_text()
    for path in (ROOT / "examples").glob("*.py"):
        assert f"[`{path.name}`](#{path.stem})" in text
        assert f"{{ #{path.stem} }}" in text
