"""`PeakMemory`: the most memory that a training took, of the process and of its device."""

from __future__ import annotations

import contextlib
import ctypes
import re
import sys
from pathlib import Path
from typing import Any

import torch

__all__ = ["PeakMemory"]

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


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

    def read(self) -> dict[str, Any]:
        """Return the bytes, None where nobody knows: `memory` of the process, `device_memory` of the GPU."""
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
