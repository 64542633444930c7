"""Work done by one process and by two together, to compare: what holds for one must hold for many."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

__all__ = ["alone_and_together", "outcomes_of"]


def alone_and_together(work: Callable[[str, int], None]) -> int:
    """Call `work(name, world)` in three forked processes, and return the highest exit code.

    `"rank0"` and `"rank1"` find what `torchrun` tells a world of two; `"alone"` is a world of one. Forking makes the
    imports of the calling script count once. Nothing may have started threads before, so call it from a script of its
    own; it needs an operating system that forks.

    Args:
        work: Does the work, and leaves what is to be compared in files.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.set_num_threads(1)
    places = (("rank0", 0, 2), ("rank1", 1, 2), ("alone", 0, 1))
    children = [_fork(work, name, rank, world, port) for name, rank, world in places]
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


def outcomes_of(script: Path, folder: Path, *options: str, timeout: float = 600.0) -> dict[str, Any]:
    """Run a script that ends in `alone_and_together`, and return what each process saved as `<name>.pt`.

    Args:
        script: Gets the folder as its argument.
        folder: Where the files are left.
        options: Of the interpreter.
        timeout: Seconds after which it is stopped.

    Raises:
        RuntimeError: If it fails, or warns of something deprecated, with the end of what it said.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RANK", "WORLD", "MASTER"))}
    done = subprocess.run(
        [sys.executable, *options, str(script), str(folder)],
        env={**env, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode or "deprecated" in done.stderr:
        raise RuntimeError(f"{script.name} ended with {done.returncode}: {done.stderr[-4000:]}")
    return {name: torch.load(folder / f"{name}.pt", weights_only=True) for name in ("alone", "rank0", "rank1")}


def _fork(work: Callable[[str, int], None], name: str, rank: int, world: int, port: int) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        if world > 1:
            os.environ |= _told_by_torchrun(rank, world, port)
        work(name, world)
        if world > 1:
            torch.distributed.destroy_process_group()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _told_by_torchrun(rank: int, world: int, port: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }
