"""What the first author's public code trains, as far as a spec can say it.

The code is `mahdip72/AffectNet-with-Self-Supervised-auxiliary-tasks` at 2f90314, and for Barlow Twins
`mahdip72/image-recognition-with-auxiliary-tasks`: TensorFlow, a ResNet-50 from random weights, AffectNet. It weights a
row of the emotion loss by the count of the most frequent class over that of its own, and divides by the number of rows.
`class_weights: "balanced"` is proportional to these weights and divides by their sum, so the task's weight of 3.74, the
mean of the code's weights on AffectNet, gives the code's loss on average, not in every batch.

What differs on purpose: the checkpoint is selected by the supervised metric on `val`, not by the sum of all losses; and
the precision is the device's own (`train.precision`), where the code asks for float16. Of the code's three levels of
augmentation these presets have the weak one. The augmentation of the siamese script is not known, nor is all of the
second repository but its rate, batch and the weight in Barlow Twins; there the rest is that of the first, and its
weight decay of the head alone is left out.
"""

from __future__ import annotations

from typing import Any

__all__ = ["AUTHORS"]

Json = dict[str, Any]

_ROW_WEIGHT = 3.74

_EMOTION: Json = {"emotion": {"type": "fer", "dropout": 0.3, "class_weights": "balanced", "weight": _ROW_WEIGHT}}
_PUZZLE: Json = {"type": "puzzling", "grid": 3, "dropout": 0.2, "reduction": "sum", "view": "shared", "weight": 1.0}
_TILES: Json = {"type": "rotation", "tiles": 3, "dropout": 0.2, "reduction": "sum", "view": "shared", "weight": 1.0}

# sl_ssl_puzzle.py, sl_ssl_rotation.py, sl_ssl_puzzle_rotation.py
_ONE_PASS: Json = {
    "data": {"size": 350},
    "augment": {"type": "weak", "size": 224},
    "backbone": {"type": "timm", "model": "resnet50"},
    "primary": _EMOTION,
    "optimizer": {"type": "timm", "name": "adabelief", "lr": 1e-3, "weight_decay": 0.0},
    "schedule": {"type": "step", "milestones": [15, 40], "gamma": 0.1},
    "train": {"epochs": 80, "batch_size": 32},
}

# sl_ssl_puzzling_siamese.py: a clean pass, and the same puzzle at three sizes. Where the code has random sizes, a size
# is drawn for each step. The sum of the 27 cross entropies has weight 0.3.
_SIAMESE: Json = {
    **_ONE_PASS,
    "augment": {"type": "weak", "size": 128},
    "primary": _EMOTION,
    "pretext": {
        "puzzle": {
            "type": "puzzling",
            "grid": 3,
            "dropout": 0.3,
            "reduction": "sum",
            "sizes": [[113, 127], 112, [64, 110]],
            "view": "own",
            "supervise": True,
            "weight": 0.3,
        }
    },
    "balance": {"type": "geometric", "over": "views"},
    "optimizer": {"type": "timm", "name": "adabelief", "lookahead": True, "lr": 1e-3, "weight_decay": 0.0},
    "schedule": {"type": "cosine", "warmup_epochs": 3},
    "train": {"epochs": 200, "batch_size": 128},
}

# model.py, loss.py and runs.py of the second repository
_BARLOW: Json = {
    **_ONE_PASS,
    "pretext": {"barlow": {"type": "barlow_twins", "redundancy": 5e-3, "view": "own", "weight": 1.0}},
    "optimizer": {"type": "timm", "name": "adabelief", "lr": 1e-4, "weight_decay": 0.0},
    "schedule": {"type": "constant"},
    "train": {"epochs": 80, "batch_size": 64},
}

AUTHORS: dict[str, tuple[str, Json]] = {
    "hmtl-supervised-code": ("The authors' code for puzzles, without the puzzles.", _ONE_PASS),
    "hmtl-puzzling-code": (
        "The authors' code: puzzles of nine tiles, which all heads see.",
        {**_ONE_PASS, "pretext": {"puzzle": _PUZZLE}},
    ),
    "hmtl-rotation-code": (
        "The authors' code: nine tiles, each turned by quarters, which all heads see.",
        {**_ONE_PASS, "pretext": {"rotation": _TILES}},
    ),
    "hmtl-puzzling-rotation-code": (
        "The authors' code: puzzles of nine turned tiles, which all heads see.",
        {**_ONE_PASS, "pretext": {"puzzle": _PUZZLE, "rotation": _TILES}},
    ),
    "hmtl-puzzling-siamese-code": (
        "The authors' later code: a clean pass and puzzles at three sizes, geometric mean of the emotion losses.",
        _SIAMESE,
    ),
    "hmtl-barlow-twins-code": ("The authors' second repository: Barlow Twins beside the supervised task.", _BARLOW),
}
