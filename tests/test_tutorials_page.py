"""The page of tutorials names only what is there: programs, options, pages, names."""

import ast
import importlib
import re

import pytest
import typer.main

from batchmix.cli._commands import app
from pages import DOCS, ROOT

PAGE = (DOCS / "tutorials.md").read_text()
COMMANDS = re.findall(r"^(?:python|batchmix) .+$", PAGE, re.MULTILINE)
SCRIPTS = sorted(set(re.findall(r"\bexamples/[\w/]+\.py", PAGE)))
NAMES = sorted(set(re.findall(r"`(batchmix(?:\.\w+)+)`", PAGE)))
LINKS = sorted(set(re.findall(r"\]\(([\w/-]+\.md)", PAGE)))


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
    assert (DOCS / link).is_file()


def test_figures_are_those_that_the_programs_write():
    for name in set(re.findall(r"`((?:cv|timm|deep)-[\w-]+)\.png`", PAGE)):
        prefix = re.split(r"mixup-|cutmix-|batch$|elem$|pair$", name)[0]  # the rest is filled in
        texts = [(ROOT / script).read_text() for script in SCRIPTS if "seeds" in script]
        assert any(prefix in text for text in texts), name
