"""`batchmix bench`: how fast this machine mixes, beside copying and scaling the same memory."""

from __future__ import annotations

import itertools
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from batchmix._errors import mix_error
from batchmix.cli._output import AsJson, Quiet, print_json

if TYPE_CHECKING:
    from batchmix.policies import Policy

Shape = tuple[int, ...]
Call = tuple[str, str, Callable[[], Any]]  # work, how, what is timed
_LEAST, _MOST = 5, 101  # samples of each line
_MOST_NUMBERS = 2**40  # no machine holds more


def bench(
    shape: Annotated[str, Option(help="ROWSxCHANNELSxHEIGHTxWIDTH of the batch.")] = (
        "64x3x224x224"
    ),
    threads: Annotated[
        int | None, Option(min=1, max=1024, help="Default: as the kernel chooses.")
    ] = None,
    seconds: Annotated[
        float, Option(min=0.0, max=3600.0, help="Per line, five samples at least.")
    ] = 0.5,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Time this machine's kernel: MixUp, CutMix, and both per row, on a float32 batch of NumPy.

    mix: the pixels alone, with plans that are drawn already. Mixer: the whole step, with plan and
    labels of ten classes. x limit: time over that of an in-place scale (in place) or of a copy (all
    else) of the same batch; no mix can be faster than the memory that it touches.
    """
    sizes = _shape(shape)

    from batchmix import backends

    backends.set_threads(threads)
    try:
        kernel, lines = backends.kernels(), _measured(list(_calls(sizes)), seconds, quiet)
    finally:
        backends.set_threads(None)
    if as_json:
        print_json({"shape": sizes, "kernel": kernel, "lines": lines})
    else:
        _print(f"{shape} float32, kernel {kernel['host']}, threads {threads or 'default'}", lines)


def _shape(text: str) -> Shape:
    """Rows, channels, height, width."""
    words = text.lower().split("x")
    numbers = [int(word) if word.isdecimal() and len(word) < 10 else 0 for word in words]
    if len(numbers) != 4 or not all(numbers) or math.prod(numbers) > _MOST_NUMBERS:
        raise mix_error(
            "--shape", f"got {text!r}.",
            "It is ROWSxCHANNELSxHEIGHTxWIDTH, each >= 1, and three such batches fit into memory.",
            "Try --shape 64x3x224x224.",
        )  # fmt: skip
    return tuple(numbers)


def _calls(shape: Shape) -> Iterator[Call]:
    """The two limits first."""
    import numpy as np

    from batchmix.policies import CutMix, MixUp, Switch

    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    work, out, minus = x.copy(), np.zeros_like(x), np.float32(-1)
    yield "limit", "in place, scale", lambda: np.multiply(work, minus, out=work)
    yield "limit", "out=, copy", lambda: np.copyto(out, x)
    mixup, cutmix = MixUp(1.0), CutMix(1.0)
    yield from _of("MixUp, per row", mixup, x, work, out)
    yield from _of("CutMix, per row", cutmix, x, work, out)
    yield from _of("both, per row", Switch([mixup, cutmix]), x, work, out)


def _of(name: str, policy: Policy, x: Any, work: Any, out: Any) -> Iterator[Call]:
    """The lines of one policy; `work` is mixed in place, again and again."""
    import numpy as np

    import batchmix as bm
    from batchmix.fields import Image, Labels

    y, size = np.arange(len(x)) % 10, dict(zip("HW", x.shape[2:]))
    drawn = [bm.draw(policy, bm.Key(0, 0, step), len(x), size) for step in range(8)]
    plans = itertools.cycle(drawn)  # so that no line hangs on one draw
    inside, outside = (
        bm.Mixer(policy, {0: Image("NCHW"), 1: Labels(10)}, inplace=on) for on in (True, False)
    )
    yield name, "in place, mix", lambda: bm.mix(work, next(plans), "NCHW", out=work)
    yield name, "in place, Mixer", lambda: inside((work, y))
    yield name, "out=, mix", lambda: bm.mix(x, next(plans), "NCHW", out=out)
    yield name, "new array, mix", lambda: bm.mix(x, next(plans), "NCHW")
    yield name, "new array, Mixer", lambda: outside((x, y))


def _measured(calls: list[Call], seconds: float, quiet: bool) -> list[dict[str, Any]]:
    """Medians; all calls in turn, round by round, so that noise meets all alike."""
    if not quiet:
        print(f"timing {len(calls)} lines, {seconds:g} s each ...", file=sys.stderr, flush=True)
    samples: list[list[float]] = [[] for _ in calls]
    for turn in range(_MOST):
        for (_, _, call), found in zip(calls, samples):
            if turn < _LEAST or sum(found) < seconds:
                start = time.perf_counter()
                result = call()
                found.append(time.perf_counter() - start)
                del result  # outside of the clock
    scale, copy, *_ = times = [1e3 * statistics.median(found) for found in samples]
    return [
        {"work": work, "how": how, "ms": t, "limit": scale if how.startswith("in place") else copy}
        for (work, how, _), t in zip(calls, times)
    ]


def _print(title: str, lines: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False
    )
    for heading in ("work", "how", "ms", "x limit"):
        table.add_column(heading, justify="left" if heading in ("work", "how") else "right")
    for line in lines:
        over = line["ms"] / line["limit"]
        table.add_row(line["work"], line["how"], f"{line['ms']:.3g}", f"{over:.2f}")
    Console().print(table)
