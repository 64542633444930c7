"""auxlearn: train a supervised task together with self-supervised pretext tasks, then drop the pretext parts.

Public names are resolved on first use, so importing auxlearn loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auxlearn.api import Built as Built
    from auxlearn.api import RunResult as RunResult
    from auxlearn.api import build as build
    from auxlearn.api import extract as extract
    from auxlearn.api import load_run as load_run
    from auxlearn.api import resume as resume
    from auxlearn.api import run as run
    from auxlearn.api import validate as validate
    from auxlearn.learning.learner import Learner as Learner
    from auxlearn.learning.learner import StepResult as StepResult
    from auxlearn.learning.plan import Moment as Moment
    from auxlearn.spec.models import Arrangement as Arrangement
    from auxlearn.studies.comparing import compare as compare
    from auxlearn.studies.running import StudyResult as StudyResult
    from auxlearn.studies.running import study as study
    from auxlearn.studies.summary import Summary as Summary
    from auxlearn.training.trainer import Trainer as Trainer

__version__ = "0.1.0"

# Where each public name lives.
_HOMES = {
    "Arrangement": "auxlearn.spec.models",
    "Built": "auxlearn.api",
    "Learner": "auxlearn.learning.learner",
    "Moment": "auxlearn.learning.plan",
    "RunResult": "auxlearn.api",
    "StepResult": "auxlearn.learning.learner",
    "StudyResult": "auxlearn.studies.running",
    "Summary": "auxlearn.studies.summary",
    "Trainer": "auxlearn.training.trainer",
    "build": "auxlearn.api",
    "compare": "auxlearn.studies.comparing",
    "extract": "auxlearn.api",
    "load_run": "auxlearn.api",
    "resume": "auxlearn.api",
    "run": "auxlearn.api",
    "study": "auxlearn.studies.running",
    "validate": "auxlearn.api",
}

__all__ = [
    "Arrangement",
    "Built",
    "Learner",
    "Moment",
    "RunResult",
    "StepResult",
    "StudyResult",
    "Summary",
    "Trainer",
    "__version__",
    "build",
    "compare",
    "extract",
    "load_run",
    "resume",
    "run",
    "study",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'auxlearn' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *globals()])
