"""`batchmix tune`: the search against a stand-in for training, and the command for real."""

import dataclasses
import json
import math
import signal
from collections import deque
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import standin
from batchmix import MixError
from batchmix.cli import _tuning
from batchmix.cli._forms import FORMS
from batchmix.cli._stop import Stopped
from batchmix.cli._words import parse
from batchmix.cli.lab.outcome import Trial
from batchmix.cli.lab.search.candidates import Candidate, Search, ranked
from batchmix.cli.lab.search.optuna_search import Tries
from batchmix.cli.lab.search.reserve import reserved, searched
from batchmix.cli.lab.search.space import Space, space
from batchmix.cli.lab.search.study import importances, open_study, tried
from batchmix.cli.lab.split import split
from batchmix.cli.lab.trials import comparison
from batchmix.cli.lab.trials.pool import Event, Pool
from batchmix.cli.lab.trials.store import Store
from batchmix.cli.show.found import Found, confirmed, luck

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
            one = standin.outcome(trial, EPOCHS)
            history = one.history | {"held_out": held_out}
            return Event(trial, "outcome", dataclasses.replace(one, history=history))
        self.running[trial] += 1
        return Event(trial, "epoch", (epoch, {"held_out": held_out[epoch]}))


SEARCH = Search(space("mixup cutmix switch", EPOCHS), (0,), 0.0, high=True, trials=25, jobs=1)


def go(out, search=SEARCH, keep=True, **options):
    """(candidates, the stand-in, the study)"""
    stand = Stand(search.jobs, **options)
    file = out / "search.db" if keep else Path(":memory:")
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


@pytest.mark.parametrize("events", [3, 60])
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


QUICK = ("--epochs", 2, "--trials", 3, "--seeds", 2, "--jobs", 1, "--label-noise", 0.4)


@pytest.fixture
def quick(monkeypatch):
    """Processes of trials do not train."""
    for module in (_tuning, comparison):
        monkeypatch.setattr(module, "Pool", partial(Pool, work=standin.run_trial))


def interrupt(monkeypatch, after):
    """A signal comes after so many candidates."""
    heard = _tuning.Hearing.__call__

    def hear(self, news):
        heard(self, news)
        if isinstance(news, Candidate) and self.over == after:
            raise Stopped(signal.SIGINT)

    monkeypatch.setattr(_tuning.Hearing, "__call__", hear)


def test_digits(run, tmp_path):
    code, text, notes = run("tune", "digits", *QUICK, "--out", tmp_path)
    assert code == 0
    words = " ".join(text.split())
    for said in (
        "The search tried 4 candidates, 1 seed each (4 finished, 0 pruned), and judged them at "
        "their best epoch by 478 held-out training rows.",
        "600 training rows, 2 epochs, 2 seeds",
        "The answer rests on 4 trials of the search (0 pruned) and 6 with fresh seeds.",
        "batchmix train digits --model mlp --epochs 2",
    ):
        assert said in words
    wide = [line for line in text.splitlines() if len(line) > 80]
    assert {line.split()[0] for line in wide if str(tmp_path) not in line} == {"batchmix"}
    assert "candidate 4 of 4, " in notes
    assert {p.name for p in tmp_path.iterdir()} == {
        *("search", "search.db", "trials.jsonl", "tune.json"),
        *("report.json", "report.html", "compare.png"),
    }
    found = json.loads((tmp_path / "tune.json").read_text())
    report = json.loads((tmp_path / "report.json").read_text())
    best = found["search"]["best"]
    assert report["config"]["seeds"] == [1, 2]  # the search had 0
    assert report["config"]["arms"] == ["none", "smooth:0.1", best]
    assert found["gain"]["luck"] == pytest.approx(
        found["gain"]["search_held_out"] - found["gain"]["fresh"]["held_out"]["mean"]
    )


def test_one_json_document_and_nothing_else(run, quick, tmp_path):
    code, text, notes = run("tune", "digits", *QUICK, "--out", tmp_path, "--json", "--quiet")
    assert (code, notes) == (0, "")
    found = json.loads(text)
    assert set(found) == {"command", "search", "train", "gain", "report"}
    assert found["gain"]["fresh"]["test"]["seeds"] == 2


def test_a_signal_ends_it_with_what_there_is_and_the_same_command_goes_on(
    run, quick, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        interrupt(patch, after=2)
        code, text, notes = run("tune", "digits", *QUICK, "--out", tmp_path)
    assert code == 130
    assert "The search tried 2 candidates" in " ".join(text.split())
    assert "2 candidates and 0 trials with fresh seeds are kept in" in notes
    assert "the same command goes on" in notes
    assert not (tmp_path / "tune.json").exists()
    code, text, _ = run("tune", "digits", *QUICK, "--out", tmp_path, "--quiet")
    assert code == 0
    whole = run("tune", "digits", *QUICK, "--out", tmp_path / "whole", "--quiet")
    assert text.partition("batchmix train")[0] == whole[1].partition("batchmix train")[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--search", "mixup cutmx"), "--search: got 'cutmx'."),
        (("--label-noise", "1"), "--label-noise: got 1.0."),
        (("--trials", "0"), "'--trials'"),
        (("--engine", "grid"), "'--engine'"),
        (("--epochs", "0"), "'--epochs'"),
    ],
)
def test_wrong_arguments_are_one_line(run, tmp_path, options, said):
    code, text, notes = run("tune", "digits", *options, "--out", tmp_path / "out")
    assert (code, text, notes.count("\n")) == (2, "", 1)
    assert said in notes
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_ray_tune_without_ray(run, tmp_path):
    code, _, notes = run("tune", "digits", "--engine", "ray-tune", "--out", tmp_path / "out")
    assert code == 2
    assert "Ray cannot be imported" in notes


def test_another_search_in_the_same_folder(run, quick, tmp_path):
    assert run("tune", "digits", *QUICK, "--out", tmp_path, "--quiet")[0] == 0
    code, _, notes = run("tune", "digits", *QUICK[2:], "--epochs", 3, "--out", tmp_path, "--quiet")
    assert code == 2
    assert "--epochs was 2 and is 3" in notes
    code, _, notes = run("tune", "digits", *QUICK, "--search", "mixup", "--out", tmp_path)
    assert code == 2
    assert "--search is ['mixup'], that of the search kept there is ['mixup', 'cutmix'," in notes


def test_a_folder_of_another_comparison_is_refused_before_the_search(run, quick, tmp_path):
    options = ("--epochs", 1, "--policies", "none", "--seeds", 1, "--label-noise", 0, "--quiet")
    assert run("compare", "digits", *options, "--out", tmp_path)[0] == 0
    before = sorted(tmp_path.iterdir())
    code, text, notes = run("tune", "digits", *QUICK, "--out", tmp_path)
    assert (code, text) == (2, "")
    assert "it holds trials of another comparison" in notes
    assert sorted(tmp_path.iterdir()) == before


def test_a_bad_image_leaves_nothing_behind(run, images, tmp_path):
    data, out = images("data", rows=20), tmp_path / "out"
    (data / "red" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n cut short")
    code, _, notes = run("tune", data, "--epochs", 1, "--out", out)
    assert code == 2
    assert "3.png" in notes.splitlines()[-1]
    assert not out.exists()


def test_test_rows_are_in_no_part_of_a_search():
    rows = 100
    part = standin.data(rows)
    whole = reserved(part)
    search = searched(whole, None)
    seen = {*search.train.names, *search.val.names}
    assert seen.isdisjoint(whole.test.names)
    assert len(whole.test) == 40
    assert len(search.val) == 12
    assert len(seen) + len(whole.test) == rows
    assert set(np.unique(search.val.y)) == {0, 1}
    assert reserved(whole) is whole
    for seed in (0, 1):
        split_of = split(search, seed)
        assert {*split_of.held_out.names, *split_of.test.names} == set(search.val.names)
        assert set(split(whole, seed).test.names) <= set(whole.test.names)
    assert len(searched(whole, 20).val) == 20  # as many as train


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("policy", FORMS)
def test_every_policy_can_be_searched(policy, share):
    """At both ends of its ranges, and at its example, a candidate is a word that is understood."""
    among = Space((policy,), EPOCHS)
    ends = {
        name: low + share * (high - low) for name, (low, high, _) in among.ranges(policy).items()
    }
    for settings in ({"policy": policy} | ends, *among.usual()):
        (entry,) = parse(among.arm(settings))
        assert entry.policy is not None
    assert parse(among.arm(among.usual()[0])) == parse(FORMS[policy].example)


@pytest.mark.parametrize(
    ("metric", "saw", "said"),
    [
        ("accuracy", 0.15, "So 5.0 points of accuracy were the search's luck."),
        ("accuracy", 0.05, "Fresh seeds give no less than the search saw."),
        ("rmse", -0.05, "So 0.150 in RMSE were the search's luck."),
        ("rmse", 0.2, "Fresh seeds give no less than the search saw."),
    ],
)
def test_the_gain_of_the_search_stands_beside_that_of_fresh_seeds(metric, saw, said):
    """The stand-in's mixing arms are 0.1 above none with every seed."""
    outcomes = [standin.outcome(Trial(arm, 0.0, s)) for s in (1, 2) for arm in ("none", "mixup:1")]
    for one in outcomes:
        one.best["rmse"] = one.best["accuracy"]
    tried = [Candidate("none", "finished", 0.5, 2), Candidate("mixup:1", "finished", 0.5 + saw, 2)]
    found = Found(metric, [*tried, Candidate("mixup:2", "pruned", None, 1)], (0,), 12)
    fresh = confirmed(found, outcomes)
    assert fresh.test.mean == pytest.approx(0.1)
    assert fresh.luck == pytest.approx(saw - 0.1)
    told = luck(found, fresh, len(outcomes))
    assert said in told
    assert "3 trials of the search (1 pruned) and 4 with fresh seeds." in told
    assert confirmed(found, outcomes[:1]) is None
