"""Settings of the process that belong to the whole run: what they are, and putting them back.

All but the gradient mode are of the process and not of a thread. So a thread that changes one of them while another
takes a step lets the component that is just called there seem to have changed it.
"""

from __future__ import annotations

# `signal.getsignal` makes an enum of what this one returns, which takes longer than all else here.
import _signal  # type: ignore[import-not-found]
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

__all__ = ["keeping_settings", "put_back", "read_settings"]

# Each backend before its operations, which follow it where they have no value of their own; and all follow the first.
# Not all operations that torch has: each costs as much as all the other settings together.
_FP32 = (
    *(("generic", "all"), ("cuda", "all"), ("cuda", "matmul"), ("cuda", "conv"), ("cuda", "rnn")),
    *(("mkldnn", "all"), ("mkldnn", "matmul")),
)
# What the older setting for products calls their precision on a GPU and on a CPU.
_PRODUCTS = {("tf32", "tf32"): "high", ("tf32", "bf16"): "medium"}
_fp32: Callable[[str, str], str] = torch._C._get_fp32_precision_getter
_set_fp32: Callable[[str, str, str], Any] = torch._C._set_fp32_precision_setter


def _read_fp32() -> tuple[str, ...]:
    """Return `torch.backends.fp32_precision` and those below; the older settings cannot be read after these are set."""
    return tuple([_fp32(backend, operation) for backend, operation in _FP32])


def _write_fp32(old: tuple[str, ...]) -> None:
    """Set them, and the older settings too, so that who has used those can still read them."""
    before = dict(zip(_FP32, old, strict=True))
    products = _PRODUCTS.get((before["cuda", "matmul"], before["mkldnn", "matmul"]), "highest")
    torch.set_float32_matmul_precision(products)
    if any(_fp32("cuda", operation) != before["cuda", operation] for operation in ("conv", "rnn")):
        torch._C._set_cudnn_allow_tf32(before["cuda", "conv"] == "tf32")
    for (backend, operation), value in before.items():
        _set_fp32(backend, operation, "none")  # so that it follows what is above again, if it did
        if _fp32(backend, operation) != value:
            _set_fp32(backend, operation, value)


def _read_folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


# What reads each, and what puts it back.
_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "the gradient mode": (torch.is_grad_enabled, torch._C._set_grad_enabled),
    "deterministic algorithms": (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    "the precision of float32": (_read_fp32, _write_fp32),
    "cuDNN's benchmark mode": (torch._C._get_cudnn_benchmark, torch._C._set_cudnn_benchmark),
    "cuDNN's deterministic mode": (torch._C._get_cudnn_deterministic, torch._C._set_cudnn_deterministic),
    "the working folder": (_read_folder, os.chdir),
}
# Only the main thread may set these.
_SIGNALS = {
    f"the handler of {number.name}": (partial(_signal.getsignal, number), partial(signal.signal, number))
    for number in (signal.SIGINT, signal.SIGTERM)
}
_ALL = _SETTINGS | _SIGNALS
_READ = tuple(read for read, _ in _SETTINGS.values())
_READ_ALL = tuple(read for read, _ in _ALL.values())


def read_settings() -> list[Any]:
    """Return the settings; those that this thread could not put back are left out."""
    main = threading.get_ident() == threading.main_thread().ident
    return [read() for read in (_READ_ALL if main else _READ)]


def put_back(before: Sequence[Any]) -> list[str]:
    """Put the settings back, and return the names of those that had changed.

    Args:
        before: What `read_settings` returned, in the same thread.
    """
    now = read_settings()
    if now == before:
        return []
    changed = []
    for (name, (_, write)), old, new in zip(_ALL.items(), before, now, strict=False):
        if old != new and old is not None:  # a handler that is None is not Python's: there is nothing to put back
            write(old)
            changed.append(name)
    return changed


@contextmanager
def keeping_settings() -> Iterator[None]:
    """Put the settings of the process back after the block, for components that change them when they are made."""
    before = read_settings()
    try:
        yield
    finally:
        put_back(before)
