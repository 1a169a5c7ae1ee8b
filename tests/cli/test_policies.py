"""Text to policies, and timm's arguments to policies."""

import pytest

import batchmix as bm
from batchmix import recipes
from batchmix.cli._words import check_task, parse, policy_of_options, with_reference
from batchmix.cli.compare import _POLICIES
from batchmix.losses import soft_cross_entropy
from batchmix.policies import (
    Columns,
    CutMix,
    FMix,
    GridMix,
    MixUp,
    Mosaic,
    PerBatch,
    PerPair,
    ResizeMix,
    Schedule,
    SmoothMix,
    Sometimes,
    Switch,
)


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
        ("mixup:0", "The form is 'mixup:1'; its numbers are > 0"),
        ("mixup:1_0", "got 'mixup:1_0'"),
        ("mixup:\uff11", "The form is 'mixup:1'"),
        ("mixup:1,prob=0", "The form is 'mixup:0.8,prob=0.5'; its numbers are > 0"),
        ("mixup:1,off=1_0", "off=90"),
        ("", "it names no policy"),
        (" ", "it names no policy"),
        ("mixup:-1", "'mixup:-1'"),
        ("mixup:nan", "numbers are > 0"),
        ("mixup:inf", "numbers are > 0"),
        ("mixup:big", "The form is 'mixup:1'"),
        ("mixup", "The form is 'mixup:1'"),
        ("mixup:1,2", "The form is 'mixup:1'"),
        ("switch:1", "The form is 'switch:0.8,1.0'"),
        ("none:1", "The form is 'none'"),
        ("smooth:1", "0 <= s < 1"),
        ("mixup:0.8,foo=3", "The form is 'mixup:0.8,prob=0.5,off=90,smooth=0.1'"),
        ("mixup:prob=0.5,0.8", "The form is 'mixup:1'"),
        ("mixup:1,prob=2", "It is the probability that a row is mixed"),
        ("mixup:1,off=1.5", "off=90"),
        ("mixup:1,off=3,off=4", "off=90"),
        ("mixup:1,smooth=1", "0 <= s < 1"),
        ("smooth:0.1,prob=0.5", "off=90"),
        ("deit:3", "The form is 'deit'"),
        ("deti", "Did you mean 'deit'?"),
        ("deit convnext", "'deit' and 'convnext' are the same policy"),
        ("mixup:" + "1" * 1000, "..."),
        ("mixup:1 mixup:1.0", "'mixup:1' and 'mixup:1.0' are the same policy"),
        ("mixup:1 mixup:1,prob=1.0", "'mixup:1' and 'mixup:1,prob=1.0' are the same policy"),
        ("deit:off=9 deit:prob=1,off=9", "are the same policy"),
        ("mosiac", "Did you mean 'mosaic'?"),
        ("fmix", "The form is 'fmix:1'"),
        ("gridmix:4", "The form is 'gridmix'"),
        ("columns:1.5", "Columns: got prob=1.5."),
    ],
)
def test_a_wrong_policy_says_what_is_wrong(text, says):
    with pytest.raises(bm.MixError) as error:
        parse(text)
    assert says in str(error.value)


def test_recipes_by_name():
    names = [name for name, value in vars(recipes).items() if isinstance(value, recipes.Recipe)]
    assert len(names) > 8
    for name in names:
        (entry,), recipe = parse(name.replace("_", "-")), getattr(recipes, name)
        assert (entry.policy, entry.pairing) == (recipe.policy, recipe.pairing)
        assert (entry.smoothing, entry.kind) == (recipe.smoothing, "mix")
        assert (entry.loss or soft_cross_entropy) is recipe.loss


def test_regmixup_keeps_the_clean_batch():
    plain, given = parse("regmixup regmixup:20")
    assert (plain.policy, plain.clean) == (MixUp(10), True)
    assert (given.policy, given.clean, given.kind) == (MixUp(20), True, "mix")


@pytest.mark.parametrize(
    ("text", "policy", "smoothing"),
    [
        ("mixup:0.8,prob=0.5", Sometimes(MixUp(0.8), 0.5), 0),
        ("fmix:0.5", FMix(0.5), 0),
        ("columns:0.2,off=3", Schedule({0: Columns(0.2), 3: None}), 0),
        ("mosaic:prob=0.5", Sometimes(Mosaic(), 0.5), 0),
        ("gridmix", GridMix(), 0),
        ("smoothmix", SmoothMix(), 0),
        ("resizemix:smooth=0.1", ResizeMix(), 0.1),
        ("mixup:0.8,off=270", Schedule({0: MixUp(0.8), 270: None}), 0),
        ("cutmix:1,prob=0.5,off=3", Schedule({0: Sometimes(CutMix(1), 0.5), 3: None}), 0),
        ("cutmix:1,off=3,prob=0.5", Schedule({0: Sometimes(CutMix(1), 0.5), 3: None}), 0),
        ("switch:0.8,1.0,smooth=0.1", Switch([MixUp(0.8), CutMix(1)]), 0.1),
        ("deit:off=3", Schedule({0: recipes.deit.policy, 3: None}), 0.1),
        ("deit:smooth=0.2", recipes.deit.policy, 0.2),
        ("regmixup:off=3", Schedule({0: MixUp(10), 3: None}), 0),
    ],
)
def test_options_behind_the_numbers(text, policy, smoothing):
    (entry,) = parse(text)
    assert (entry.policy, entry.smoothing, entry.name) == (policy, smoothing, text)
    assert parse(entry.name) == [entry]


def test_numbers_take_no_label_smoothing():
    check_task(parse("none mixup:1 smooth:0.1 rsb-a1"), "labels")
    check_task(parse("none mixup:1 regmixup"), "numbers")
    for text in ("smooth:0.1", "mixup:1,smooth=0.1", "deit", "rsb-a2"):
        with pytest.raises(bm.MixError, match="the targets are numbers"):
            check_task(parse(text), "numbers")


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
        ((0, 0, (0.8, 0.2), 1.0, 0.5, "batch", 0), "--cutmix-minmax: got 0.8 0.2."),
        ((1, 0, (0.2, 1.5), 1.0, 0.5, "batch", 0), "--cutmix-minmax: got 0.2 1.5."),
        ((1, 0, (float("nan"), 1), 1.0, 0.5, "batch", 0), "--cutmix-minmax: got nan 1."),
    ],
)
def test_timm_arguments_out_of_range(arguments, says):
    with pytest.raises(bm.MixError) as error:
        policy_of_options(*arguments)
    assert says in str(error.value)
