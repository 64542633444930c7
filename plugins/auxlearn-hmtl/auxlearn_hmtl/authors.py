"""What the first author's public code trains, as far as a spec can say it.

The code is `mahdip72/AffectNet-with-Self-Supervised-auxiliary-tasks` at 2f90314, and for Barlow Twins
`mahdip72/image-recognition-with-auxiliary-tasks` at 856912f: TensorFlow, a ResNet-50 from random weights, AffectNet. It
weights a row of the emotion loss by the count of the most frequent class over that of its own, and divides by the
number of rows. `class_weights: "balanced"` is proportional to these weights and divides by their sum, so the task's
weight of 3.74, the mean of the code's weights on AffectNet, gives the code's loss on average, not in every batch.

Its optimizer, `AdaBeliefOptimizer` of adabelief-tf, rectifies by default, as timm's `radabelief` does, and has 1e-14 as
epsilon. What differs from the code stands in the README of the plugin.
"""

from __future__ import annotations

from typing import Any

__all__ = ["AUTHORS"]

Json = dict[str, Any]

_ROW_WEIGHT = 3.74

_EMOTION: Json = {"emotion": {"type": "fer", "dropout": 0.3, "class_weights": "balanced", "weight": _ROW_WEIGHT}}
_PUZZLE: Json = {"type": "puzzling", "grid": 3, "dropout": 0.2, "reduction": "sum", "view": "shared", "weight": 1.0}
_TILES: Json = {"type": "rotation", "tiles": 3, "dropout": 0.2, "reduction": "sum", "view": "shared", "weight": 1.0}

_ADABELIEF: Json = {"type": "timm", "name": "radabelief", "eps": 1e-14, "lr": 1e-3, "weight_decay": 0.0}

# sl_ssl_puzzle.py, sl_ssl_rotation.py, sl_ssl_puzzle_rotation.py
_ONE_PASS: Json = {
    "data": {"size": 350},
    "augment": {"type": "weak", "size": 224},
    "backbone": {"type": "timm", "model": "resnet50"},
    "primary": _EMOTION,
    "optimizer": _ADABELIEF,
    "schedule": {"type": "step", "milestones": [15, 40], "gamma": 0.1},
    "train": {"epochs": 80, "batch_size": 32},
}

# sl_ssl_puzzling_siamese.py: a clean pass at 112 px, and the same puzzle at three sizes, of which two are drawn anew in
# each step. The sum of the 27 cross entropies has weight 0.3. The crop has a side of 150 to 199 of 200 px, and
# evaluation sees the central 0.85.
_SIAMESE: Json = {
    **_ONE_PASS,
    "data": {"size": 200},
    "augment": {
        "type": "simclr",
        "size": 112,
        "scale_min": 0.5625,
        "scale_max": 0.99,
        "ratio": 1.0,
        "jitter": 0.9,
        "brightness": 0.32,
        "contrast": 0.32,
        "saturation": 0.32,
        "hue": 0.08,
        "grayscale": 0.3,
        "blur": 0.2,
        "blur_sigma_min": 1.5,
        "blur_sigma_max": 1.5,
        "eval_crop": 0.85,
    },
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
    "optimizer": {**_ADABELIEF, "lookahead": True},
    "schedule": {"type": "cosine", "warmup_epochs": 3},
    "train": {"epochs": 200, "batch_size": 128},
}

# A square of 200 to 299 of 350 px and nothing else.
_CROP: Json = {"scale_min": 0.3265, "scale_max": 0.73, "ratio": 1.0, "flip": 0.0, "jitter": 0.0, "grayscale": 0.0}

# sl_ssl_barlow_twins_v2.py of the second repository, on the expressions of the first. There both views teach the
# supervised task, and their cross entropies are added, rows without weights: hence the 2. Here the clean view does too.
_BARLOW: Json = {
    "data": {"size": 350},
    "augment": {"type": "simclr", "size": 112, **_CROP, "blur": 0.0, "eval_crop": 0.85},
    "backbone": {"type": "timm", "model": "mobilenetv2_100"},
    "primary": {"emotion": {"type": "fer", "weight": 2.0}},
    "pretext": {
        "barlow": {
            "type": "barlow_twins",
            "redundancy": 5e-3,
            "layers": 1,
            "hidden": 1024,
            "out": 512,
            "augment": {
                "scale_min": 0.5,
                "ratio": 1.0,
                "jitter": 1.0,
                "brightness": 0.0,
                "contrast": 0.0,
                "saturation": 0.0,
                "hue": 0.05,
                "grayscale": 0.0,
                "blur": 0.0,
            },
            "view": "own",
            "supervise": True,
            "weight": 1.0,
        }
    },
    "optimizer": _ADABELIEF,
    "schedule": {"type": "step", "milestones": [20, 40], "gamma": 0.1},
    "train": {"epochs": 200, "batch_size": 128},
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
    "hmtl-barlow-twins-code": (
        "The authors' second repository: Barlow Twins, from whose views the supervised task learns too.",
        _BARLOW,
    ),
}
