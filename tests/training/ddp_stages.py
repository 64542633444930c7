"""A script that runs stages with several processes, as a user would: Fabric starts it again for the others."""

import sys

import torch

import auxlearn
from auxlearn.testing import plugin

torch.set_num_threads(1)

SPEC = {
    "auxlearn": 1,
    "name": "stages",
    "data": {"type": "tiny", "rows": 45},
    "backbone": {"type": "tiny", "norm": False},
    "primary": {"kind": {"type": "tiny", "probe": True}},
    "pretext": {"flip": {"type": "tiny", "view": "own"}},
    "train": {"epochs": 2, "batch_size": 8, "accelerator": "cpu"},
    "stages": [
        {"name": "pretrain", "evaluate": {"knn": {"kind": {"k": 5, "rows": 31}}}},
        {"name": "probe", "pretext": None, "backbone": {"freeze": True}},
    ],
}

if __name__ == "__main__":
    out, devices = sys.argv[1], int(sys.argv[2])
    result = auxlearn.run(SPEC | {"train": SPEC["train"] | {"devices": devices}}, out=out, plugins=[plugin])
    again = auxlearn.resume(out, plugins=[plugin])
    if result.rank == 0:
        print("done", result.test == again.test)
