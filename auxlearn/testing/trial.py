"""`Trial`: the conditions under which a component is checked, and what its author claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from auxlearn.data import InputShape, TargetInfo

__all__ = ["Trial"]

_INPUTS = {"image": InputShape(shape=(3, 32, 32))}
_TARGETS = {
    "kind": TargetInfo(kind="class", names=("dark", "dim", "bright")),
    "marks": TargetInfo(kind="multilabel", names=("round", "red", "striped"), shape=(3,)),
    "size": TargetInfo(kind="continuous"),
}


@attrs.frozen(kw_only=True)
class Trial:
    """The conditions under which a component is checked, and what its author claims.

    Every field has a default that fits most components for images. A provider whose component needs others says so in
    its field `trial`, a function without arguments that returns a `Trial`.

    Attributes:
        params: Settings as JSON, as a spec has them.
        prepare: For a data source that reads files: writes some into an empty folder, and returns the settings that
            lead to them. They are laid over `params`.
        inputs: The form of each modality as the data source gives it.
        targets: What there is to learn.
        rows: Rows of a batch.
        least_rows: The fewest rows that the component can work with; it need not take fewer.
        reductions: For everything that reads features: how many input pixels a cell of each feature map spans, fine to
            coarse, in powers of two.
        compiles: The author claims that `torch.compile` traces the backbone without a break.
        expected_failures: Checks that are known to fail, by id, each with the reason.

    Examples:
        >>> from auxlearn.testing import Trial
        >>> Trial(params={"grid": 2}, least_rows=2).inputs["image"].shape
        (3, 32, 32)
    """

    params: Mapping[str, Any] = attrs.field(factory=dict)
    prepare: Callable[[Path], Mapping[str, Any]] | None = None
    inputs: Mapping[str, InputShape] = attrs.field(factory=lambda: dict(_INPUTS))
    targets: Mapping[str, TargetInfo] = attrs.field(factory=lambda: dict(_TARGETS))
    rows: int = attrs.field(default=8, validator=attrs.validators.ge(1))
    least_rows: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    reductions: tuple[int, ...] = (4, 8)
    compiles: bool = False
    expected_failures: Mapping[str, str] = attrs.field(factory=dict)
