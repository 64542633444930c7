"""Does it help? Studies over arms, label fractions and seeds, and what their runs say.

```
study.json ─ loading, arms ─> Study ─ running, executors ─> run folders ─ cells ─> Cell
Cell ─ summary, statistics ─> Summary ─ report, plots ─> tables and pictures
```

Nothing here imports torch before a run begins.
"""

from __future__ import annotations

from typing import Any

__all__ = ["compare", "study"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'auxlearn.studies' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"auxlearn.studies.{'running' if name == 'study' else 'comparing'}"), name)
