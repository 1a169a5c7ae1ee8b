"""What was done to several batches in the numbers of one, for hosts that log by the epoch."""

from __future__ import annotations


class Logged:
    """The mean over batches of what `Mixer.summary` said of each; no numbers of no batch."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self._sums: tuple[int, dict[str, float]] = (0, {})

    def add(self, summary: dict[str, float]) -> None:
        """Count a batch."""
        count, sums = self._sums
        sums = {name: sums.get(name, 0.0) + value for name, value in summary.items()}
        self._sums = (count + 1, sums)  # at once: another thread may ask for the mean

    def mean(self) -> dict[str, float]:
        """The mean over the batches since `clear`."""
        count, sums = self._sums
        return {name: total / count for name, total in sums.items()}
