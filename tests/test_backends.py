"""Every backend fulfils the declared contract, and the contract is enough to write one more."""

import ast
import importlib
import operator
import pathlib
import sys
import types

import numpy as np
import pytest

import batchmix as bm
from batchmix import backends, losses, metrics
from batchmix._mix import mix_ids
from batchmix.backends import _contract, _formula
from checks import SWITCH

FOLDER = pathlib.Path(backends.__file__).parent
PROTOCOLS = ["Kernel", "Arrays", "Targets", "Traced"]
MODULES = sorted({name for name in backends._ARRAYS.values() if name})


def functions(tree):
    """Name -> names of the parameters, of what a module or class defines."""
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {f.name: [a.arg for a in f.args.args if a.arg != "self"] for f in found}


def defined(text):
    """`functions` of a backend's source, with what it takes over from files beside it."""
    tree = ast.parse(text)
    found = functions(tree)
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("batchmix.backends"):
            file = FOLDER / f"{node.module.rpartition('.')[2]}.py"
            beside = functions(ast.parse(file.read_text())) if file.exists() else {}
            found |= {a.name: beside[a.name] for a in node.names if a.asname and a.name in beside}
    return found


def declared():
    tree = ast.parse(pathlib.Path(_contract.__file__).read_text())
    protocols = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    return {name: functions(protocols[name]) for name in PROTOCOLS}


def unfulfilled(text):
    """What a source lacks of the contract, or has with other parameters."""
    found = defined(text)
    return [
        (protocol, name)
        for protocol, asked in declared().items()
        for name, parameters in asked.items()
        if found.get(name) != parameters
    ]


@pytest.mark.parametrize("module", MODULES)
def test_every_module_fulfils_the_contract(module):
    assert unfulfilled((FOLDER / f"{module}.py").read_text()) == []


def test_a_function_that_is_missing_or_differs_is_seen():
    text = (FOLDER / "tensorflow.py").read_text()
    assert unfulfilled(text.replace("def stack(", "def stacked(")) == [("Arrays", "stack")]
    assert unfulfilled(text.replace("like: Any", "x: Any")) != []
    assert unfulfilled(text.replace("traced as traced", "drawn")) == []  # TensorFlow has its own


class StandIn:
    """Arrays of a framework that nobody has heard of: nothing but operators, shape and dtype."""

    def __init__(self, held):
        self.held = np.asarray(held)
        self.shape, self.dtype = self.held.shape, self.held.dtype

    def __getitem__(self, index):
        return StandIn(self.held[index])


def bare(x):
    """What a stand-in holds."""
    return x.held if isinstance(x, StandIn) else x


OPERATORS = ["add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "floordiv", "mod"]
for symbol in [*OPERATORS, "and", "ge", "gt", "lt", "eq", "neg"]:
    double = f"__{symbol}__"

    def method(self, *other, double=double):
        return StandIn(getattr(self.held, double)(*map(bare, other)))

    setattr(StandIn, double, method)


def answering(name):
    """A function of the NumPy backend, for stand-ins."""
    function = getattr(importlib.import_module("batchmix.backends.numpy"), name)

    def wrapped(*args, **kwargs):
        rows = [list(map(bare, a)) if isinstance(a, list) else bare(a) for a in args]
        answer = function(*rows, **kwargs)
        if name in ("on_host", "to_numpy"):
            return answer
        if isinstance(answer, tuple):
            return tuple(map(StandIn, answer))
        return StandIn(answer) if isinstance(answer, np.ndarray | np.floating) else answer

    return wrapped


@pytest.fixture
def stand_in(monkeypatch):
    """A backend of the declared functions alone: one module, and one line in the table."""
    module = types.ModuleType("batchmix.backends.stand_in")
    for names in declared().values():
        for name in names:
            setattr(module, name, answering(name))

    def paste(x, other, plan, layout, out):
        compute = _contract.COMPUTE.get(x.dtype.name)
        return _formula.paste(module, x, other, plan, layout, compute)

    module.paste, module.writable = paste, lambda out: False
    module.mix_stack = lambda *args: _formula.mix_stack(module, *args)
    module.mix_normalize = lambda *args: _formula.mix_normalize(module, *args[:-1])
    monkeypatch.setitem(sys.modules, module.__name__, module)
    name = f"{StandIn.__module__.partition('.')[0]}.StandIn"
    monkeypatch.setitem(backends._ARRAYS, name, "stand_in")
    yield module
    backends._BY_TYPE.pop(StandIn, None)


def test_a_backend_more_takes_the_declared_functions_alone(stand_in):
    rng, ids = np.random.default_rng(0), np.array([0, 4, 2, 2])
    drawn = bm.draw(SWITCH, bm.Key(0), 4, {"H": 6, "W": 7})
    full = bm.Plan(
        drawn.partner, [[[1, 6], [0, 5]]] * 4, [0.5, 1, 0.25, 0.75], "HW", (6, 7),
        mask=rng.random((4, 6, 7)), source=[[[0, 6], [0, 7]]] * 4,
    )  # fmt: skip
    pixels, soft = rng.standard_normal((4, 6, 7, 3)).astype(np.float32), rng.random((4, 5))
    rows = list(rng.integers(0, 256, (4, 6, 7, 3), np.uint8))

    for plan in (drawn, full):
        for verb, *given in [
            (lambda x, plan=plan: bm.mix(x, plan, "NHWC"), pixels),
            (lambda x, y, plan=plan: bm.mix(x, plan, "NHWC", other=y), pixels, pixels[::-1]),
            (lambda x, plan=plan: mix_ids(x, plan, "NHWC"), pixels > 0),
            (lambda *x, plan=plan: bm.mix_stack(x, plan), *rows),
            (lambda *x, plan=plan: bm.mix_normalize(x, plan, [9] * 3, [2] * 3), *rows),
            (lambda y, plan=plan: bm.mix_labels(y, plan, 5, smoothing=0.1), ids),
            (lambda y, plan=plan: bm.mix_labels(y, plan), soft),
            (lambda y, plan=plan: operator.itemgetter(1)(bm.pairs(y, plan)), ids),
            (losses.soft_cross_entropy, soft, soft),
            (losses.soft_binary_cross_entropy, soft, soft),
            (lambda z, y, plan=plan: losses.pairwise(operator.sub, z, bm.pairs(y, plan)), ids, ids),
            (metrics.accuracy, soft, ids),
        ]:
            want, got = verb(*given), verb(*map(StandIn, given))
            assert isinstance(got, StandIn | float)
            np.testing.assert_allclose(bare(got), want, rtol=1e-5, atol=1e-6)

    with pytest.raises(bm.MixError, match="cannot be written to"):
        bm.mix(StandIn(pixels), drawn, "NHWC", out=StandIn(pixels))
    with pytest.raises(bm.MixError, match="label 9 with classes=5"):
        bm.mix_labels(StandIn([9, 0, 0, 0]), drawn, 5)
