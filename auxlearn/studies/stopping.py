"""Signals as an exception: what runs in a study is told once, saves what it has, and ends."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["Stopped", "noting", "stopping"]


class Stopped(KeyboardInterrupt):
    """A signal asked to stop; nobody takes it for a failure of what it interrupted.

    Args:
        signal: Its number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into `Stopped`, but for one that the parent had ignored.

    Outside the main thread, where that cannot be, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def noting() -> Iterator[Callable[[], int | None]]:
    """Note SIGINT and SIGTERM, whoever handles them; the value returns the last one, or None.

    A run whose last step it was ends as if there had been no signal; the study has to know of it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        try:
            yield lambda: _last(ours)
        finally:
            signal.set_wakeup_fd(before)


def _last(noted: socket.socket) -> int | None:
    try:
        numbers = noted.recv(4096)
    except BlockingIOError:
        return None
    return next((number for number in reversed(numbers) if number in (signal.SIGINT, signal.SIGTERM)), None)
