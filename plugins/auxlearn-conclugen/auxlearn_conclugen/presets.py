"""ConCluGen, its authors' code, and each combination of its three losses, as presets: they only lack the data.

`conclugen` and its relatives have the defaults of the plugin, numerically sound ones, for any features.

`conclugen-code` is what the authors' public code (tub-cv-group/conclugen at dab5223) trains, as far as a spec can say
it, for data with the inputs `video_2d` (2048 components in the paper), `video_3d` (2048), `audio` (1024) and `text`
(768). From the code: the widths of the released configuration for tests, the order and kind of layers, both margins,
no temperature, no standardisation, AdamW with its learning rate and weight decay, warm-up over five epochs and the
first, of 20 epochs, of the cosine cycles. Not in the public code, and therefore our choice: the weights of the three
losses (all 1; the code searched from 0.0001 to 1.1), clusters, queue and their start (32, eight batches, epoch 0;
searched from 2 to 128, 2 to 128 batches, 0 to 15), the width of the decoders (512; searched from 512 to 1536), batch
(512) and epochs (25) of the pretraining. What differs on purpose: the losses are added, not averaged over those that
are on; k-means begins from seeds by k-means++, not from random rows; the queue outlives an epoch, and takes part before
it is full; labels are those of the last centroids, not of the ones before; no cluster is empty; rows may lack a
modality.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["PRESETS"]

Json = dict[str, Any]

_LOSSES: dict[str, Json] = {
    "contrast": {"type": "multimodal_contrastive"},
    "cluster": {"type": "multimodal_clustering"},
    "reconstruct": {"type": "multimodal_reconstruction"},
}

_TRAINING: Json = {
    "backbone": {"type": "gated_multimodal"},
    "optimizer": {"type": "adamw", "lr": 1e-3, "weight_decay": 1e-3},
    "schedule": {"type": "cosine", "warmup_epochs": 5},
    "train": {"epochs": 100, "batch_size": 256},
}

_PROJECTION: Json = {"width": 512, "hidden": 512, "norm": "batch", "final_relu": True}
_SOFTMAX: Json = {"temperature": 1.0, "margin": 1e-3, "projection": _PROJECTION}

_CODE: Json = {
    "backbone": {
        "type": "gated_multimodal",
        "width": 4096,
        "join": {"video": ["video_2d", "video_3d"]},
        "units": {"audio": {"width": 1024}},
        "standardize": False,
    },
    "pretext": {
        "contrast": {**_LOSSES["contrast"], **_SOFTMAX},
        "cluster": {
            **_LOSSES["cluster"],
            **_SOFTMAX,
            "clusters": 32,
            "queue": 4096,
            "normalize": False,
            "iterations": 100,
            "restarts": 1,
            "warm_start": False,
        },
        "reconstruct": {**_LOSSES["reconstruct"], "hidden": 512, "final_relu": True},
    },
    "optimizer": {"type": "adamw", "lr": 2e-5, "weight_decay": 1e-3},
    "schedule": {"type": "cosine", "warmup_epochs": 5},
    "train": {"epochs": 25, "batch_size": 512},
}


def _combinations() -> Iterator[tuple[str, tuple[str, Json]]]:
    """Yield a preset for each combination of the losses: its name, its summary, its part of a spec."""
    names = list(_LOSSES)
    for bits in range(2 ** len(names) - 1, 0, -1):
        chosen = [name for place, name in enumerate(names) if bits >> place & 1]
        whole = len(chosen) == len(names)
        summary = f"ConCluGen with {'all its losses' if whole else ' and '.join(chosen) + ' only'}, on any features."
        pretext = {name: _LOSSES[name] for name in chosen}
        yield "conclugen" if whole else f"conclugen-{'-'.join(chosen)}", (summary, {**_TRAINING, "pretext": pretext})


PRESETS: dict[str, tuple[str, Json]] = {
    **dict(_combinations()),
    "conclugen-simclr": (
        "The baseline of ConCluGen: SimCLR on the features of each modality.",
        {**_TRAINING, "pretext": {"simclr": {"type": "feature_simclr"}}},
    ),
    "conclugen-code": ("ConCluGen as its authors' code has it, on video, audio and text.", _CODE),
}
