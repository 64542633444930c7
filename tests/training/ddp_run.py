"""A script that trains with two processes, as a user would: Fabric starts it again for the second one."""

import sys

import torch

import auxlearn
from auxlearn.errors import AuxlearnError, Interrupted
from auxlearn.testing import plugin
from auxlearn.training.progress import Lines

torch.set_num_threads(1)

SPEC = {
    "auxlearn": 1,
    "name": "two",
    "data": {"type": "tiny", "lacking": 5},
    "backbone": {"type": "tiny", "norm": False},
    "primary": {"kind": {"type": "tiny"}},
    "pretext": {"flip": {"type": "tiny", "view": "own", "portion": 0.5, "every": 2}},
    "train": {"epochs": 2, "batch_size": 8, "accelerator": "cpu", "ema": 0.9},
    "log": {"every_steps": 2},
}

if __name__ == "__main__":
    out, devices, action = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    spec = SPEC | {"train": SPEC["train"] | {"devices": devices}}
    try:
        if action == "resume":
            result = auxlearn.resume(out, plugins=[plugin])
        else:
            result = auxlearn.run(spec, out=out, plugins=[plugin], reporter=Lines(0.0))
        if result.rank == 0:
            print(result.best, result.test)
    except Interrupted as stop:
        sys.exit(stop.code)
    except AuxlearnError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
