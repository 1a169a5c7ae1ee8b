"""A request to end: Ctrl-C, or SIGTERM of a job queue."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class Stopped(BaseException):
    """Raised where the main thread is when the first signal comes.

    No KeyboardInterrupt, of which others make an exit code of their own.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGINT and SIGTERM raise `Stopped` once; the second ends this process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals do not come here
        return
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop(number: int, _: object) -> NoReturn:
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def fatal() -> Iterator[None]:
    """SIGTERM ends this process where it is: one that waits for others answers nothing else."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Noted:
    """A signal that came, for those who end where it suits them."""

    def __init__(self) -> None:
        self.code = 0  # of the exit, 128 + number; 0: none came


@contextmanager
def noted() -> Iterator[Noted]:
    """SIGINT and SIGTERM are written down once; the second ends this process at once."""
    numbers, found = (signal.SIGINT, signal.SIGTERM), Noted()

    def note(number: int, _: object) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)
        found.code = 128 + number

    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held() -> Iterator[None]:
    """SIGINT and SIGTERM wait until the block is over.

    By handlers and not by a mask: one of a thread does not keep the others from taking a signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals do not come here
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda n, _: came.append(n)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for each in dict.fromkeys(came):
            signal.raise_signal(each)
