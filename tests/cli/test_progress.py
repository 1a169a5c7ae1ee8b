"""What a comparison says while it runs."""

import time

import pytest

import standin
from batchmix.cli._progress import Progress
from batchmix.cli._tally import Tally, named, span
from batchmix.cli.lab.outcome import Trial
from batchmix.cli.lab.trials.pool import Event

TRIALS = [Trial(arm, noise, 0) for noise in (0.0, 0.4) for arm in ("none", "mixup:1")]


class Clock:
    """Seconds as a test sets them."""

    now = 100.0

    def __call__(self):
        return self.now


def epoch(trial, number):
    return Event(trial, "epoch", (number, {}))


def test_time_left_is_known_before_the_first_trial_ends():
    clock = Clock()
    tally = Tally(TRIALS, [], 10, "classes", clock)
    assert tally.state() == "0 of 4 trials, 0 of 40 epochs"
    tally.take(Event(TRIALS[0], "started"))
    assert tally.left() is None
    clock.now += 30
    tally.take(epoch(TRIALS[0], 0))
    assert tally.left() == 30 * 39
    assert tally.state() == "0 of 4 trials, 1 of 40 epochs, about 20 min left"


def test_what_was_kept_does_not_count_in_the_pace():
    clock = Clock()
    tally = Tally(TRIALS, [standin.outcome(trial) for trial in TRIALS[:2]], 10, "classes", clock)
    tally.take(Event(TRIALS[2], "started"))
    clock.now += 6
    tally.take(epoch(TRIALS[2], 0))
    tally.take(epoch(TRIALS[2], 1))
    assert tally.epochs == (22, 40)
    assert tally.left() == 3 * 18
    tally.take(Event(TRIALS[2], "again", "it was killed"))
    assert tally.epochs == (20, 40)


def test_epochs_of_a_trial_that_failed_do_not_count_in_the_pace():
    clock = Clock()
    tally = Tally(TRIALS, [], 10, "classes", clock)
    tally.take(Event(TRIALS[0], "started"))
    tally.take(Event(TRIALS[0], "failed", "out of memory"))
    assert tally.left() is None
    clock.now += 6
    tally.take(epoch(TRIALS[1], 0))
    tally.take(epoch(TRIALS[1], 1))
    assert tally.left() == 3 * 28


def test_means_so_far():
    outcomes = [standin.outcome(trial) for trial in (*TRIALS[:3], Trial("none", 0.0, 1))]
    tally = Tally([*TRIALS, Trial("none", 0.0, 1)], outcomes, 2, "classes")
    found = [(line.noise, line.arm, line.done, line.planned, line.figure) for line in tally.lines()]
    assert found == [
        (0.0, "none", 2, 2, "accuracy 50.5 ± 0.7 %"),
        (0.0, "mixup:1", 1, 1, "accuracy 60.0 %"),
        (0.4, "none", 1, 1, "accuracy 40.0 %"),
        (0.4, "mixup:1", 0, 1, ""),
    ]


def test_failures_are_remembered():
    tally = Tally(TRIALS, [], 2, "classes")
    event = Event(TRIALS[3], "failed", "out of memory")
    tally.take(event)
    assert tally.told(event) == "mixup:1, seed 0, 40 % wrong labels failed: out of memory"
    assert tally.failed == {TRIALS[3]: "out of memory"}
    assert named(TRIALS[0]) == "none, seed 0"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (59, "59 s"), (90, "2 min"), (3700, "1 h 2 min"), (2 * 86400 + 7200, "2 d 2 h")],
)
def test_spans(seconds, text):
    assert span(seconds) == text


def test_lines_without_a_terminal(capsys):
    with Progress() as progress:
        tell = progress.reading("checking rows")
        tell(3, 10)
        follow = progress.trials(Tally(TRIALS, [], 2, "classes"))
        follow(Event(TRIALS[0], "started"))
        follow(epoch(TRIALS[0], 0))
        follow(Event(TRIALS[0], "outcome", standin.outcome(TRIALS[0])))
        progress.say("a name \x1b]0;title\x07")
    out, told = capsys.readouterr()
    assert out == ""
    assert told.splitlines() == [
        "checking rows ...",
        "training: 0 of 4 trials, 0 of 8 epochs",
        "none, seed 0: accuracy 50.0 % (epoch 1); 1 of 4 trials, 2 of 8 epochs, about 1 s left",
        r"a name \x1b]0;title\x07",
    ]


def test_a_sign_of_life_in_silence(capsys):
    with Progress(silence=0.05) as progress:
        progress.reading("checking rows")(3, 10)
        told = ""
        while "checking rows: 3 of 10 ..." not in told:
            time.sleep(0.01)
            told += capsys.readouterr().err


def test_quiet(capsys):
    with Progress(quiet=True, silence=0.01) as progress:
        progress.reading("checking rows")(3, 10)
        progress.trials(Tally(TRIALS, [], 2, "classes"))(epoch(TRIALS[0], 0))
        progress.say("words")
        time.sleep(0.05)
    assert capsys.readouterr() == ("", "")
