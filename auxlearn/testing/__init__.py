"""The conformance kit and fakes for plugin authors. Importing this module loads no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auxlearn.testing.checking import Check as Check
    from auxlearn.testing.checking import checks_of as checks_of
    from auxlearn.testing.conformance import check_augmentation as check_augmentation
    from auxlearn.testing.conformance import check_backbone as check_backbone
    from auxlearn.testing.conformance import check_balancer as check_balancer
    from auxlearn.testing.conformance import check_data_source as check_data_source
    from auxlearn.testing.conformance import check_pretext_task as check_pretext_task
    from auxlearn.testing.conformance import check_primary_task as check_primary_task
    from auxlearn.testing.conformance import check_provider as check_provider
    from auxlearn.testing.report import ConformanceError as ConformanceError
    from auxlearn.testing.report import Report as Report
    from auxlearn.testing.report import Result as Result
    from auxlearn.testing.stage import StageBackbone as StageBackbone
    from auxlearn.testing.stage import stage_batch as stage_batch
    from auxlearn.testing.suite import Conformance as Conformance
    from auxlearn.testing.trial import Trial as Trial

# Where each public name lives: all of them but `Report` and its parts need torch, a plugin of fakes does not.
_HOMES = {
    "Check": "checking",
    "Conformance": "suite",
    "ConformanceError": "report",
    "Report": "report",
    "Result": "report",
    "StageBackbone": "stage",
    "Trial": "trial",
    "check_augmentation": "conformance",
    "check_backbone": "conformance",
    "check_balancer": "conformance",
    "check_data_source": "conformance",
    "check_pretext_task": "conformance",
    "check_primary_task": "conformance",
    "check_provider": "conformance",
    "checks_of": "checking",
    "stage_batch": "stage",
}

__all__ = [
    "Check",
    "Conformance",
    "ConformanceError",
    "Report",
    "Result",
    "StageBackbone",
    "Trial",
    "check_augmentation",
    "check_backbone",
    "check_balancer",
    "check_data_source",
    "check_pretext_task",
    "check_primary_task",
    "check_provider",
    "checks_of",
    "stage_batch",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
