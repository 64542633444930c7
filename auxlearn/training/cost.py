"""What a training costs: `PeakMemory`, of the process and of its device, and `StepTime`."""

from __future__ import annotations

import contextlib
import ctypes
import re
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

__all__ = ["PeakMemory", "StepTime"]

_WINDOW = 60  # steps
_PAUSE = 10  # times the median of its window: more is no step but a machine that slept or was taken away
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class StepTime:
    """The mean time of a step over a whole training, whatever tasks come and go in it.

    The first step of a process, which sets much up, is left out. A step that took more than ten times the median of the
    sixty around it counts as that median. Resuming goes on with what was measured before.

    Examples:
        >>> from auxlearn.training.cost import StepTime
        >>> time = StepTime()
        >>> for seconds in (9.0, 1.0, 3.0, 2.0):
        ...     time.add(seconds)
        >>> time.read()
        {'seconds_per_step': 2.0, 'timed_steps': 3}
    """

    def __init__(self) -> None:
        self._total, self._count = 0.0, 0
        self._window: list[float] = []
        self._first = True

    def add(self, seconds: float) -> None:
        """Take in a step."""
        if self._first:
            self._first = False
            return
        self._window.append(seconds)
        if len(self._window) == _WINDOW:
            self._total, self._count = self._sums()
            self._window = []

    def read(self) -> dict[str, Any]:
        """Return the mean, None where no step was timed, and the number of steps."""
        total, count = self._sums()
        return {"seconds_per_step": total / count if count else None, "timed_steps": count}

    def state(self) -> dict[str, Any]:
        """Return what `status.json` keeps; checkpoints of equal runs are equal bit for bit, and times are not."""
        total, count = self._sums()
        return {"seconds": total, "steps": count}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what `state` returned, if anything."""
        self._total, self._count = state.get("seconds", 0.0), state.get("steps", 0)

    def _sums(self) -> tuple[float, int]:
        usual = statistics.median(self._window) if self._window else 0.0
        kept = (seconds if seconds <= _PAUSE * usual else usual for seconds in self._window)
        return self._total + sum(kept), self._count + len(self._window)


class PeakMemory:
    """The peak since it was made.

    Of the process it is the resident memory, with all libraries: on Linux the kernel's high-water mark, which is reset
    here, so that an earlier training in the same process does not count; elsewhere, or where the kernel lets nobody
    reset it, the highest since the process began. Of a GPU it is what torch allocated.

    Args:
        device: Where the training runs.

    Examples:
        >>> import torch
        >>> from auxlearn.training.cost import PeakMemory
        >>> sorted(PeakMemory(torch.device("cpu")).read())
        ['device_memory', 'memory']
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        _return_freed()
        with contextlib.suppress(OSError):
            _RESET.write_text("5")  # the value that resets the mark, and does nothing else

    def read(self, *, known: bool = True) -> dict[str, Any]:
        """Return the bytes, None where nobody knows: `memory` of the process, `device_memory` of the GPU.

        Args:
            known: Whether anything was trained since it was made.
        """
        if not known:
            return {"memory": None, "device_memory": None}
        device = torch.cuda.max_memory_allocated(self._device) if self._device.type == "cuda" else None
        return {"memory": _peak(), "device_memory": device}


def _return_freed() -> None:
    """Give memory that was freed earlier back to the system, else it would count as used."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if trim is not None:
        trim(0)


def _peak() -> int | None:
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest * 1024
