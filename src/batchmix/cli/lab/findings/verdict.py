"""What a comparison says, in sentences: stopped at the best epoch first, then over-training."""

from __future__ import annotations

from collections.abc import Sequence

from batchmix.cli.lab.findings.levels import Arm, Level, noise_name
from batchmix.cli.lab.findings.paired import FEWEST, Difference
from batchmix.cli.lab.outcome import METRICS
from batchmix.cli.lab.rows import Task

_NAMED = 3  # classes in a sentence


def verdict(level: Level, task: Task) -> list[str]:
    """Sentences, most important first: does mixing help there, and what does it rest on?"""
    start = noise_name(level.noise)
    start = f"{start[0].upper()}{start[1:]}, each arm at its best epoch: "
    best, none = level.best("mix"), level.none
    if none is None:
        return [start + "no run without mixing has finished, so nothing can be said."]
    if best is None:
        return [start + "no mixing policy was compared.", *_overtraining(level), rests(level)]
    against = level.against_none(level.metric)
    if len(level.seeds) < FEWEST:
        count = "one seed" if len(level.seeds) == 1 else "two seeds"
        away = away_from(level.metric, against[best.name])
        tell = f"{count} cannot tell gain or harm from chance ({best.name} is {away} from 'none')"
        return [f"{start}{tell}; use --seeds 5.", *_memorised(level, best), rests(level)]
    parts = [_main(level, best, against[best.name])]
    parts += _harmed(level, {n: d for n, d in against.items() if n != best.name})
    parts += _against_smoothing(level, best, against)
    return [
        start + "; ".join(parts) + ".",
        *_overtraining(level),
        *_memorised(level, best),
        *_by_class(level, best, task),
        _power(level),
    ]


def amount(metric: str, value: float, error: float | None = None, sign: str = "+") -> str:
    """As shown, such as '+1.2 ± 0.2'; without a sign where `sign` is empty."""
    shown = METRICS[metric]
    value = shown.scale * (value if sign else abs(value))
    value = round(value, shown.decimals) + 0.0  # never -0.0
    text = f"{value:{sign}.{shown.decimals}f}"
    return text if error is None else f"{text} ± {shown.scale * error:.{shown.decimals}f}"


def away_from(metric: str, d: Difference) -> str:
    """A difference with its unit, such as '+1.2 ± 0.2 points of accuracy'."""
    unit = "points of" if METRICS[metric].unit else "in"
    return f"{amount(metric, d.mean, d.error)} {unit} {heading(metric)}"


def better(metric: str, d: Difference) -> bool:
    """Whether a difference points to the good side."""
    return d.mean > 0 if METRICS[metric].high else d.mean < 0


def heading(metric: str) -> str:
    return METRICS[metric].heading


def rests(level: Level) -> str:
    """How much was compared."""
    text = f"This rests on {_count(level.seeds, 'seed')} x {_count(level.arms, 'arm')}"
    if level.left_out:
        text += f", without {', '.join(level.left_out)}, of which too few runs are there"
    return text + "."


def _count(some: Sequence[object], word: str) -> str:
    return f"{len(some)} {word}{'' if len(some) == 1 else 's'}"


def _quoted(name: str) -> str:
    """An arm in a sentence, where the word none would be misread."""
    return "'none'" if name == "none" else name


def _gains(metric: str, d: Difference) -> str:
    """'gains 1.2 ± 0.2 points of accuracy' or its contrary."""
    shown, size = METRICS[metric], amount(metric, d.mean, d.error, sign="")
    if shown.unit:
        word = "gains" if better(metric, d) else "loses"
        return f"{word} {size} points of {heading(metric)}"
    return f"is {size} {'better' if better(metric, d) else 'worse'} in {heading(metric)}"


def _main(level: Level, best: Arm, against: Difference) -> str:
    """Help, harm, or neither, for the best of the mixing policies."""
    metric, count = level.metric, f"{against.agree} of {against.seeds} seeds"
    if against.real and better(metric, against):
        return f"mixing helps, {best.name} {_gains(metric, against)} ({count})"
    if against.real:
        return f"mixing harms, even {best.name} {_gains(metric, against)} ({count})"
    return (
        f"mixing neither helps nor harms as far as {against.seeds} seeds can tell, the best, "
        f"{best.name}, is {away_from(metric, against)} from 'none' ({count} agree)"
    )


def _harmed(level: Level, against: dict[str, Difference]) -> list[str]:
    """The other mixing policies that do harm."""
    mixing = {arm.name for arm in level.arms if arm.kind == "mix"}
    texts = [
        f"{name} ({amount(level.metric, d.mean, d.error)})"
        for name, d in against.items()
        if name in mixing and d.real and not better(level.metric, d)
    ]
    return [f"{', '.join(texts)} {'do' if len(texts) > 1 else 'does'} harm"] if texts else []


def _against_smoothing(level: Level, best: Arm, against: dict[str, Difference]) -> list[str]:
    """The best mixing policy against label smoothing."""
    smooth = level.best("smooth")
    if smooth is None or smooth.name not in against:
        return []
    metric, apart = level.metric, level.against_smoothing()[best.name]
    own = f"{smooth.name}, {amount(metric, against[smooth.name].mean, against[smooth.name].error)}"
    by = amount(metric, apart.mean, apart.error, sign="")
    if apart.real and better(metric, apart):
        return [f"it beats label smoothing ({smooth.name}) by {by}"]
    if apart.real:
        return [f"label smoothing is better by {by} ({own})"]
    word = "about" if better(metric, apart) else "at least"  # beyond what these seeds can tell
    return [f"label smoothing is {word} as good ({own})"]


def _overtraining(level: Level) -> list[str]:
    """What training on to the last epoch costs, and what of a gain there is only that."""
    metric, none = level.metric, level.none
    cost = level.cost(metric)
    paid = {name: d for name, d in cost.items() if d.real and not better(metric, d)}
    if not any(arm.curves() for arm in level.arms) or len(level.seeds) < FEWEST:
        return []
    if not paid:
        return ["Training on to the last epoch costs no arm anything that these seeds can see."]
    texts = [
        f"{_quoted(name)} {amount(metric, d.mean, d.error, sign='')}" for name, d in paid.items()
    ]
    unit = "points" if METRICS[metric].unit else heading(metric)
    free = " and the other arms nothing that these seeds can see" if len(paid) < len(cost) else ""
    sentence = f"Over-training, to the last epoch, costs {', '.join(texts)} {unit}{free}"
    last = level.against_none(metric, "last")
    mixing = {arm.name: last[arm.name] for arm in level.arms if arm.kind == "mix"}
    sign = 1 if METRICS[metric].high else -1
    name = max(mixing, key=lambda name: sign * mixing[name].mean, default=None)
    if name and none and none.name in paid and mixing[name].real and better(metric, mixing[name]):
        end, best = mixing[name], level.against_none(metric)[name]
        if sign * end.mean > sign * best.mean:
            sentence += (
                f"; at the last epoch {name} is {amount(metric, end.mean, end.error)} from 'none', "
                f"against {amount(metric, best.mean, best.error)} with each at its best: the "
                "difference is a gain over over-training, which early stopping gives as well"
            )
    return [sentence + "."]


def _memorised(level: Level, best: Arm) -> list[str]:
    """Wrong labels that were learnt, with none and with the best mixing policy."""
    none, metric = level.none, "memorised"
    if none is None or not all(a.has(metric) and a.has(metric, "last") for a in (best, none)):
        return []
    (a, b), (c, d) = (
        (f"{arm.mean(metric):.0%}", f"{arm.mean(metric, 'last'):.0%}") for arm in (none, best)
    )
    return [
        f"Of the wrong labels 'none' memorises {a} at its best epoch and {b} at its last, "
        f"{best.name} {c} and {d}."
    ]


def _by_class(level: Level, best: Arm, task: Task) -> list[str]:
    """Which classes gain and which lose."""
    found = level.classes(best)
    if len(found) < 2:
        return []
    order = sorted(found, key=lambda k: found[k].mean)
    start = f"By class (recall of {best.name} against 'none'): "
    losses = [k for k in order if found[k].real and found[k].mean < 0]
    gains = [k for k in reversed(order) if found[k].real and found[k].mean > 0]
    if not (losses or gains):
        ends = _classes(found, [order[-1], order[0]], task)
        return [f"{start}no gain or loss is beyond chance; the largest are {ends}."]
    texts = [
        f"{what} in {_classes(found, some, task)}"
        for what, some in (("gains", gains), ("losses", losses))
        if some
    ]
    texts += [] if losses else ["no loss is beyond chance"]
    texts += [] if gains else ["no gain is beyond chance"]
    return [start + "; ".join(texts) + "."]


def _classes(found: dict[int, Difference], some: Sequence[int], task: Task) -> str:
    """The first of some classes with their differences."""
    texts = [
        f"{task.names[k]!r} {amount('accuracy', found[k].mean, found[k].error)}"
        for k in some[:_NAMED]
    ]
    more = len(some) - len(texts)
    return ", ".join(texts) + (f" and {more} more" if more else "")


def _power(level: Level) -> str:
    """What these seeds could have seen."""
    least = level.can_see()
    if least is None:
        return rests(level)
    shown = METRICS[level.metric]
    size = amount(level.metric, least, sign="")
    word = f"{size} points" if shown.unit else f"{size} in {heading(level.metric)}"
    questions = _count(level.rivals, "arm")
    return (
        f"{rests(level)[:-1]}; these seeds can see a difference of {word} or more (80 % power, "
        f"corrected for {questions})."
    )
