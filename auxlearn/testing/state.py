"""The state that all plugins share: read, to see whether one changed it, and put back after it did."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["global_settings", "preserved", "random_state", "scramble"]


def global_settings() -> dict[str, Any]:
    """Return the settings of the process that a plugin may not change, by how they are asked for."""
    return {
        "torch.get_default_dtype()": torch.get_default_dtype(),
        "torch.get_default_device()": torch.get_default_device(),
        "torch.get_num_threads()": torch.get_num_threads(),
        "torch.is_grad_enabled()": torch.is_grad_enabled(),
        "torch.are_deterministic_algorithms_enabled()": torch.are_deterministic_algorithms_enabled(),
        "torch.is_deterministic_algorithms_warn_only_enabled()": (
            torch.is_deterministic_algorithms_warn_only_enabled()
        ),
        "torch.get_float32_matmul_precision()": torch.get_float32_matmul_precision(),
        "torch.is_anomaly_enabled()": torch.is_anomaly_enabled(),
        "torch.is_autocast_enabled('cpu')": torch.is_autocast_enabled("cpu"),
        "torch.backends.cudnn.benchmark": torch.backends.cudnn.benchmark,
        "torch.backends.cudnn.deterministic": torch.backends.cudnn.deterministic,
        "os.getcwd()": os.getcwd(),
        "signal.getsignal(SIGINT)": signal.getsignal(signal.SIGINT),
        "signal.getsignal(SIGTERM)": signal.getsignal(signal.SIGTERM),
    }


def random_state() -> dict[str, Any]:
    """Return the state of the global generators, each as something that compares by value."""
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": {name: np.asarray(value).tobytes() for name, value in _numpy_state().items()},
        "random": random.getstate(),
    }


def _numpy_state() -> dict[str, Any]:
    state = np.random.get_state(legacy=False)
    return {**state["state"], "position": [state["has_gauss"], state["gauss"]]}


def scramble(seed: int) -> None:
    """Seed the global generators."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


@contextmanager
def preserved() -> Iterator[None]:
    """Put the global generators and settings back after the block, whatever happened in it."""
    before, states = global_settings(), (torch.get_rng_state(), np.random.get_state(), random.getstate())
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        _put_back(before)


def _put_back(before: dict[str, Any]) -> None:
    torch.set_default_dtype(before["torch.get_default_dtype()"])
    if torch.get_default_device() != before["torch.get_default_device()"]:
        torch.set_default_device(before["torch.get_default_device()"])
    if torch.get_num_threads() != before["torch.get_num_threads()"]:
        torch.set_num_threads(before["torch.get_num_threads()"])
    torch.set_grad_enabled(before["torch.is_grad_enabled()"])
    torch.use_deterministic_algorithms(
        before["torch.are_deterministic_algorithms_enabled()"],
        warn_only=before["torch.is_deterministic_algorithms_warn_only_enabled()"],
    )
    torch.set_float32_matmul_precision(before["torch.get_float32_matmul_precision()"])
    torch.autograd.set_detect_anomaly(before["torch.is_anomaly_enabled()"])
    torch.backends.cudnn.benchmark = before["torch.backends.cudnn.benchmark"]
    torch.backends.cudnn.deterministic = before["torch.backends.cudnn.deterministic"]
    os.chdir(before["os.getcwd()"])
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM"):
            handler = before[f"signal.getsignal({name})"]
            if handler is not None:
                signal.signal(getattr(signal, name), handler)
