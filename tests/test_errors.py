"""Every message once: where, what was got, the rule, the fix. And that nothing was written."""

import collections
import re

import numpy as np
import pytest
import torch

import batchmix as bm
from batchmix import losses
from batchmix.cli.stats import stats
from batchmix.extend import get_at, replaced_at
from batchmix.fields import Grid, Ids, Image, Labels
from batchmix.pairing import Reverse, Roll, Within
from batchmix.policies import CutMix, MixUp, PerBatch, PerPair, Schedule, Sometimes, Switch

X = np.ones((4, 3, 8, 8), np.float32)
Y = np.arange(4)
HW = {"H": 8, "W": 8}
PLAN = bm.draw(MixUp(1.0), bm.Key(0), 4, HW)
FULL = [[[0, 8]]] * 2
Sample = collections.namedtuple("Sample", "image label")


def mixer(fields, batch=None, **options):
    """Call a mixer."""
    return bm.Mixer(MixUp(), fields, **options)(
        {"image": X, "label": Y} if batch is None else batch
    )


class Halves:
    """A pairing that gives no whole numbers, and a policy that gives no paste."""

    def pair(self, rng, batch, hints):
        return np.arange(batch) / 2

    def sample(self, request):
        return 0.5


class Whole:
    """A pairing that gives one partner more than there are rows."""

    def pair(self, rng, batch, hints):
        return np.zeros(batch + 1, int)


def half(t):
    """A tensor with a stride of 0."""
    return torch.ones(1, 3, 8, 8).expand(4, 3, 8, 8)


def meta(rows):
    """A batch on another device than that of all others."""
    return torch.empty(rows, 3, 8, 8, device="meta")


CASES = {
    # plans
    "partner out of range": (lambda: bm.Plan([1, 2], FULL, [1, 1], "T", (8,)), "Plan", "`partner` of row 1 is [2]", "0..1", "how it was made"),
    "partner negative": (lambda: bm.Plan([1, -1], FULL, [1, 1], "T", (8,)), "Plan", "`partner` of row 1 is [-1]", "names a row", "Check"),
    "partner float": (lambda: bm.Plan([1.0, 0.0], FULL, [1, 1], "T", (8,)), "Plan", "dtype float64", "int32", "Convert"),
    "partner too large": (lambda: bm.Plan([2**40, 0], FULL, [1, 1], "T", (8,)), "Plan", "1099511627776", "int32", "come from"),
    "box outside": (lambda: bm.Plan([1, 0], [[[0, 8]], [[0, 9]]], [1, 1], "T", (8,)), "Plan", "`box` of row 1 is [[0, 9]]", "'T'", "Clip"),
    "box reversed": (lambda: bm.Plan([1, 0], [[[5, 4]], [[0, 8]]], [1, 1], "T", (8,)), "Plan", "row 0 is [[5, 4]]", "half-open", "Clip"),
    "box shape": (lambda: bm.Plan([1, 0], FULL[:1], [1, 1], "T", (8,)), "Plan", "shape (1, 1, 2)", "it is (2, 1, 2)", "per row"),
    "opacity 1.5": (lambda: bm.Plan([1, 0], FULL, [1, 1.5], "T", (8,)), "Plan", "`opacity` of row 1 is [1.5]", "share", "Check"),
    "opacity nan": (lambda: bm.Plan([1, 0], FULL, [1, np.nan], "T", (8,)), "Plan", "nan", "0..1", "Check"),
    "mask range": (lambda: bm.Plan([1, 0], FULL, [1, 1], "T", (8,), mask=np.full((2, 8), 2.0)), "Plan", "`mask` of row 0", "0..1", "Check"),
    "mask shape": (lambda: bm.Plan([1, 0], FULL, [1, 1], "T", (8,), mask=np.ones((2, 9))), "Plan", "(2, 9)", "(2, 8)", "per row"),
    "source empty": (lambda: bm.Plan([1, 0], FULL, [1, 1], "T", (8,), source=[[[0, 8]], [[3, 3]]]), "Plan", "`source` of row 1", "within 0..8", "Clip"),
    "label_lam": (lambda: bm.Plan([1, 0], FULL, [1, 1], "T", (8,), label_lam=[0, 3]), "Plan", "`label_lam`", "0..1", "Check"),
    "axes and size": (lambda: bm.Plan([1, 0], FULL, [1, 1], "HW", (8,)), "Plan", "(('H', 'W'), (8,))", "each spatial axis", "axes='HW', size=(224, 224)"),
    "axes twice": (lambda: bm.Plan([1, 0], FULL, [1, 1], "HH", (8, 8)), "Plan", "(('H', 'H'), (8, 8))", "each spatial axis", "Pass"),
    "size 0": (lambda: bm.Plan([0], [[[0, 0]]], [1], "T", (0,)), "Plan", "size={'T': 0}", ">= 1", "Pass"),
    "axes None": (lambda: bm.Plan([1, 0], FULL, [1, 1], None, (8,)), "Plan", "got axes=None and size=(8,)", "axes is a string", "axes='HW'"),
    "axes 5": (lambda: bm.Plan([1, 0], FULL, [1, 1], 5, (8,)), "Plan", "axes=5", "axes is a string", "axes='HW'"),
    "axes list": (lambda: bm.Plan([1, 0], FULL, [1, 1], ["T"], (8,)), "Plan", "axes=['T']", "axes is a string", "axes='HW'"),
    "axes tuple": (lambda: bm.Plan([1, 0], FULL, [1, 1], ("T",), (8,)), "Plan", "axes=('T',)", "axes is a string", "axes='HW'"),
    "size None": (lambda: bm.Plan([1, 0], FULL, [1, 1], "T", None), "Plan", "size=None", "size the cells", "size=(224, 224)"),
    "size 5": (lambda: bm.Plan([1, 0], FULL, [1, 1], "T", 5), "Plan", "size=5", "size the cells", "size=(224, 224)"),
    "size dict": (lambda: bm.Plan([1, 0], FULL, [1, 1], "T", {"T": 8}), "Plan", "size={'T': 8}", "size the cells", "size=(224, 224)"),
    "partner None": (lambda: bm.Plan(None, FULL, [1, 1], "T", (8,)), "Plan", "`partner` is None", "array of numbers, int32", "Give every row"),
    "box None": (lambda: bm.Plan([1, 0], None, [1, 1], "T", (8,)), "Plan", "`box` is None", "array of numbers, int32", "Give every row"),
    "opacity None": (lambda: bm.Plan([1, 0], FULL, None, "T", (8,)), "Plan", "`opacity` is None", "array of numbers, float32", "Give every row"),
    "box ragged": (lambda: bm.Plan([1, 0], [[[0, 8]], [[0]]], [1, 1], "T", (8,)), "Plan", "`box` is [[[0, 8]], [[0]]]", "array of numbers", "one shape"),
    "partner of two axes": (lambda: bm.Plan([[1, 0]], FULL, [1, 1], "T", (8,)), "Plan", "`partner` has shape (1, 2)", "one axis, the rows", "[1, 0]"),
    "partner a number": (lambda: bm.Plan(0, [], [1], "", ()), "Plan", "`partner` has shape ()", "one axis, the rows", "[1, 0]"),
    "identity -1": (lambda: bm.Plan.identity(-1), "Plan.identity()", "batch=-1", "counts rows", "len(x)"),
    "identity text": (lambda: bm.Plan.identity("3"), "Plan.identity()", "batch='3'", "counts rows", "len(x)"),
    "identity size": (lambda: bm.Plan.identity(3, "T", 8), "Plan", "size=8", "size the cells", "size=(224, 224)"),
    "unchecked": (lambda: bm.Plan.unchecked(axes="", size=(), partners=[0]), "Plan.unchecked()", "['partners']", "A plan has partner, box", "plan.columns()"),
    # drawing
    "size unhashable": (lambda: bm.draw(MixUp(), bm.Key(0), 4, {"H": [3]}), "draw()", "size={'H': [3]}", "integer >= 1", "{'H': 224"),
    "key negative": (lambda: bm.draw(MixUp(), bm.Key(-1), 4, HW), "draw()", "seed=-1", ">= 0", "Key(seed=0"),
    "key float": (lambda: bm.draw(MixUp(), bm.Key(0.5), 4, HW), "draw()", "seed=0.5", "integers", "Key(seed=0"),
    "key number": (lambda: bm.draw(MixUp(), 7, 4, HW), "draw()", "key=7", "Key(seed", "Key(seed=0"),
    "batch": (lambda: bm.draw(MixUp(), bm.Key(0), -1, HW), "draw()", "batch=-1", "counts rows", "len(x)"),
    "size tuple": (lambda: bm.draw(MixUp(), bm.Key(0), 4, (8, 8)), "draw()", "(8, 8)", "letter", "{'H': 224"),
    "size letter": (lambda: bm.draw(MixUp(), bm.Key(0), 4, {"N": 8}), "draw()", "{'N': 8}", "capital letter but N", "{'H': 224"),
    "size zero": (lambda: bm.draw(MixUp(), bm.Key(0), 4, {"H": 0}), "draw()", "{'H': 0}", "cells", "{'H': 224"),
    "no axes": (lambda: bm.draw(CutMix(), bm.Key(0), 4, {}), "CutMix", "no axes", "at least one axis", "MixUp for tables"),
    "not mutual": (lambda: bm.draw(PerPair(MixUp()), bm.Key(0), 4, HW, pairing=Roll(1)), "PerPair", "another one", "each other's partner", "Reverse()"),
    # policies
    "alpha negative": (lambda: MixUp(-0.2), "MixUp", "alpha=-0.2", "> 0", "policy=None"),
    "alpha zero": (lambda: CutMix(0), "CutMix", "alpha=0", "> 0", "Sometimes"),
    "alpha text": (lambda: MixUp("a"), "MixUp", "alpha='a'", "number", "policy=None"),
    "alpha nan": (lambda: MixUp(float("nan")), "MixUp", "nan", "> 0", "policy=None"),
    "placement": (lambda: CutMix(placement="center"), "CutMix", "'center'", "'inside'", "one of the two"),
    "minmax": (lambda: CutMix(minmax=(0.8, 0.2)), "CutMix", "(0.8, 0.2)", "low <= high", "usual value is (0.2, 0.8)"),
    "minmax count": (lambda: CutMix(minmax=(0.8,)), "CutMix", "(0.8,)", "low <= high", "usual value is (0.2, 0.8)"),
    "minmax a number": (lambda: CutMix(minmax=0.3), "CutMix", "minmax=0.3", "(low, high)", "(0.2, 0.8)"),
    "dominant": (lambda: MixUp(1.0, dominant="no"), "MixUp", "dominant='no'", "larger share", "True or False"),
    "weights": (lambda: Switch([MixUp(), CutMix()], [1]), "Switch", "weights=[1]", "one weight", "[0.5, 0.5]"),
    "weights zero": (lambda: Switch([MixUp(), CutMix()], [0, 0]), "Switch", "[0, 0]", "> 0", "[0.5, 0.5]"),
    "no policies": (lambda: Switch([]), "Switch", "policies=[]", "one weight", "MixUp(0.8)"),
    "prob": (lambda: Sometimes(MixUp(), 1.5), "Sometimes", "prob=1.5", "probability that a row is mixed, 0..1", "prob=0.5"),
    "stages": (lambda: Schedule({}), "Schedule", "stages={}", ">= 0", "{0: MixUp"),
    "a stage before the first epoch": (lambda: Schedule({-1: None}), "Schedule", "stages={-1: None}", ">= 0", "{0: MixUp"),
    "two stages at once": (lambda: Schedule([(0, None), (0, None)]), "Schedule", "[(0, None), (0, None)]", "a start of its own", "{0: MixUp"),
    "by": (lambda: Schedule({0: None}, by="day"), "Schedule", "'day'", "'step'", "by='epoch'"),
    "a class": (lambda: bm.draw(MixUp, bm.Key(0), 4, HW), "draw()", "MixUp'>", "a method `sample`", "parentheses"),
    "a pairing's class": (lambda: bm.draw(MixUp(), bm.Key(0), 4, HW, pairing=Roll), "draw()", "Roll'>", "a method `pair`", "parentheses"),
    "a float pairing": (lambda: bm.draw(MixUp(), bm.Key(0), 4, HW, pairing=Halves()), "Plan", "`partner` has dtype float64", "int32", "Convert"),
    "no paste": (lambda: bm.draw(Halves(), bm.Key(0), 4, HW), "draw()", "the policy's `sample` returned a float", "It answers with what is pasted on each row", "Return a batchmix.policies.Paste(box, opacity, kind)"),
    "partners of other rows": (lambda: bm.draw(MixUp(), bm.Key(0), 4, HW, pairing=Whole()), "draw()", "the pairing gave partners of shape (5,) for batch=4", "Each row has one partner", "Return an integer for each of the `batch` rows"),
    "roll": (lambda: Roll(1.5), "Roll", "n=1.5", "counts rows", "integer"),
    "one policy": (lambda: Switch(MixUp()), "Switch", "policies=MixUp(", "of 1 to 127 policies", "[0.5, 0.5]"),
    "no policy": (lambda: Sometimes(None, 0.5), "Sometimes", "None", "a method `sample`", "MixUp(0.2)"),
    "no policy per batch": (lambda: PerBatch(None), "PerBatch", "None", "a method `sample`", "MixUp(0.2)"),
    "no policy per pair": (lambda: PerPair(None), "PerPair", "None", "a method `sample`", "MixUp(0.2)"),
    "no policy in a switch": (lambda: Switch([MixUp(), None]), "Switch", "None", "a method `sample`", "MixUp(0.2)"),
    "a list of stages": (lambda: Schedule([1, 2]), "Schedule", "[1, 2]", ">= 0", "{0: MixUp"),
    "a stage": (lambda: Schedule({0: "mixup"}), "Schedule", "'mixup'", "a method `sample`", "MixUp(0.2)"),
    "groups": (lambda: Within(0), "Within", "groups=0", ">= 1", "shards"),
    "inner None": (lambda: Within(2, None), "Within", "the pairing None", "a method `pair`", "Reverse()"),
    "inner a class": (lambda: Within(2, Reverse), "Within", "Reverse'>", "a method `pair`", "parentheses"),
    "hints": (lambda: bm.draw(MixUp(), bm.Key(0), 4, HW, pairing=Within(2), hints={"label": Y[:3]}), "Within", "'label' has shape (3,), the batch 4", "each row", "same batch"),
    "inner out of its group": (lambda: bm.draw(MixUp(), bm.Key(0), 4, HW, pairing=Within(2, Halves())), "Within", "for a group of 2 rows", "integers", "`pair`"),
    # mixing
    "wrong size": (lambda: bm.mix(np.ones((4, 3, 9, 8)), PLAN, "NCHW"), "mix()", "(4, 3, 9, 8)", "must match", "size={'H': 9, 'W': 8}"),
    "axis missing": (lambda: bm.mix(np.ones((4, 3)), PLAN, "NC"), "mix()", "layout 'NC'", "must match", "Draw with size={'H': '?', 'W': '?'}"),
    "wrong batch": (lambda: bm.mix(X[:3], PLAN, "NCHW"), "mix()", "4 rows", "one entry", "batch=len(x)"),
    "layout length": (lambda: bm.mix(X, PLAN, "NHW"), "mix()", "'NHW'", "one letter per axis", "'NCHW'"),
    "layout order": (lambda: bm.mix(X, PLAN, "CNHW"), "mix()", "'CNHW'", "starts with N", "'NCHW'"),
    "ids averaged": (lambda: bm.mix(X.astype(np.int64), PLAN, "NCHW"), "mix()", "int64", "ids", "fields.Ids"),
    "booleans averaged": (lambda: bm.mix(torch.tensor(X) > 0, PLAN, "NCHW"), "mix()", "torch.bool", "8 or 16 bits", "fields.Ids"),
    "complex": (lambda: bm.mix(X.astype(complex), PLAN, "NCHW"), "mix()", "complex128", "complex", "float"),
    "a list": (lambda: bm.mix([[1]], PLAN, "NC"), "mix()", "builtins.list", "NumPy, PyTorch, JAX and TensorFlow", "numpy.asarray"),
    "a numpy scalar": (lambda: bm.mix(np.float32(1), PLAN, ""), "mix()", "got a numpy.float32", "NumPy, PyTorch, JAX and TensorFlow", "asarray"),
    "not a plan": (lambda: bm.mix(X, {"lam": 1}, "NCHW"), "mix()", "`plan` is a dict", "It is what bm.draw returns", "Draw one"),
    "other shape": (lambda: bm.mix(X, PLAN, "NCHW", other=X[:3]), "mix()", "`other` has 3 rows, and the plan was drawn for 4", "a row of `other`", "other=len(other)"),
    "other dtype": (lambda: bm.mix(X, PLAN, "NCHW", other=X.astype("f8")), "mix()", "float64", "alike", "one form"),
    "other framework": (lambda: bm.mix(X, PLAN, "NCHW", other=torch.tensor(X)), "mix()", "Tensor", "alike", "convert them"),
    "other elsewhere": (lambda: bm.mix(TENSOR[:4], PLAN, "NCHW", other=meta(4)), "mix()", "`other` is on meta, `x` on cpu", "All arrays of a call lie on one device", "Move one first, for example with y.to(x.device)"),
    "out elsewhere": (lambda: bm.mix(TENSOR[:4], PLAN, "NCHW", out=meta(4)), "mix()", "`out` is on meta, `x` on cpu", "on one device", "Move one first"),
    "ids elsewhere": (lambda: Ids("NCHW")(TENSOR[:4], PLAN, other=meta(4)), "Ids()", "`other` is on meta, `x` on cpu", "on one device", "Move one first"),
    "out dtype": (lambda: bm.mix(X, PLAN, "NCHW", out=X.astype("f8")), "mix()", "`out` is a ndarray", "shape and dtype", "out=x"),
    "out a list": (lambda: bm.mix(X, PLAN, "NCHW", out=[1]), "mix()", "builtins.list", "NumPy, PyTorch, JAX and TensorFlow", "numpy.asarray"),
    "out read-only": (lambda: bm.mix(X, PLAN, "NCHW", out=np.broadcast_to(X[:1], X.shape)), "mix()", "`out` is a ndarray that cannot be written to", "written", "empty_like"),
    "out overlaps": (lambda: bm.mix(BUFFER[:4], PLAN, "NCHW", out=BUFFER[1:5]), "mix()", "shares memory", "of its own", "out=x"),
    "out overlaps, torch": (lambda: bm.mix(TENSOR[:4], PLAN, "NCHW", out=TENSOR[1:5]), "mix()", "shares memory", "of its own", "out=x"),
    "out is other": (lambda: bm.mix(X, PLAN, "NCHW", other=BUFFER[:4], out=BUFFER[:4]), "mix()", "shares memory", "never written", "out=x"),
    "out repeats rows": (lambda: bm.mix(half(0), PLAN, "NCHW", out=half(0)), "mix()", "repeats memory", "written", "separate"),
    "ids size": (lambda: bm.fields.Ids("NHW")(np.ones((4, 9, 8), int), PLAN), "Ids()", "(4, 9, 8)", "must match", "Draw with"),
    "ids in a list": (lambda: Ids("NHW")([0], PLAN), "Ids()", "builtins.list", "NumPy, PyTorch, JAX and TensorFlow", "numpy.asarray"),
    "ids of another stream": (lambda: Ids("NHW")(X[:, 0], PLAN, other=X[:3, 0]), "Ids()", "`other` has 3 rows, and the plan was drawn for 4", "a row of `other`", "other=len(other)"),
    "ids written elsewhere": (lambda: Ids("NHW")(X[:, 0], PLAN, out=X[:3, 0]), "Ids()", "`out` is a ndarray of shape (3, 8, 8)", "shape and dtype", "out=x"),
    # labels
    "no classes": (lambda: bm.mix_labels(Y, PLAN), "mix_labels()", "classes=None", "cannot be averaged", "classes=<number"),
    "id too large": (lambda: bm.mix_labels(Y, PLAN, 3), "mix_labels()", "label 3 with classes=3", "0..2", "Raise `classes`"),
    "classes differ": (lambda: bm.mix_labels(np.ones((4, 3)), PLAN, 5), "mix_labels()", "classes=5", "C = classes", "pairs"),
    "ids of two tasks": (lambda: bm.mix_labels(np.full((4, 2), 7), PLAN), "mix_labels()", "(4, 2)", "integers: 0, 1", "pairs"),
    "floats 1-D": (lambda: bm.mix_labels(np.ones(4), PLAN, 5), "mix_labels()", "float64", "ids [B]", "pairs"),
    "masks": (lambda: bm.mix_labels(np.ones((4, 8, 8), int), PLAN, 5), "mix_labels()", "(4, 8, 8)", "ids [B]", "fields.Ids"),
    "smoothing": (lambda: bm.mix_labels(Y, PLAN, 5, smoothing=1), "mix_labels()", "smoothing=1", "0 <= s < 1", "0.1 is the usual value"),
    "label rows": (lambda: bm.mix_labels(Y[:3], PLAN, 5), "mix_labels()", "`y` has shape (3,)", "one entry", "len(x)"),
    "labels of 2.5 classes": (lambda: bm.mix_labels(Y, PLAN, 2.5), "mix_labels()", "classes=2.5", "It counts classes, from 1", "Pass an integer such as 10"),
    "labels in a list": (lambda: bm.mix_labels([0], PLAN, 5), "mix_labels()", "builtins.list", "NumPy, PyTorch, JAX and TensorFlow", "numpy.asarray"),
    "labels of another stream": (lambda: bm.mix_labels(Y, PLAN, 5, other=Y[:3]), "mix_labels()", "`other` has 3 rows, and the plan was drawn for 4", "a row of `other`", "other=len(other)"),
    "pairs rows": (lambda: bm.pairs(Y[:3], PLAN), "pairs()", "`y` has shape (3,)", "one entry", "len(x)"),
    "pairs in a list": (lambda: bm.pairs([0], PLAN), "pairs()", "builtins.list", "NumPy, PyTorch, JAX and TensorFlow", "numpy.asarray"),
    "pairs of another stream": (lambda: bm.pairs(Y, PLAN, other=Y[:3]), "pairs()", "`other` has 3 rows, and the plan was drawn for 4", "a row of `other`", "other=len(other)"),
    # fields and mixer
    "layout": (lambda: Grid("HW"), "Grid", "'HW'", "starts with N", "'NCHW'"),
    "classes 2^31": (lambda: Labels(2**31), "Labels", "classes=2147483648", "It counts classes", "Pass an integer such as 10"),
    "layout small": (lambda: Ids("nhw"), "Ids", "'nhw'", "capital", "'NCHW'"),
    "layout letter twice": (lambda: Image("NHHW"), "Image", "'NHHW'", "no letter twice", "'NCHW'"),
    "layout missing": (lambda: Image(), "Image", "layout=''", "starts with N", "'NCHW'"),
    "classes True": (lambda: Labels(True), "Labels", "classes=True", "counts classes", "Pass an integer such as 10"),
    "several parts": (lambda: get_at(([X, X], Y), (0, slice(0, 2))), "Mixer", "slice(0, 2", "must be present", "one of these"),
    "rows of an array": (lambda: get_at((X, Y), (0, slice(0, 2))), "Mixer", "in a ndarray", "tuple, list", "(images, labels)"),
    "missing name": (lambda: mixer({"img": Image("NCHW")}, Sample(X, Y)), "Mixer", "it has ['image', 'label']", "must be present", "Did you mean 'image'"),
    "nothing to replace": (lambda: replaced_at({"image": X}, ("imag",), X), "Mixer", "'imag'", "must be present", "'image'"),
    "nothing to replace in a tuple": (lambda: replaced_at((X, Y), (2,), X), "Mixer", "field 2", "must be present", "one of these"),
    "contains itself": (lambda: mixer({0: Image("NCHW")}, (X, LOOP), inplace=True), "Mixer", "contains itself", "every array", "inplace=False"),
    "missing key": (lambda: mixer({"images": Image("NCHW")}), "Mixer", "'images'", "must be present", "Did you mean 'image'?"),
    "missing index": (lambda: mixer({5: Image("NCHW")}, (X, Y)), "Mixer", "field 5", "must be present", "one of these"),
    "sizes differ": (lambda: mixer({0: Image("NCHW"), 1: Ids("NHW")}, (X, np.ones((4, 8, 9), int))), "Mixer", "field 1 has W=9, field 0 has W=8", "cell by cell", "Resize"),
    "rows differ": (lambda: mixer({0: Image("NCHW"), 1: Grid("NC")}, (X, np.ones((5, 2)))), "Mixer", "N=5", "One plan", "Resize"),
    "no array": (lambda: mixer({0: Labels(2)}, ("a", "b")), "Mixer", "none of the fields", "number of rows", "Name the images"),
    "axes": (lambda: mixer({"image": Image("NCHW")}, axes="T"), "Mixer", "'T'", "axes of the batch", "Choose among"),
    "wrong layout in the mixer": (lambda: mixer({"image": Image("NHW")}), "mix()", "'NHW'", "one letter per axis", "'NCHW'"),
    "state": (lambda: bm.Mixer(None, {}).load_state_dict({"step": 1}), "Mixer.load_state_dict()", "{'step': 1}", "seed, epoch and step", "state_dict()"),
    # losses
    "target shape": (lambda: losses.soft_cross_entropy(X[0, 0], Y), "soft_cross_entropy()", "(8, 8)", "has a target", "mix_labels"),
    "reduced loss": (lambda: losses.pairwise(lambda z, y: X.mean(), X, bm.pairs(Y, PLAN)), "pairwise()", "()", "weight of its own", "reduction='none'"),
    "threshold": (lambda: losses.soft_binary_cross_entropy(X, X, threshold=1), "soft_binary_cross_entropy()", "threshold=1", "0..1", "0.2"),
    "reduction": (lambda: losses.soft_cross_entropy(X, X, reduction="sum"), "losses", "'sum'", "'none'", "one of the two"),
    # command line
    "a policy of stats": (lambda: stats(["nosuch:1"]), "POLICY", "'nosuch:1'", "A policy is one of", "Did you mean 'switch:0.8,1.0'?"),
}  # fmt: skip
BUFFER = np.ones((6, 3, 8, 8), np.float32)
TENSOR = torch.ones(6, 3, 8, 8)
LOOP = []
LOOP.append(LOOP)


@pytest.mark.parametrize("case", CASES)
def test_message(case):
    call, where, got, rule, fix = CASES[case]
    with pytest.raises(bm.MixError) as caught:
        call()
    first, *rest = str(caught.value).split("\n")
    assert first.startswith(f"{where}: ")
    assert got in first
    assert rule in " ".join(rest)
    assert fix in " ".join(rest)
    assert len(rest) == 1
    assert first.endswith(".")
    assert rest[0].endswith((".", "?"))
    for sentence in rest[0].split(". "):
        assert re.match(r"[A-Z`]|(axes|alpha|0.1|0.2) is ", sentence), (
            "a sentence starts with a capital"
        )
    assert caught.value.__cause__ is None
    assert (X == 1).all()
    assert (BUFFER == 1).all()
    assert (TENSOR == 1).all()


def test_what_was_got_is_not_repeated_at_length():
    for call in (
        lambda: bm.mix(X, PLAN, "N" + "C" * 10**6),
        lambda: bm.policies.Switch([MixUp()] * 20_000),
        lambda: MixUp(10**4000),
    ):
        with pytest.raises(bm.MixError) as caught:
            call()
        assert "...\n" in str(caught.value)
        assert len(str(caught.value)) < 1000


def test_sizes_have_an_upper_end():
    with pytest.raises(bm.MixError, match=r"< 2\^31"):
        bm.draw(MixUp(), bm.Key(0), 4, {"H": 2**31, "W": 8})


def test_parts_of_a_named_tuple_have_names():
    got = mixer({"image": Image("NCHW"), "label": Labels(4)}, Sample(X, Y))
    want = mixer({0: Image("NCHW"), 1: Labels(4)}, Sample(X, Y))
    assert type(got) is Sample
    assert (got.image == want.image).all()
    assert (got.label == want.label).all()
    assert got.label.shape == (4, 4)
