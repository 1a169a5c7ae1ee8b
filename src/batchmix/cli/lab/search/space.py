"""What a search chooses among: the policy, its alpha, how often it mixes, and until when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from batchmix._errors import mix_error
from batchmix.cli._forms import FORMS


class Range(NamedTuple):
    """Numbers from low to high: on a log scale, or in steps."""

    low: float
    high: float
    step: float | None = None  # None: log scale


PROB = Range(0.2, 1.0, 0.1)  # probability that a batch is mixed
OFF = Range(0.5, 1.0, 0.1)  # share of the epochs after which mixing is off; 1: never


@dataclass(frozen=True)
class Space:
    """The candidates of a search in a training of `epochs`; no mixing is beside them, always."""

    policies: tuple[str, ...]
    epochs: int

    def ranges(self, policy: str) -> dict[str, Range]:
        """The numbers to choose for a policy; each policy has numbers of its own."""
        own = {f"{policy} {name}": Range(*ends) for name, ends in FORMS[policy].numbers.items()}
        return own | {"prob": PROB, "off": OFF}

    def usual(self) -> list[dict[str, Any]]:
        """Settings of the policies' examples: what a search tries first."""
        return [
            {"policy": policy, "prob": 1.0, "off": 1.0}
            | dict(zip(list(self.ranges(policy)), _numbers(FORMS[policy].example), strict=False))
            for policy in self.policies
        ]

    def arm(self, settings: Mapping[str, Any]) -> str:
        """The settings as a word of `_words.parse`; numbers of a policy to two digits."""
        policy = settings["policy"]
        words = [f"{settings[f'{policy} {name}']:.2g}" for name in FORMS[policy].numbers]
        if settings["prob"] < 1:
            words.append(f"prob={settings['prob']:.1g}")
        if settings["off"] < 1:
            words.append(f"off={max(1, round(settings['off'] * self.epochs))}")
        return f"{policy}:{','.join(words)}" if words else policy


def space(text: str, epochs: int) -> Space:
    """The space of the policies named in `text`, the words of --search."""
    words = list(dict.fromkeys(text.split()))
    for word in words:
        if word not in FORMS:
            raise mix_error(
                "--search",
                f"got {word!r}.",
                f"A search is among {', '.join(FORMS)}; none is always one of its candidates.",
                "Write for example --search 'mixup cutmix'.",
            )
    if not words:
        raise mix_error(
            "--search",
            "it names no policy.",
            "A search needs one policy at least.",
            "Write for example --search 'mixup cutmix'.",
        )
    return Space(tuple(words), epochs)


def _numbers(example: str) -> list[float]:
    """Those after the colon."""
    return [float(word) for word in example.partition(":")[2].split(",") if word]
