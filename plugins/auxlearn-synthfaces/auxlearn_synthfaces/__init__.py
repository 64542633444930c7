"""Data source `synthfaces`: rendered faces with exact expression, pose, morphology, age and subject labels.

The images are inside the package, so nothing is downloaded. They come from CC0 meshes and are CC0 themselves; they
stand in for real faces in examples and tests and do not replace them. Importing this module loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from auxlearn_synthfaces.names import EXPRESSIONS as EXPRESSIONS
from auxlearn_synthfaces.names import MORPHOLOGIES as MORPHOLOGIES
from auxlearn_synthfaces.provider import SynthFacesParams as SynthFacesParams
from auxlearn_synthfaces.provider import auxlearn_data_sources as auxlearn_data_sources

if TYPE_CHECKING:
    from auxlearn_synthfaces.source import SynthFaces as SynthFaces

__all__ = ["EXPRESSIONS", "MORPHOLOGIES", "SynthFaces", "SynthFacesParams", "auxlearn_data_sources"]


def __getattr__(name: str) -> Any:  # no `__dir__` beside it: pluggy reads every name that `dir` lists
    if name != "SynthFaces":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("auxlearn_synthfaces.source").SynthFaces
