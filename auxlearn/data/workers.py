"""Deaths of loader workers, told as what they are: an error of the data that the main process cannot look into."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from auxlearn.data.problems import problem
from auxlearn.errors import Call, DataError

__all__ = ["lost_worker", "watch_workers"]


def lost_worker(error: RuntimeError) -> DataError | None:
    """Return the error to raise instead of `error`, if that is how torch says that a worker died or is late."""
    text = str(error).strip()
    if not text.startswith("DataLoader"):
        return None
    if "timed out" in text:
        what, fix = "gave no batch in time", "raise `data.timeout`, or look at the storage"
    else:
        what = "was ended from outside, by the system for lack of memory, or by the code of the data source"
        fix = "use fewer `data.workers`; with 0, which reads in the training process, the code says what it does"
    lost = DataError(problem("", f"a process that reads data {what} ({text})", fix=fix))
    lost.call = Call("data", "", "__getitem__")  # whatever the main process was at when it heard of it
    return lost


def watch_workers() -> None:
    """Let the death of a worker arrive as a `DataError`.

    Torch looks after its workers in a handler of SIGCHLD, which raises a RuntimeError wherever the main process is at
    that moment: seldom in the loader, mostly in the middle of a step. So the handler is where it has to be translated.
    """
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        return
    handler = signal.getsignal(signal.SIGCHLD)
    if callable(handler) and not isinstance(handler, _Translated):
        signal.signal(signal.SIGCHLD, _Translated(handler))


class _Translated:
    """Torch's handler, with its error translated."""

    def __init__(self, handler: Any) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            self.handler(number, frame)
        except RuntimeError as error:
            raise lost_worker(error) or error from None
