"""Drop-ins: what a subclass overrides is called, or refused."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from batchmix.extend import mix_error


def refuse_overrides(of: Any, steps: Collection[str], originals: tuple[type, ...]) -> None:
    """Raise if a class, or an object, has other methods for `steps` than `originals` have.

    These are methods that the originals go through and their drop-ins do not.
    """
    if isinstance(of, type):
        own = [
            name for name in steps
            if all(getattr(of, name, None) is not getattr(one, name, None) for one in originals)
        ]  # fmt: skip
    else:
        own = [name for name in steps if name in vars(of)]
    if own:
        raise mix_error(
            (of if isinstance(of, type) else type(of)).__name__,
            f"overrides {', '.join(sorted(own))}.",
            "A policy draws here, and a plan is mixed in one pass: these are not called.",
            "Override what is called with a batch, subclass the original, or write a policy.",
        )
