"""How the benchmark is kept: small files, and none of it in the package that users install."""

import ast
from pathlib import Path

import pytest
import setuptools

import run

BENCHMARKS = Path(run.__file__).parent
FILES = sorted(BENCHMARKS.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(BENCHMARKS)))
def test_files_and_functions_stay_small(path):
    assert len(path.read_text().splitlines()) <= 250
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.body[0].lineno <= 60, node.name


def test_the_wheel_has_no_benchmarks():
    source = BENCHMARKS.parent / "src"
    found = setuptools.find_namespace_packages(str(source))  # as pyproject.toml says
    packages = [name for name in found if any(source.joinpath(*name.split(".")).glob("*.py"))]
    assert {"batchmix", "batchmix.cli"} <= set(packages)
    assert {name.partition(".")[0] for name in packages} == {"batchmix"}
    assert not {"bench", "benchmarks", "peers"} & {
        part for name in packages for part in name.split(".")
    }
