"""The systems that the paper reports: a supervised task, alone or beside a pretext task.

The paper gives the tasks, the networks (EfficientNet-B0 and B2), one pass that all tasks share, and two levels of
augmentation. Optimizer, schedule, batch, the weights of the losses and everything about in-painting are not published:
they are our choices, the optimizer and its schedule close to the authors' later supervised training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["PAPER"]

Json = dict[str, Any]

_TRAINING: Json = {
    "data": {"size": 256},
    "augment": {"type": "weak", "size": 224},
    "backbone": {"type": "timm", "model": "efficientnet_b0"},
    "optimizer": {"type": "timm", "name": "adabelief", "lr": 1e-3, "weight_decay": 1e-4},
    "schedule": {"type": "cosine", "warmup_epochs": 5},
    "train": {"epochs": 80, "batch_size": 128},
}

# By part of the preset's name: words for the summary, and the supervised tasks.
_PRIMARY: dict[str, tuple[str, Json]] = {
    "": ("Facial expressions", {"emotion": {"type": "fer", "dropout": 0.3, "class_weights": "balanced"}}),
    "pose-": ("Head pose", {"pose": {"type": "head_pose"}}),
    "gender-": ("Gender", {"gender": {"type": "gender", "dropout": 0.3}}),
}

_ONE_PASS: Json = {"view": "shared"}
# Shuffled faces have no head pose to learn, so there the pretext tasks have a pass of their own.
_APART: Json = {"view": "own", "statistics": "batch"}

_INPAINTING: Json = {"type": "inpainting"}
_PERCEPTUAL: Json = {"network": "timm", "model": "tf_efficientnet_lite0", "weights": "packaged"}

# The same for what is learned beside them.
_PRETEXT: dict[str, tuple[str, Json]] = {
    "supervised": ("alone", {}),
    "puzzling": ("beside puzzling", {"puzzle": {"type": "puzzling", "grid": 3, "reduction": "mean"}}),
    "rotation": ("beside rotation", {"rotation": {"type": "rotation"}}),
    "inpainting": ("beside in-painting", {"inpaint": _INPAINTING}),
    "inpainting-pl": (
        "beside in-painting with a perceptual loss",
        {"inpaint": {**_INPAINTING, "perceptual": _PERCEPTUAL}},
    ),
}


def _systems() -> Iterator[tuple[str, tuple[str, Json]]]:
    """Yield each preset: its name, its summary, its part of a spec."""
    for subject, (words, primary) in _PRIMARY.items():
        for method, (beside, pretext) in _PRETEXT.items():
            tasks = {name: {**task, **(_APART if subject == "pose-" else _ONE_PASS)} for name, task in pretext.items()}
            yield f"hmtl-{subject}{method}", (f"{words} {beside}.", {**_TRAINING, "primary": primary, "pretext": tasks})


PAPER = dict(_systems())
