"""Progress on standard error: live on a terminal, lines elsewhere, nothing with --quiet."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from batchmix.cli._output import shown
from batchmix.cli._tally import Tally

if TYPE_CHECKING:
    from rich.console import RenderableType

    from batchmix.cli.lab.trials.pool import Event

SILENCE = 25.0  # seconds without a line after which one says what is going on
Tell = Callable[[int, int], None]


class Progress:
    """What a command is doing. To be used in a `with` block."""

    def __init__(self, quiet: bool = False, silence: float = SILENCE) -> None:
        self._quiet, self._silence = quiet, silence
        self._doing, self._shown, self._last = "", 0.0, time.monotonic()
        self._tally: Tally | None = None
        self._over = threading.Event()
        self._live: Any = None

    def __enter__(self) -> Progress:
        if self._quiet:
            return self
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(
                get_renderable=self._render,
                console=Console(stderr=True),
                refresh_per_second=4,
                transient=True,
            )
            self._live.start()
        else:
            threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing more is shown; the terminal is as it was."""
        self._over.set()
        self._quiet = True
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, line: str) -> None:
        """A line that stays."""
        self._last = time.monotonic()
        if self._quiet:
            return
        if self._live is not None:
            self._live.console.print(shown(line), markup=False, highlight=False, soft_wrap=True)
        else:
            print(shown(line), file=sys.stderr, flush=True)

    def reading(self, what: str) -> Tell:
        """Begin to count, such as 'checking files'; call the result with (done, total)."""
        self._doing = f"{what} ..."
        if self._live is None:
            self.say(self._doing)

        def tell(done: int, total: int) -> None:
            self._doing = f"{what}: {done:,} of {total:,}"

        return tell

    def trials(self, tally: Tally) -> Callable[[Event], None]:
        """Follow trials; call the result with their events."""
        self._tally = tally
        self.say(f"training: {tally.state()}")

        def tell(event: Event) -> None:
            tally.take(event)
            line = tally.told(event)
            if line and (self._live is None or event.kind != "outcome"):
                self.say(line)

        return tell

    def done(self) -> None:
        """What was going on is over."""
        self._doing, self._tally = "", None

    def _now(self) -> str:
        return self._tally.state() if self._tally else self._doing

    def _beat(self) -> None:
        """A sign of life where nothing was said for long."""
        while not self._over.wait(min(1.0, self._silence)):
            if time.monotonic() - self._last >= self._silence and self._now():
                self.say(f"{self._now()} ...")

    def _render(self) -> RenderableType:
        """The partial table of the trials, or what else is going on."""
        from rich import box
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        if self._tally is None:
            return Text(self._doing)
        lines = self._tally.lines()
        noisy = any(line.noise for line in lines)
        grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for heading in (["wrong labels"] if noisy else []) + ["policy", "trials", "so far"]:
            grid.add_column(heading, no_wrap=True)
        for line in lines:
            cells = [line.arm, f"{line.done}/{line.planned}", line.figure]
            grid.add_row(*([f"{100 * line.noise:g} %"] if noisy else []), *map(Text, cells))
        done, planned = self._tally.epochs
        bar = ProgressBar(total=max(1, planned), completed=done, width=40)
        return Group(grid, bar, Text(f"\n{self._tally.state()}"))  # a bar ends no line
