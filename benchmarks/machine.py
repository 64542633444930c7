"""Where and with what a measurement was made."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

import torch

__all__ = ["describe"]

_PACKAGES = ("torch", "timm", "kornia", "torchvision", "lightning", "accelerate", "numpy", "pillow")


def describe() -> Mapping[str, str]:
    """Return date, hardware, versions, threads and commit, each as one line of text."""
    cores = f"{os.cpu_count()} cores"
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "hardware": ", ".join(filter(None, [_processor(), cores, _memory()])),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()) + " (others on the machine over 1, 5, 15 minutes)",
        "threads": str(torch.get_num_threads()),
        "software": ", ".join([f"Python {platform.python_version()}", *map(_version, _PACKAGES)]),
    }


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"no {package}"


def _commit() -> str:
    def git(*arguments: str) -> str:
        here = Path(__file__).parent
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "../auxlearn", "../plugins")
        return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    return _field(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine()


def _memory() -> str:
    kilobytes = _field(Path("/proc/meminfo"), "MemTotal").removesuffix(" kB")
    return f"{int(kilobytes) / 2**20:.0f} GiB" if kilobytes else ""


def _field(path: Path, name: str) -> str:
    """Return the first value of `name` in a file of lines `name: value`; empty if there is none."""
    if not path.is_file():
        return ""
    lines = (line.partition(":") for line in path.read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")
