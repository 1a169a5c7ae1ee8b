"""What soft labels are made by: how many classes, smoothing, an id to ignore, and a rule."""

from __future__ import annotations

from typing import Literal

from batchmix._errors import mix_error
from batchmix._numbers import is_number, is_whole

Rule = Literal["blend", "union", "threshold"]


def check_options(
    where: str, classes: int | None, smoothing: float, ignore: int | None = None,
    rule: Rule = "blend", threshold: float = 0.5,
) -> None:  # fmt: skip
    """A number of classes, or None, a share to smooth by, and a rule with what belongs to it."""
    if classes is not None and not (is_whole(classes) and 0 < classes < 2**31):
        raise mix_error(
            where, f"got classes={classes!r}.", "It counts classes, from 1.",
            "Pass an integer such as 10.",
        )  # fmt: skip
    if not (is_number(smoothing) and 0 <= smoothing < 1):
        raise mix_error(
            where, f"got smoothing={smoothing!r}.", "It is a share, 0 <= s < 1.",
            "0.1 is the usual value.",
        )  # fmt: skip
    if ignore is None and rule == "blend" and threshold == 0.5:  # as in almost every step
        return
    if ignore is not None and not (is_whole(ignore) and abs(ignore) < 2**31):
        raise mix_error(
            where, f"got ignore={ignore!r}.", "It is the id of rows without a label.",
            "Pass an integer such as -100, or None.",
        )  # fmt: skip
    if rule not in ("blend", "union", "threshold"):
        raise mix_error(
            where, f"got rule={rule!r}.", "It is 'blend', 'union' or 'threshold'.",
            "Pass one of the three.",
        )  # fmt: skip
    _check_rule(where, smoothing, rule, threshold)


def _check_rule(where: str, smoothing: float, rule: Rule, threshold: float) -> None:
    """Labels of 0 and 1 are not smoothed, and only one rule has a threshold."""
    if not (is_number(threshold) and 0 < threshold <= 1):
        raise mix_error(
            where, f"got threshold={threshold!r}.", "It is a share of the row, 0 < t <= 1.",
            "0.5 is the usual value.",
        )  # fmt: skip
    if rule != "threshold" and threshold != 0.5:
        raise mix_error(
            where, f"got threshold={threshold!r} with rule={rule!r}.",
            "Only rule='threshold' compares with one.", "Pass rule='threshold', or leave it out.",
        )  # fmt: skip
    if rule != "blend" and smoothing:
        raise mix_error(
            where, f"got smoothing={smoothing!r} with rule={rule!r}.",
            "Such labels are 0 or 1 for each class; smoothing is for shares that sum to 1.",
            "Leave one of the two out.",
        )  # fmt: skip
