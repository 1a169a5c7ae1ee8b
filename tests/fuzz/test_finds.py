"""What a fuzzer found once, and the inputs that it begins with, go through its targets."""

import importlib
import pathlib

import pytest

from fuzz.run import TARGETS

FINDS = pathlib.Path(__file__).parent / "finds"


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name):
    target = importlib.import_module(f"fuzz.{name}")
    seeds = target.seeds()
    assert len(seeds) >= 4
    for data in seeds:
        target.one(data)


@pytest.mark.parametrize("path", sorted(FINDS.iterdir()), ids=lambda path: path.name)
def test_finds(path):
    name = path.name.partition("-")[0]
    assert name in TARGETS
    importlib.import_module(f"fuzz.{name}").one(path.read_bytes())
