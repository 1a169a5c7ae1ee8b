"""The sentences follow from the paired differences, on outcomes made up for each case."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from batchmix.cli.lab.findings.levels import levels, unequal
from batchmix.cli.lab.findings.paired import corrected, detectable, difference
from batchmix.cli.lab.findings.verdict import verdict
from made_outcomes import ARMS, DIGITS, classes, others

UP = (0.05, 0.052, 0.048, 0.051, 0.049)
SLIGHT = (0.01, 0.012, 0.008, 0.011, 0.009)
DOWN = tuple(-gain for gain in UP)
NOISE = (0.01, -0.01, 0.02, -0.015, 0.0)
NOTHING = (0.0,) * 5


def said(task=DIGITS, outcomes=None, noise=0.0, seeds=5, config=None, **gains):
    """The sentences on arms 'none', 'smooth' and 'mix' with these gains over none."""
    names = {"smooth": "smooth:0.1", "mix": "mixup:1", "cut": "cutmix:1"}
    if outcomes is None:
        found = {names[word]: gain for word, gain in gains.items()} | {"none": NOTHING}
        outcomes = classes(list(found), (noise,), seeds, 20, gains=found)
    (level,) = levels(task, outcomes, config or {})
    return verdict(level, task)


def change(outcome, at, **values):
    """An outcome with other metrics."""
    return replace(outcome, **{at: getattr(outcome, at) | values})


def test_a_paired_difference():
    gain = difference(np.add(UP, NOISE), NOISE)
    assert (round(gain.mean, 9), gain.agree, gain.seeds) == (0.05, 5, 5)
    assert gain.real
    assert gain.p == pytest.approx(scipy.stats.ttest_rel(np.add(UP, NOISE), NOISE).pvalue)
    low, high = gain.interval()
    expected = scipy.stats.ttest_1samp(UP, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("gain", [NOISE, NOTHING, (0.2, 0.001, -0.001, 0.001, -0.001)])
def test_chance_is_not_real(gain):
    assert not difference(gain, NOTHING).real


def test_seeds_that_are_all_but_alike_must_agree_in_sign():
    assert difference((0.05, 0.05, 0.05, 0.05, -0.001), NOTHING).real
    assert not difference((0.05, 0.05, 0.05, -0.001, -0.001), NOTHING).real


def test_two_seeds_are_never_enough():
    assert not difference((0.05, 0.05), (0.0, 0.0)).real
    assert difference((0.05, 0.05, 0.05), (0.0, 0.0, 0.0)).real


def test_a_run_that_is_not_a_number_is_not_real():
    assert not difference((0.05, np.nan, 0.05), (0.0, 0.0, 0.0)).real


def test_p_is_corrected_by_holm():
    rng = np.random.default_rng(0)
    found = {k: difference(rng.normal(0.02 * k, 0.01, 5), NOTHING) for k in range(4)}
    raw = np.array([found[k].p for k in range(4)])
    order = np.argsort(raw)
    expected = np.empty(4)
    expected[order] = np.minimum(1, np.maximum.accumulate(raw[order] * (4, 3, 2, 1)))
    after = corrected(found)
    assert [after[k].p for k in range(4)] == pytest.approx(expected)
    assert [after[k].mean for k in range(4)] == [found[k].mean for k in range(4)]


def test_one_lucky_arm_among_many_is_not_a_gain():
    lucky = (0.010, 0.002, 0.012, 0.004, 0.007)  # p = 0.02
    assert difference(lucky, NOTHING).real
    assert "mixing helps" in said(mix=lucky)[0]
    crowd = dict.fromkeys(("mixup:0.1", "mixup:0.2", "mixup:0.4", "mixup:2"), NOISE)
    found = crowd | {"none": NOTHING, "mixup:1": lucky}
    assert "neither helps nor harms" in said(outcomes=classes(list(found), (0.0,), gains=found))[0]


@pytest.mark.parametrize(("seeds", "questions"), [(5, 1), (5, 5), (3, 3), (10, 20)])
def test_what_can_be_seen_is_seen_four_times_in_five(seeds, questions):
    least = detectable(0.01, seeds, questions)
    each = np.random.default_rng(0).normal(least, 0.01, (20_000, seeds))
    found = scipy.stats.ttest_1samp(each, 0, axis=1).pvalue < 0.05 / questions
    assert found.mean() == pytest.approx(0.8, abs=0.015)


def test_what_can_be_seen_is_not_told_where_it_cannot_be():
    assert detectable(0.01, 2, 1) is None
    assert detectable(0.0, 5, 1) is None


def test_help():
    assert said(smooth=SLIGHT, mix=UP)[0] == (
        "Labels as given, each arm at its best epoch: mixing helps, mixup:1 gains 5.0 ± 0.1 "
        "points of accuracy (5 of 5 seeds); it beats label smoothing (smooth:0.1) by 4.0 ± 0.0."
    )


@pytest.mark.parametrize(("sign", "word"), [(1, "about"), (-1, "at least")])
def test_help_but_label_smoothing_is_as_good(sign, word):
    near = tuple(g + sign * n / 20 for g, n in zip(SLIGHT, NOISE))
    text = said(smooth=SLIGHT, mix=near)[0]
    assert "mixing helps, mixup:1 gains 1.0" in text
    assert f"label smoothing is {word} as good (smooth:0.1, +1.0 ± 0.1)." in text


def test_help_but_label_smoothing_is_better():
    text = said(smooth=SLIGHT, mix=tuple(g / 2 for g in SLIGHT))[0]
    assert "label smoothing is better by 0.5 ± 0.0 (smooth:0.1, +1.0 ± 0.1)" in text


def test_harm_is_said_as_plainly():
    assert (
        "mixing harms, even mixup:1 loses 5.0 ± 0.1 points of acc" in said(smooth=UP, mix=DOWN)[0]
    )


def test_a_policy_that_harms_beside_one_that_helps():
    text = said(mix=UP, cut=DOWN)[0]
    assert "mixing helps, mixup:1" in text
    assert "cutmix:1 (-5.0 ± 0.1) does harm" in text


def test_neither_and_what_the_seeds_could_have_seen():
    first, *_, last = said(mix=NOISE)
    assert "mixing neither helps nor harms as far as 5 seeds can tell" in first
    least = detectable(np.std(NOISE, ddof=1), 5, 1)
    assert f"these seeds can see a difference of {100 * least:.1f} points or more" in last
    assert last.startswith("This rests on 5 seeds x 2 arms;")


@pytest.mark.parametrize(("seeds", "word"), [(1, "one seed"), (2, "two seeds")])
def test_too_few_seeds_cannot_tell(seeds, word):
    text = said(seeds=seeds, mix=UP)[0]
    assert f"{word} cannot tell gain or harm from chance (mixup:1 is +5." in text
    assert "--seeds 5" in text


def test_no_mixing_policy():
    assert said(smooth=UP)[0].endswith("each arm at its best epoch: no mixing policy was compared.")


def test_no_reference():
    assert "nothing can be said" in said(outcomes=classes(("mixup:1",), (0.0,), 3))[0]


def test_the_best_epochs_are_compared_first_and_over_training_is_told_apart():
    by_level = levels(DIGITS, classes(), {})
    first, second, *_ = verdict(by_level[1], DIGITS)
    assert first.startswith("40 % wrong labels, each arm at its best epoch: mixing helps, cutmix:1")
    assert "15" not in first
    assert "costs 'none' 24.3 ± 0.0, smooth:0.1 25.5 ± 0.0, mixup:8 14.3 ± 0.0" in second
    assert "at the last epoch cutmix:1 is +16." in second
    left = by_level[1].against_none("accuracy")["cutmix:1"].mean
    assert f"against +{100 * left:.1f} ± " in second
    assert second.endswith("over over-training, which early stopping gives as well.")


def test_a_gain_at_the_best_epochs_is_not_called_one_over_over_training():
    lost = {"none": 0.03, "cutmix:1": 0.04}
    apart = (0.001, 0.002, 0.003, 0.001, 0.002)
    made = classes(tuple(lost), (0.0,), gains={"none": NOTHING, "cutmix:1": UP})
    outcomes = [
        change(one, "last", accuracy=one.best["accuracy"] - lost[one.trial.arm] - apart[i // 2])
        for i, one in enumerate(made)
    ]
    text = said(outcomes=outcomes)[1]
    assert text.startswith("Over-training, to the last epoch, costs 'none'")
    assert text.endswith(" points.")


def test_no_cost_is_said_too():
    apart = (0.001, -0.001, 0.002, -0.002)
    outcomes = [
        change(one, "last", accuracy=one.best["accuracy"] + apart[one.trial.seed])
        for one in classes(noises=(0.0,), seeds=4)
    ]
    assert "costs no arm anything that these seeds can see" in said(outcomes=outcomes)[1]


def test_memorised_labels_at_the_best_and_at_the_last_epoch():
    text = " ".join(said(noise=0.4, cut=UP))
    assert (
        "'none' memorises 10% at its best epoch and 100% at its last, cutmix:1 10% and 76%" in text
    )


def test_classes_that_lose_are_named():
    text = " ".join(said(outcomes=classes(noises=(0.0,))))
    assert "By class (recall of cutmix:1 against 'none'): gains in '2' +" in text
    assert "losses in '1' -7.0 ± " in text


def test_classes_without_test_rows_are_left_out():
    outcomes = [
        change(one, "best", recall=[None, *one.best["recall"][1:]])
        for one in classes(noises=(0.0,))
    ]
    (level,) = levels(DIGITS, outcomes, {})
    assert sorted(level.classes(level.arms[3])) == list(range(1, 10))


def test_a_class_must_be_beyond_chance_among_all_classes():
    (level,) = levels(DIGITS, classes(noises=(0.0,)), {})
    arm, none = level.arms[3], level.none
    raw = {
        k: difference(*([one.best["recall"][k] for one in some.outcomes] for some in (arm, none)))
        for k in range(10)
    }
    assert {k for k, d in level.classes(arm).items() if d.real} < {
        k for k, d in raw.items() if d.real
    }


def test_a_low_metric_gains_by_falling():
    task, outcomes = others("numbers")
    first = said(task, outcomes)[0]
    assert "mixing helps, switch:0.8,1.0 is 0.12" in first
    assert "better in RMSE (4 of 4 seeds); it beats label smoothing" in first


def test_several_labels_are_compared_by_map():
    task, outcomes = others("labels")
    assert "points of mAP" in said(task, outcomes)[0]


def test_an_interrupted_comparison_rests_on_the_seeds_that_all_arms_have():
    outcomes = classes(noises=(0.0,))
    kept = [one for one in outcomes if not (one.trial.arm == "cutmix:1" and one.trial.seed > 2)]
    (level,) = levels(DIGITS, kept, {})
    assert level.seeds == (0, 1, 2)
    assert {len(arm.outcomes) for arm in level.arms} == {3}
    assert "rests on 3 seeds x 5 arms" in verdict(level, DIGITS)[-1]


def test_an_arm_that_has_hardly_begun_does_not_take_the_seeds_of_the_others():
    """As where a policy was added to five seeds of others, and stopped after its first."""
    outcomes = [
        one
        for one in classes(noises=(0.0,))
        if one.trial.arm != "switch:0.8,1.0" or one.trial.seed == 0
    ]
    (level,) = levels(DIGITS, outcomes, {})
    assert level.left_out == ("switch:0.8,1.0",)
    assert level.seeds == (0, 1, 2, 3, 4)
    text = verdict(level, DIGITS)
    assert "mixing helps" in text[0]
    assert "without switch:0.8,1.0, of which too few runs are there" in text[-1]


def test_none_stays_however_few_its_runs():
    outcomes = [
        one for one in classes(noises=(0.0,)) if one.trial.arm != "none" or one.trial.seed == 0
    ]
    (level,) = levels(DIGITS, outcomes, {})
    assert (level.none is not None, level.seeds, level.left_out) == (True, (0,), ())


def test_an_arm_without_a_shared_seed_is_left_out_and_named():
    outcomes = [
        one
        for one in classes(noises=(0.0,))
        if (one.trial.seed == 4) == (one.trial.arm == "switch:0.8,1.0")
    ]
    (level,) = levels(DIGITS, outcomes, {})
    assert level.left_out == ("switch:0.8,1.0",)
    assert level.seeds == (0, 1, 2, 3)
    assert "without switch:0.8,1.0" in verdict(level, DIGITS)[-1]


def test_arms_stand_in_the_order_in_which_they_were_asked_for():
    (level,) = levels(DIGITS, classes(ARMS[::-1], (0.0,)), {"arms": list(ARMS)})
    assert [arm.name for arm in level.arms] == list(ARMS)


@pytest.mark.parametrize(
    ("counts", "result"), [([], False), ([10, 15, 0], False), ([10, 16], True)]
)
def test_classes_are_unequal_above_three_to_two(counts, result):
    assert unequal(counts) is result


def test_unequal_classes_are_compared_by_balanced_accuracy():
    config = {"class_counts": [100] + [10] * 9}
    assert "points of balanced accuracy" in said(config=config, mix=UP)[0]
