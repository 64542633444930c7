"""Signals: a request to stop is a flag, which the loop reads between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["StopRequest", "catch_signals"]


class StopRequest:
    """Which signal, if any, asked the run to stop."""

    signal: int | None = None


@contextmanager
def catch_signals() -> Iterator[StopRequest]:
    """Turn the first SIGINT or SIGTERM into a `StopRequest`; a second one acts as if nobody had caught the first.

    Outside the main thread, where signals cannot be caught, the request stays empty; and signals that the parent had
    ignored, as a shell does for jobs in the background of a script, stay ignored.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    seen: set[int] = set()

    # It stays in place: a step finds that out of order which is not as the step began (`auxlearn.settings`).
    def remember(number: int, frame: FrameType | None) -> None:
        if number in seen:
            _as_if_not_caught(before[signal.Signals(number)], number, frame)
        request.signal = number
        seen.add(number)

    for number in before:
        signal.signal(number, remember)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _as_if_not_caught(handler: Any, number: int, frame: FrameType | None) -> None:
    if callable(handler):
        handler(number, frame)
    elif handler == signal.SIG_DFL:
        signal.signal(number, handler)
        signal.raise_signal(number)
