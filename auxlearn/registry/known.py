"""Two tables: which distribution offers a name that is not installed, and which keys of a section are the engine's.

The second repeats the classes of `auxlearn.spec.models` because this room stands above that one and because it
belongs to the version of the interfaces: a plugin's params must not collide with it. A test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping

from auxlearn.registry.provider import Kind

__all__ = ["KNOWN", "RESERVED"]

# (kind, name) -> what to `pip install`.
KNOWN: Mapping[tuple[Kind, str], str] = {
    ("backbone", "timm"): "auxlearn-timm",
    ("backbone", "torchvision_video"): "auxlearn-media",
    ("backbone", "text_encoder"): "auxlearn-media",
    ("backbone", "audio_encoder"): "auxlearn-media",
    ("optimizer", "timm"): "auxlearn-timm",
    ("schedule", "timm_cosine"): "auxlearn-timm",
    ("schedule", "timm_wsd"): "auxlearn-timm",
    ("exporter", "timm"): "auxlearn-timm",
    ("augmentation", "none"): "auxlearn-kornia",
    ("augmentation", "weak"): "auxlearn-kornia",
    ("augmentation", "strong"): "auxlearn-kornia",
    ("augmentation", "simclr"): "auxlearn-kornia",
    ("data_source", "folder"): "auxlearn-tables",
    ("data_source", "table"): "auxlearn-tables",
    ("data_source", "media"): "auxlearn-media",
    ("data_source", "caer"): "auxlearn-media",
    ("data_source", "meld"): "auxlearn-media",
    ("data_source", "mosei"): "auxlearn-media",
    ("data_source", "voxceleb2"): "auxlearn-media",
    ("data_source", "synthfaces"): "auxlearn-synthfaces",
    ("backbone", "features"): "auxlearn-features",
    ("data_source", "features"): "auxlearn-features",
    ("data_source", "synthfeatures"): "auxlearn-features",
    ("data_source", "adience"): "auxlearn-faces",
    ("data_source", "affectnet"): "auxlearn-faces",
    ("data_source", "aflw2000"): "auxlearn-faces",
    ("data_source", "biwi"): "auxlearn-faces",
    ("data_source", "celeba"): "auxlearn-faces",
    ("data_source", "ck_plus"): "auxlearn-faces",
    ("data_source", "fairface"): "auxlearn-faces",
    ("data_source", "fer2013"): "auxlearn-faces",
    ("data_source", "ferplus"): "auxlearn-faces",
    ("data_source", "pose_300w_lp"): "auxlearn-faces",
    ("data_source", "raf_db"): "auxlearn-faces",
    ("data_source", "utkface"): "auxlearn-faces",
    ("primary_task", "classification"): "auxlearn-supervised",
    ("primary_task", "multilabel"): "auxlearn-supervised",
    ("primary_task", "regression"): "auxlearn-supervised",
    ("primary_task", "fer"): "auxlearn-faces",
    ("primary_task", "head_pose"): "auxlearn-faces",
    ("primary_task", "gender"): "auxlearn-faces",
    ("pretext_task", "inpainting"): "auxlearn-inpainting",
    ("pretext_task", "puzzling"): "auxlearn-puzzling",
    ("pretext_task", "rotation"): "auxlearn-rotation",
    ("pretext_task", "simclr"): "auxlearn-joint-embedding",
    ("pretext_task", "barlow_twins"): "auxlearn-joint-embedding",
    ("backbone", "gated_multimodal"): "auxlearn-conclugen",
    ("pretext_task", "multimodal_contrastive"): "auxlearn-conclugen",
    ("pretext_task", "multimodal_clustering"): "auxlearn-conclugen",
    ("pretext_task", "multimodal_reconstruction"): "auxlearn-conclugen",
    ("pretext_task", "feature_simclr"): "auxlearn-conclugen",
    ("balancer", "cosine_gate"): "auxlearn-balancing",
    ("balancer", "dwa"): "auxlearn-balancing",
    ("balancer", "gradnorm"): "auxlearn-balancing",
    ("balancer", "pcgrad"): "auxlearn-balancing",
    ("balancer", "uncertainty"): "auxlearn-balancing",
    ("balancer", "torchjd"): "auxlearn-torchjd",
    ("preset", "puzzling-quarter"): "auxlearn-puzzling",
    **{
        ("preset", f"hmtl-{subject}{method}"): "auxlearn-hmtl"
        for subject in ("", "pose-", "gender-")
        for method in ("supervised", "puzzling", "rotation", "inpainting", "inpainting-pl")
    },
    **{
        ("preset", f"hmtl-{method}-code"): "auxlearn-hmtl"
        for method in (
            "supervised",
            "puzzling",
            "rotation",
            "puzzling-rotation",
            "puzzling-siamese",
            "barlow-twins",
        )
    },
    ("preset", "conclugen"): "auxlearn-conclugen",
    **{
        ("preset", f"conclugen-{system}"): "auxlearn-conclugen"
        for system in (
            "contrast",
            "cluster",
            "reconstruct",
            "contrast-cluster",
            "contrast-reconstruct",
            "cluster-reconstruct",
            "simclr",
            "code",
        )
    },
}

# kind -> keys that stand beside a component's params in its section of the spec.
RESERVED: Mapping[Kind, frozenset[str]] = {
    "data_source": frozenset(
        [
            "type",
            "size",
            "fraction",
            "fraction_seed",
            "split",
            "folds",
            "sampling",
            "sampling_target",
            "cache",
            "cache_dir",
            "workers",
            "timeout",
            "allow_leaks",
            "unlabelled",
            "ratio",
        ]
    ),
    "augmentation": frozenset(["type", "size", "repeats"]),
    "backbone": frozenset(["type", "freeze", "input", "every", "window", "stride", "size", "batch_size"]),
    "primary_task": frozenset(["type", "weight", "probe"]),
    "pretext_task": frozenset(
        ["type", "view", "portion", "resolution", "every", "start_epoch", "weight", "supervise", "statistics"]
    ),
    "balancer": frozenset(["type"]),
    "optimizer": frozenset(["type", "lr", "weight_decay", "decay_norms", "lr_scale", "layer_decay", "clip_norm"]),
    "schedule": frozenset(["type", "warmup_epochs"]),
    "exporter": frozenset(["type"]),
    "preset": frozenset(),
}
