"""The sentence follows from the paired differences, on figures made up for each case."""

import pytest

from batchmix.cli.lab.verdict import Result, difference, verdict

NONE = [0.90, 0.91, 0.92, 0.90, 0.91]


def result(name, kind, gain=(0, 0, 0, 0, 0), memorised=None):
    values = {"accuracy": [a + g for a, g in zip(NONE, gain)]}
    if memorised is not None:
        values["memorised"] = [memorised] * len(gain)
    return Result(name, kind, values)


none = result("none", "none")
smooth = result("smooth:0.1", "smooth", (0.01, 0.012, 0.008, 0.011, 0.009))
UP = (0.05, 0.052, 0.048, 0.051, 0.049)
DOWN = tuple(-gain for gain in UP)
NOISE = (0.01, -0.01, 0.02, -0.015, 0.0)


def test_a_paired_difference():
    gain = difference(result("m", "mix", UP), none)
    assert (round(gain.mean, 9), gain.agree, gain.seeds) == (0.05, 5, 5)
    assert gain.points() == "+5.0 ± 0.1"
    assert gain.real
    assert gain.gain
    assert not gain.loss


@pytest.mark.parametrize("gain", [NOISE, (0,) * 5, (0.2, 0.001, -0.001, 0.001, -0.001)])
def test_chance_is_not_real(gain):
    assert not difference(result("m", "mix", gain), none).real


def test_seeds_that_are_all_but_alike_must_agree_in_sign():
    most = (0.05, 0.05, 0.05, 0.05, -0.001)
    some = (0.05, 0.05, 0.05, -0.001, -0.001)
    assert difference(result("m", "mix", most), none).real
    assert not difference(result("m", "mix", some), none).real


def test_help():
    assert verdict("clean", [none, smooth, result("mixup:1", "mix", UP)]) == (
        "Clean: mixing helps, mixup:1 gains 5.0 ± 0.1 points of accuracy (5 of 5 seeds); "
        "it beats label smoothing (smooth:0.1) by 4.0 ± 0.0."
    )


@pytest.mark.parametrize(("sign", "word"), [(1, "about"), (-1, "at least")])
def test_help_but_label_smoothing_is_as_good(sign, word):
    near = tuple(g + sign * n / 20 for g, n in zip((0.01, 0.012, 0.008, 0.011, 0.009), NOISE))
    text = verdict("clean", [none, smooth, result("mixup:1", "mix", near)])
    assert "mixing helps, mixup:1 gains 1.0" in text
    assert f"label smoothing is {word} as good (smooth:0.1, +1.0 ± 0.1)." in text


def test_help_but_label_smoothing_is_better():
    half = tuple(g / 2 for g in (0.01, 0.012, 0.008, 0.011, 0.009))
    text = verdict("clean", [none, smooth, result("mixup:1", "mix", half)])
    assert "label smoothing is better by 0.5 ± 0.0 (smooth:0.1, +1.0 ± 0.1)" in text


def test_harm_is_said_as_plainly():
    text = verdict("clean", [none, smooth, result("mixup:1", "mix", DOWN)])
    assert text.startswith("Clean: mixing harms, even mixup:1 loses 5.0 ± 0.1 points")


def test_a_policy_that_harms_beside_one_that_helps():
    found = [none, result("mixup:1", "mix", UP), result("cutmix:1", "mix", DOWN)]
    text = verdict("clean", found)
    assert "mixing helps, mixup:1" in text
    assert "cutmix:1 (-5.0 ± 0.1) does harm" in text


def test_neither():
    text = verdict("clean", [none, result("mixup:1", "mix", NOISE)])
    assert "mixing neither helps nor harms as far as 5 seeds can tell" in text


@pytest.mark.parametrize(("seeds", "word"), [(1, "one seed"), (2, "two seeds")])
def test_too_few_seeds_cannot_tell(seeds, word):
    few = [
        Result(name, kind, {"accuracy": [accuracy] * seeds})
        for name, kind, accuracy in (("none", "none", 0.5), ("mixup:1", "mix", 0.9))
    ]
    text = verdict("clean", few)
    assert f"{word} cannot tell gain or harm from chance (mixup:1 is +40.0" in text
    assert "--seeds 5" in text


def test_no_mixing_policy():
    assert verdict("clean", [none, smooth]) == "Clean: no mixing policy was compared."


def test_memorised_labels_are_in_the_sentence():
    found = [result("none", "none", memorised=1.0), result("cutmix:1", "mix", UP, memorised=0.58)]
    assert "cutmix:1 memorises 58% of the wrong labels, none 100%." in verdict("noisy", found)
