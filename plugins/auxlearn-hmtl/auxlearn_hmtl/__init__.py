"""The systems of HMTL, and those of its authors' code, as presets: parts of a spec that only lack the data.

HMTL is "Using Self-Supervised Auxiliary Tasks to Improve Fine-Grained Facial Representation" (Pourmirzaei, Montazer,
Esmaili, arXiv 2105.06421). Importing this module loads no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from auxlearn.registry import Provider, hookimpl
from auxlearn_hmtl.authors import AUTHORS
from auxlearn_hmtl.paper import PAPER

__all__ = ["auxlearn_presets"]


def _given(spec: Mapping[str, Any], _params: Any, _context: Any) -> Mapping[str, Any]:
    return spec


@hookimpl
def auxlearn_presets() -> Iterable[Provider]:
    """Offer the presets."""
    for name, (summary, spec) in {**PAPER, **AUTHORS}.items():
        yield Provider(name=name, summary=summary, build=partial(_given, spec))
