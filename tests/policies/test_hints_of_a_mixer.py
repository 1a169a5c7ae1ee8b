"""Policies and pairings that read the batch, through a Mixer: it hands over its fields."""

import numpy as np
import pytest
import torch

import batchmix as bm
from batchmix.fields import Ids, Image, Labels, Mask, Targets
from batchmix.pairing import Balanced, Near, Other, OtherClass, SameClass
from batchmix.policies import ClassMix, CopyPaste, MixUp, ReMix, SaliencyMix

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (8, 3, 20, 24)).astype(np.uint8)
MAPS = RNG.integers(0, 4, (8, 5, 6)).repeat(4, 1).repeat(4, 2)
Y = np.arange(8) % 3
NUMBERS = RNG.normal(size=8).astype(np.float32)
BATCH = {"x": X, "maps": MAPS, "y": Y, "numbers": NUMBERS}
FIELDS = {"x": Image("NCHW"), "maps": Mask("NHW"), "y": Labels(3), "numbers": Targets()}
HINTS = {"image": X.transpose(0, 2, 3, 1), "mask": MAPS, "label": Y, "target": NUMBERS}
WAYS = {
    "saliencymix": (SaliencyMix(), None),
    "classmix": (ClassMix(), None),
    "remix": (ReMix(MixUp(1.0), [900, 90, 9]), None),
    "remix of classes": (ReMix(ClassMix(), [900, 90, 9]), OtherClass()),
    "same class": (MixUp(1.0), SameClass()),
    "balanced": (MixUp(1.0), Balanced([1, 2, 3])),
    "near": (MixUp(1.0), Near(0.3)),
}


def of_torch(batch):
    return {name: torch.tensor(value) for name, value in batch.items()}


def drawn(policy, pairing, fields=FIELDS, batch=BATCH, **more):
    chosen = {} if pairing is None else {"pairing": pairing}
    told = {name: more.pop(name) for name in ("hints",) if name in more}
    return bm.Mixer(policy, fields, seed=4, **chosen, **told).draw(batch, step=2, **more)


def assert_same(got, want):
    assert got.form == want.form
    assert got.columns().keys() == want.columns().keys()
    for name, column in want.columns().items():
        np.testing.assert_array_equal(got.columns()[name], column, name)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("array", [dict, of_torch])
def test_the_plan_is_that_of_draw(way, array):
    policy, pairing = WAYS[way]
    got = drawn(policy, pairing, batch=array(BATCH))
    chosen = {} if pairing is None else {"pairing": pairing}
    size = {"H": 20, "W": 24}
    assert_same(got, bm.draw(policy, bm.Key(4, 0, 2), 8, size, hints=HINTS, **chosen))


@pytest.mark.parametrize("way", WAYS)
def test_partners_from_another_batch_are_read_there(way):
    policy, pairing = WAYS[way]
    theirs = {name: value[:5][::-1].copy() for name, value in BATCH.items()}
    hints = {name: value[:5][::-1] for name, value in HINTS.items()}
    got = drawn(policy, pairing, other=theirs)
    chosen = {} if pairing is None else {"pairing": pairing}
    want = bm.draw(
        policy, bm.Key(4, 0, 2), 8, {"H": 20, "W": 24},
        hints=HINTS, other=Other(5, hints), **chosen,
    )  # fmt: skip
    assert_same(got, want)


@pytest.mark.parametrize(("layout", "at"), [("NCHW", 1), ("NHWC", 3), ("NHCW", 2)])
@pytest.mark.parametrize(("policy", "name"), [(CopyPaste(), "instances"), (ClassMix(), "mask")])
@pytest.mark.parametrize("array", [np.asarray, torch.tensor])
def test_a_map_of_one_channel_is_one_of_ids(layout, at, policy, name, array):
    # of instances it was taken for the mask of a single one
    maps = array(np.expand_dims(MAPS, at))
    fields = {"x": Image("NCHW"), "maps": Ids(layout)}
    got = drawn(policy, None, fields, {"x": X, "maps": maps}, hints={name: "maps"})
    want = bm.draw(policy, bm.Key(4, 0, 2), 8, {"H": 20, "W": 24}, hints={name: MAPS})
    assert_same(got, want)


def test_instances_are_at_the_place_that_is_told():
    fields = FIELDS | {"maps": Ids("NHW")}
    got = drawn(CopyPaste(), None, fields, hints={"instances": "maps"})
    size, hints = {"H": 20, "W": 24}, {"instances": MAPS}
    assert_same(got, bm.draw(CopyPaste(), bm.Key(4, 0, 2), 8, size, hints=hints))
    with pytest.raises(bm.MixError, match="'instances'"):
        drawn(CopyPaste(), None, {"x": Image("NCHW")}, {"x": X})


def test_what_is_mixed_and_the_labels_agree():
    for policy, pairing in WAYS.values():
        mixer = bm.Mixer(policy, FIELDS, seed=4, **({"pairing": pairing} if pairing else {}))
        plan = mixer.draw(BATCH, step=2)
        mixed = mixer.apply(BATCH, plan)
        np.testing.assert_array_equal(mixed["x"], bm.mix(X, plan, "NCHW"))
        np.testing.assert_allclose(mixed["y"], bm.mix_labels(Y, plan, 3))
