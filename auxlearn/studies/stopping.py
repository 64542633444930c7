"""Signals as an exception: what runs in a study is told once, saves what it has, and ends."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["Stopped", "stopping"]


class Stopped(BaseException):
    """A signal asked to stop; like KeyboardInterrupt it is no Exception.

    Args:
        signal: Its number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into `Stopped`; outside the main thread, where that cannot be, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
