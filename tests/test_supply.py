"""The files that pin what is installed agree with each other."""

import pathlib
import re
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", re.MULTILINE)


def pins(name):
    """{package: version}, names as packaging writes them."""
    found = PIN.findall((ROOT / name).read_text())
    return {re.sub("[-_.]+", "-", package).lower(): version for package, version in found}


def test_hashed_versions_are_those_of_the_constraints():
    hashed, known = pins("requirements-cli.txt"), pins("constraints.txt")
    known |= {"setuptools": hashed["setuptools"]}  # comes with Python: not in the constraints
    assert hashed == {name: known.get(name) for name in hashed}


def test_all_that_the_command_line_asks_for_is_hashed_but_pytorch():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = project["dependencies"] + project["optional-dependencies"]["cli"]
    names = {re.split("[<>=]", bound)[0] for bound in asked}
    assert names - pins("requirements-cli.txt").keys() == {"torch"}


@pytest.mark.parametrize("name", ["requirements-cli.txt", "requirements-tools.txt"])
def test_every_pin_has_a_hash(name):
    entries = re.split(r"\n(?=\S)", (ROOT / name).read_text().strip())
    assert len(entries) == len(PIN.findall("\n".join(entries))) > 50
    assert all("--hash=sha256:" in entry for entry in entries)
