"""True and False are no numbers: wherever a policy, a pairing or a field takes one."""

import inspect

import numpy as np
import pytest

import batchmix as bm
from batchmix import fields, pairing, policies
from batchmix._numbers import is_number, is_whole

# what else must be given
GIVEN = {
    "layout": "NHW", "classes": 3, "format": "xyxy", "policy": policies.MixUp(), "rate": 16000,
    "policies": [policies.MixUp()], "counts": [3, 4], "bandwidth": 0.5, "n": 1, "groups": 2,
    "name": "alpha", "start": 0.1, "end": 0.2, "last": 5,
}  # fmt: skip
TAKEN = [
    pytest.param(made, name, id=f"{made.__name__}.{name}")
    for module in (policies, pairing, fields)
    for made in map(vars(module).__getitem__, module.__all__)
    if inspect.isclass(made) and hasattr(made, "__dataclass_fields__")
    for name, field in made.__dataclass_fields__.items()
    if field.init and field.type in ("int", "float", "int | None", "float | None")
]


def test_there_are_many():
    assert len(TAKEN) > 30


@pytest.mark.parametrize(("made", "name"), TAKEN)
def test_true_is_refused(made, name):
    needed = {k: v for k, v in GIVEN.items() if k in inspect.signature(made).parameters}
    if made is fields.Instances:
        needed["layout"] = "NKHW"
    with pytest.raises(bm.MixError, match=r"got .*True"):
        made(**needed | {name: True})


@pytest.mark.parametrize("one", [1, np.int8(1), np.uint64(1)])
def test_integers(one):
    assert is_whole(one)
    assert is_number(one)


@pytest.mark.parametrize("one", [1.0, np.float16(1), float("nan")])
def test_other_numbers(one):
    assert is_number(one)
    assert not is_whole(one)


@pytest.mark.parametrize("one", [True, np.True_, "1", None, 1j, np.complex64(1), np.ones(1)])
def test_what_is_none(one):
    assert not is_number(one)
    assert not is_whole(one)
