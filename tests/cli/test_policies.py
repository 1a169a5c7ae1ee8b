"""Text to policies, and timm's arguments to policies."""

import pytest

import batchmix as bm
from batchmix.cli._words import parse, policy_of_options, with_reference
from batchmix.cli.compare import _POLICIES
from batchmix.policies import CutMix, MixUp, PerBatch, PerPair, Schedule, Sometimes, Switch


def test_the_default_policies():
    entries = parse(_POLICIES)
    assert [entry.name for entry in entries] == _POLICIES.split()
    assert [entry.kind for entry in entries] == ["none", "smooth", "mix", "mix", "mix", "mix"]
    assert [entry.smoothing for entry in entries] == [0, 0.1, 0, 0, 0, 0]
    expected = [None, None, MixUp(1), MixUp(8), CutMix(1), Switch([MixUp(0.8), CutMix(1)])]
    assert [entry.policy for entry in entries] == expected


def test_none_is_always_the_reference():
    assert [entry.name for entry in with_reference(parse("mixup:0.2"))] == ["none", "mixup:0.2"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mixpu:1", "Did you mean 'mixup:1'?"),
        ("cutmx:1", "Did you mean 'cutmix:1'?"),
        ("zzz", "A policy is one of none, smooth:0.1, mixup:1"),
        ("mixup:0", "alpha and smoothing are numbers > 0"),
        ("mixup:-1", "'mixup:-1'"),
        ("mixup:nan", "numbers > 0"),
        ("mixup:inf", "numbers > 0"),
        ("mixup:big", "The form is 'mixup:1'"),
        ("mixup", "The form is 'mixup:1'"),
        ("mixup:1,2", "The form is 'mixup:1'"),
        ("switch:1", "The form is 'switch:0.8,1.0'"),
        ("none:1", "The form is 'none'"),
        ("smooth:1", "0 <= s < 1"),
        ("mixup:1 mixup:1.0", "'mixup:1' and 'mixup:1.0' are the same policy"),
    ],
)
def test_a_wrong_policy_says_what_is_wrong(text, says):
    with pytest.raises(bm.MixError) as error:
        parse(text)
    assert says in str(error.value)


BOTH = Switch([MixUp(0.8), CutMix(0.5)], [0.75, 0.25])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0, 0, None, 1.0, 0.5, "batch", 0), None),
        ((0, 0, None, 0.5, 0.5, "batch", 3), None),
        ((0.8, 0, None, 1.0, 0.5, "batch", 0), PerBatch(MixUp(0.8))),
        ((0, 0.5, None, 1.0, 0.5, "pair", 0), PerPair(CutMix(0.5))),
        ((0.8, 0.5, None, 1.0, 0.25, "elem", 0), BOTH),
        ((0.8, 0.5, None, 0.5, 0.25, "batch", 0), PerBatch(Sometimes(BOTH, 0.5))),
        ((0, 0, (0.2, 0.8), 1.0, 0.5, "elem", 0), CutMix(1.0, minmax=(0.2, 0.8))),
        ((0.8, 0, None, 1.0, 0.5, "elem", 9), Schedule({0: MixUp(0.8), 9: None})),
    ],
)
def test_timm_arguments(arguments, expected):
    assert policy_of_options(*arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((-1, 0, None, 1.0, 0.5, "batch", 0), "--mixup: got -1"),
        ((0, float("nan"), None, 1.0, 0.5, "batch", 0), "--cutmix: got nan"),
        ((1, 0, None, 1.5, 0.5, "batch", 0), "--mixup-prob: got 1.5"),
        ((1, 1, None, 1.0, -0.5, "batch", 0), "--mixup-switch-prob: got -0.5"),
        ((0, 0, (0.8, 0.2), 1.0, 0.5, "batch", 0), "minmax=(0.8, 0.2)"),
    ],
)
def test_timm_arguments_out_of_range(arguments, says):
    with pytest.raises(bm.MixError) as error:
        policy_of_options(*arguments)
    assert says in str(error.value)
