"""The settings of what this plugin offers."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from auxlearn.registry import option

__all__ = ["FeaturesBackboneParams", "SynthFeaturesParams"]

_COPIES = (
    "How many of a row's copies an item shows, in training drawn anew for each modality, elsewhere the first; with "
    "more than 1 an input has shape (copies, width)."
)


@attrs.frozen(kw_only=True)
class FeaturesBackboneParams:
    """Settings of the backbone `features`."""

    modalities: tuple[str, ...] = option((), help="The modalities to give; none named: all that are feature vectors.")


def _modalities() -> dict[str, int]:
    return {"video": 32, "audio": 48, "text": 24}


@attrs.frozen(kw_only=True)
class SynthFeaturesParams:
    """Settings of `synthfeatures`.

    Examples:
        >>> from auxlearn_features import SynthFeaturesParams
        >>> dict(SynthFeaturesParams().modalities)
        {'video': 32, 'audio': 48, 'text': 24}
    """

    modalities: Mapping[str, int] = option(
        attrs.Factory(_modalities), ge=1, help="The modalities and the width of each."
    )
    classes: int = option(6, ge=2, le=1000, help="Number of classes.")
    train: int = option(512, ge=1, help="Rows of the split `train`.")
    val: int = option(128, ge=0, help="Rows of the split `val`; 0: there is none.")
    test: int = option(256, ge=0, help="Rows of the split `test`; 0: there is none.")
    groups: int = option(32, ge=1, help="Groups, e.g. speakers, each with ways of its own; no group is in two splits.")
    missing: float = option(
        0.0, ge=0, lt=1, help="Part of the rows that lack a modality, of each one; no row lacks all of them."
    )
    noise: float = option(1.0, ge=0, help="Noise on each component, which has a standard deviation of about 1 without.")
    available: int = option(1, ge=1, help="Copies that there are of each row, as augmentation would make them.")
    copies: int = option(1, ge=1, help=_COPIES)
    seed: int = option(0, ge=0, help="Seed of the rows, whatever the seed of the run is.")
