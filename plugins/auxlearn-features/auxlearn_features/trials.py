"""The conditions under which auxlearn's conformance kit checks what this plugin offers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["trial_of_table", "trial_of_vectors"]


def trial_of_vectors() -> Any:
    """Return a trial with feature vectors of two modalities, one of them in three copies."""
    from auxlearn.data import InputShape
    from auxlearn.testing import Trial

    form: dict[str, Any] = {"dtype": "float32", "kind": "feature"}
    sound = InputShape(shape=(6,), mean=(0.5,) * 6, std=(2.0,) * 5 + (0.0,), **form)
    face = InputShape(shape=(3, 4), mean=(-1.0,) * 4, std=(0.5,) * 4, **form)
    return Trial(inputs={"sound": sound, "face": face})


def trial_of_table() -> Any:
    """Return a trial of a small table with missing modalities, groups, and every kind of target."""
    from auxlearn.testing import Trial

    targets = {
        "label": {},
        "marks": {"kind": "multilabel", "columns": ["loud", "bright"], "threshold": 0.5},
        "level": {"kind": "continuous"},
    }
    params = {"inputs": ["sound", "face"], "targets": targets, "group_column": "person"}
    return Trial(params=params, prepare=_write)


def _write(folder: Path) -> dict[str, str]:
    import numpy as np

    draws = np.random.default_rng(0)
    lines = ["id,split,person,label,loud,bright,level"]
    for row in range(24):
        split, label = "train" if row < 16 else "val", "ab"[row % 2] if row % 5 else ""
        lines.append(f"r{row},{split},p{row // 4},{label},{row % 3 / 2},{row % 4 / 3:.3f},{row / 8}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sound, face = draws.standard_normal((24, 5)), draws.standard_normal((24, 2, 3))
    sound[::7] = np.nan
    np.save(folder / "sound.npy", sound.astype(np.float32))
    np.save(folder / "face.npy", face.astype(np.float32))
    return {"path": str(folder / "rows.csv")}
