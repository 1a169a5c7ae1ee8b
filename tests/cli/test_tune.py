"""`batchmix tune`: the search against a stand-in for training, and the command for real."""

import dataclasses
import math
from collections import deque

import pytest

from batchmix import MixError
from batchmix.cli._words import parse
from batchmix.cli.lab.candidates import Candidate, Search, ranked
from batchmix.cli.lab.outcome import Outcome
from batchmix.cli.lab.pool import Event
from batchmix.cli.lab.search import Tries
from batchmix.cli.lab.space import space
from batchmix.cli.lab.store import Store
from batchmix.cli.lab.study import importances, open_study, tried

EPOCHS = 6


def gain(arm):
    """Best where CutMix has alpha 1 and mixes often; known to be so."""
    if arm == "none":
        return 0.0
    policy, _, rest = arm.partition(":")
    numbers = [word for word in rest.split(",") if "=" not in word]
    options = dict(word.split("=") for word in rest.split(",") if "=" in word)
    alpha, prob = float(numbers[-1]), float(options.get("prob", 1))
    return 0.2 * prob * math.exp(-(math.log(alpha) ** 2)) * (policy == "cutmix")


def curve(trial):
    """Held-out accuracy per epoch; a seed moves it by more than most candidates do."""
    top = 0.5 + gain(trial.arm) + 0.05 * (trial.seed % 7)
    return [top * (epoch + 1) / EPOCHS for epoch in range(EPOCHS)]


class Stand:
    """Trains in no time, one epoch of each trial after the other; breaks off when it is told to."""

    def __init__(self, jobs=1, events=10**9, fails=()):
        self.waiting, self.running, self.jobs = deque(), {}, jobs
        self.left, self.fails, self.begun = events, fails, []

    def submit(self, trial):
        self.waiting.append(trial)

    def stop(self, trial):
        self.running.pop(trial)

    def events(self):
        while self.waiting or self.running:
            while self.waiting and len(self.running) < self.jobs:
                self.running[self.waiting[0]] = 0
                self.begun.append(self.waiting.popleft())
            for trial in list(self.running):
                if trial in self.running:
                    yield self._next(trial)

    def _next(self, trial):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        epoch, held_out = self.running[trial], curve(trial)
        if trial.arm in self.fails:
            del self.running[trial]
            return Event(trial, "failed", "no memory")
        if epoch == EPOCHS:
            del self.running[trial]
            rows = {"train": 1, "held_out": 1, "test": 1}
            history = {"held_out": held_out}
            return Event(trial, "outcome", Outcome(trial, {}, {}, history, rows))
        self.running[trial] += 1
        return Event(trial, "epoch", (epoch, {"held_out": held_out[epoch]}))


SEARCH = Search(space("mixup cutmix switch", EPOCHS), (0,), 0.0, high=True, trials=25, jobs=1)


def go(out, search=SEARCH, keep=True, **options):
    """(candidates, the stand-in, the study)"""
    stand = Stand(search.jobs, **options)
    file = out / "search.db" if keep else ":memory:"
    study = open_study(file, search, {"seeds": search.seeds})
    found = Tries(search, study, stand, Store(out, {"format": 1, "fingerprint": ""})).run()
    return found, stand, study


def few(trials, **options):
    return dataclasses.replace(SEARCH, trials=trials, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search that nobody broke off, and its study."""
    out = tmp_path_factory.mktemp("whole")
    found, _, study = go(out, keep=False)
    return found, study


def test_the_search_finds_what_is_best(whole):
    found, _ = whole
    best = ranked(found, high=True)[0]
    assert best.arm.startswith("cutmix:")
    assert best.value > 0.5 + 0.15
    assert len(found) == 1 + SEARCH.trials


def test_no_mixing_is_a_candidate_and_what_is_usual_comes_first(whole):
    found, _ = whole
    assert [c.arm for c in found[:4]] == ["none", "mixup:1", "cutmix:1", "switch:0.8,1"]
    assert found[0].value == pytest.approx(0.5)


def test_every_candidate_is_a_word(whole):
    found, _ = whole
    for candidate in found:
        (entry,) = parse(candidate.arm)
        assert entry.name == candidate.arm


def test_candidates_are_pruned_by_epoch_but_not_at_first(whole):
    found, _ = whole
    pruned = [c for c in found if c.state == "pruned"]
    assert pruned
    assert all(EPOCHS // 3 < c.epochs < EPOCHS for c in pruned)
    assert all(c.epochs == EPOCHS for c in found if c.state == "finished")


def test_the_same_seed_is_the_same_search_and_another_is_not(whole, tmp_path):
    found, _ = whole
    assert go(tmp_path / "same", few(12), keep=False)[0] == found[:13]
    assert go(tmp_path / "other", few(5, seed=1), keep=False)[0] != found[:6]


@pytest.mark.parametrize("events", [3, 2 * EPOCHS + 2, 60])
def test_a_search_that_was_broken_off_goes_on_as_if_it_had_not(whole, tmp_path, events):
    found, _ = whole
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, few(12), events=events)
    again, rest, _ = go(tmp_path, few(12))
    assert again == found[:13]
    assert len(rest.begun) <= 13 - events // (EPOCHS + 1)  # what was finished is not trained again


def test_broken_off_often_and_side_by_side_it_ends_with_as_many_trials(tmp_path):
    found = []
    while not found:
        try:
            found, _, study = go(tmp_path, few(10, jobs=3), events=25)
        except KeyboardInterrupt:
            continue
    assert len(found) == 11
    assert len({c.arm for c in found}) == len(found)
    assert len(tried(study)) == 10


def test_more_trials_go_on_from_the_others(whole, tmp_path):
    found, _ = whole
    go(tmp_path, few(3))
    assert go(tmp_path, few(6))[0] == found[:7]


def test_a_search_of_something_else_is_refused(tmp_path):
    go(tmp_path, few(1))
    with pytest.raises(MixError, match=r"seeds is \[1\], that of the search kept there is \[0\]"):
        go(tmp_path, few(1, seeds=(1,)))


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "search.db").write_text("no database, but long enough to be read as one" * 9)
    with pytest.raises(MixError, match=r"search\.db: it cannot be read"):
        open_study(tmp_path / "search.db", SEARCH, {})


def test_several_seeds_are_trained_one_after_the_other_and_averaged(tmp_path):
    search = few(4, seeds=(0, 3))
    found, stand, _ = go(tmp_path, search, keep=False)
    assert found[0].value == pytest.approx(0.5 + 0.15 / 2)
    assert [t.seed for t in stand.begun if t.arm == "mixup:1"] == [0, 3]
    assert max(c.epochs for c in found) == 2 * EPOCHS


def test_a_candidate_that_fails_is_named_and_the_others_go_on(tmp_path):
    search = few(6)
    found, _, _ = go(tmp_path, search, fails=("cutmix:1",))
    (failed,) = [c for c in found if c.state == "failed"]
    assert (failed.arm, failed.why) == ("cutmix:1", "no memory")
    assert len(found) == 7
    assert go(tmp_path, search)[0] == found  # nor is it tried again


def test_without_the_reference_there_is_no_search(tmp_path):
    with pytest.raises(MixError, match="the model without mixing failed: no memory"):
        go(tmp_path, keep=False, fails=("none",))


def test_a_low_metric_may_be_the_good_one(tmp_path):
    found, _, _ = go(tmp_path, few(6, high=False), keep=False)
    best, *_, worst = ranked(found, high=False)
    assert best.value <= worst.value
    assert found[0].value == pytest.approx(0.5 / EPOCHS)  # its best epoch is the first


def test_importances_are_shares(whole):
    _, study = whole
    found = importances(study)
    assert sum(found.values()) == pytest.approx(1)
    assert {"policy", "prob", "off"} <= set(found)


def test_few_trials_have_no_importances(tmp_path):
    _, _, study = go(tmp_path, few(3), keep=False)
    assert importances(study) == {}


def test_each_arm_has_one_rank():
    twice = [Candidate("a", "finished", 0.1), Candidate("a", "finished", 0.1)]
    rest = [Candidate("b", "finished", 0.2), Candidate("c", "pruned", 0.9)]
    assert [c.arm for c in ranked(twice + rest, high=True)] == ["b", "a"]


@pytest.mark.parametrize(
    ("settings", "arm"),
    [
        ({"cutmix alpha": 1.0, "prob": 1.0, "off": 1.0}, "cutmix:1"),
        (
            {"cutmix alpha": 0.05678, "prob": 0.30000000000000004, "off": 1.0},
            "cutmix:0.057,prob=0.3",
        ),
        ({"cutmix alpha": 7.96, "prob": 0.5, "off": 0.8}, "cutmix:8,prob=0.5,off=5"),
    ],
)
def test_settings_are_written_as_a_word(settings, arm):
    assert space("cutmix", EPOCHS).arm({"policy": "cutmix"} | settings) == arm
    assert parse(arm)


@pytest.mark.parametrize(("text", "said"), [("none mixup", "got 'none'"), ("", "names no policy")])
def test_a_search_among_what_is_not_known(text, said):
    with pytest.raises(MixError, match=said):
        space(text, EPOCHS)
