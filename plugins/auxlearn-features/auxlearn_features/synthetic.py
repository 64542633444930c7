"""`synthfeatures`: made-up feature vectors of several modalities, from a seed.

Each row has a hidden state of `STATE` numbers that all modalities see, and for each modality `NUISANCE` numbers that
it alone sees. The state is the centre of the row's class, plus an offset of its group, plus a spread of its own. A
modality shows tanh of random mixtures of what it sees, mixed again, and noise. So what the modalities have in common is
the state, and all labels are functions of it. A copy of a row is seen anew: with nuisance nearby, and with other noise.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from auxlearn.data import TargetInfo
from auxlearn_features.names import synthetic_classes, synthetic_splits
from auxlearn_features.params import SynthFeaturesParams
from auxlearn_features.source import FeatureSource, FeatureTarget
from auxlearn_features.survey import Array

__all__ = ["NUISANCE", "STATE", "TAGS", "synthetic_source"]

STATE = 8
"""Numbers in the hidden state of a row."""

NUISANCE = 8
"""Numbers that one modality sees besides."""

TAGS = ("first", "second", "third", "fourth")
"""Names of the labels of the target `tags`."""

_HIDDEN = 64
_SPREAD, _OFFSET, _AGITATION = 0.6, 0.4, 0.3  # of rows about their class, of groups, of copies about their row


def synthetic_source(params: SynthFeaturesParams) -> FeatureSource:
    """Return the rows that `params` describe.

    Targets: `label`, one of the classes; `tags`, which of the first numbers of the state are above 0; `level`, a number
    of mean about 0: the projection of the state on a random direction.

    Examples:
        >>> from auxlearn_features import SynthFeaturesParams
        >>> from auxlearn_features.synthetic import synthetic_source
        >>> source = synthetic_source(SynthFeaturesParams(modalities={"video": 5, "audio": 3}, missing=0.3))
        >>> {name: one.shape for name, one in source.inputs.items()}, len(source.dataset("train"))
        ({'video': (5,), 'audio': (3,)}, 512)
    """
    centres = _generator(params, "centres").standard_normal((params.classes, STATE))
    direction = _generator(params, "direction").standard_normal(STATE) / np.sqrt(STATE)
    splits = synthetic_splits(params)
    shares = _shares([getattr(params, split) for split in splits], params.groups)
    parts = [_Part(params, split, centres, number) for split, number in zip(splits, shares, strict=True)]
    labels = np.concatenate([part.labels for part in parts])
    state = np.concatenate([part.state for part in parts])
    names = synthetic_classes(params.classes)
    return FeatureSource(
        {name: np.concatenate([part.seen(name) for part in parts]) for name in params.modalities},
        split=[split for split, part in zip(splits, parts, strict=True) for _ in part.labels],
        targets={
            "label": FeatureTarget(TargetInfo(kind="class", names=names), labels),
            "tags": FeatureTarget(
                TargetInfo(kind="multilabel", names=TAGS, shape=(len(TAGS),)),
                (state[:, : len(TAGS)] > 0).astype(np.float32),
            ),
            "level": FeatureTarget(TargetInfo(kind="continuous"), (state @ direction).astype(np.float32)),
        },
        groups=[f"{split}-{group:02d}" for split, part in zip(splits, parts, strict=True) for group in part.groups],
        names=[f"synthfeatures/{split}/{i}" for split in splits for i in range(getattr(params, split))],
        copies=params.copies,
    )


class _Part:
    """The rows of one split. Each number comes from a generator of its own name, so settings change what they say."""

    def __init__(self, params: SynthFeaturesParams, split: str, centres: Array, groups: int) -> None:
        self.params, self.split = params, split
        rows = getattr(params, split)
        # Classes and groups as even as can be, in random order.
        self.labels = self._draws("labels").permutation(np.arange(rows) % params.classes)
        self.groups = self._draws("groups").permutation(np.arange(rows) % groups)
        offsets = self._draws("offsets").standard_normal((groups, STATE))
        spread = self._draws("spread").standard_normal((rows, STATE))
        self.state = centres[self.labels] + _OFFSET * offsets[self.groups] + _SPREAD * spread
        self.lacking = self._lacking(rows)

    def seen(self, modality: str) -> Array:
        """Return what a modality shows: float32 [rows, copies, width], NaN where a row lacks it."""
        width, copies, rows = self.params.modalities[modality], self.params.available, len(self.labels)
        first, second = _maps(self.params, modality, width)
        own = self._draws("nuisance", modality).standard_normal((rows, 1, NUISANCE))
        agitation = self._draws("agitation", modality).standard_normal((copies, rows, NUISANCE)).swapaxes(0, 1)
        noise = self._draws("noise", modality).standard_normal((copies, rows, width)).swapaxes(0, 1)
        state = np.broadcast_to(self.state[:, None], (rows, copies, STATE))
        hidden = np.tanh(np.concatenate([state, own + _AGITATION * agitation], axis=2) @ first)
        shown: Array = (hidden @ second + self.params.noise * noise).astype(np.float32)
        shown[self.lacking[modality]] = np.nan
        return shown

    def _lacking(self, rows: int) -> dict[str, Array]:
        """Return which rows lack each modality; a row that would lack all of them keeps one."""
        names = list(self.params.modalities)
        lacking = self._draws("missing").random((rows, len(names))) < self.params.missing
        kept = self._draws("kept").integers(len(names), size=rows)
        lacking[lacking.all(1), kept[lacking.all(1)]] = False
        return {name: lacking[:, place] for place, name in enumerate(names)}

    def _draws(self, *what: str) -> np.random.Generator:
        return _generator(self.params, self.split, *what)


def _maps(params: SynthFeaturesParams, modality: str, width: int) -> tuple[Array, Array]:
    """Return the two mixtures of a modality, the same for all splits; without noise a component is of size about 1."""
    draws = _generator(params, "maps", modality)
    first: Array = draws.standard_normal((STATE + NUISANCE, _HIDDEN)) / np.sqrt(STATE + NUISANCE)
    second: Array = draws.standard_normal((_HIDDEN, width)) * np.sqrt(2 / _HIDDEN)
    return first, second


def _shares(rows: Sequence[int], groups: int) -> list[int]:
    """Return how many groups each split has: in proportion to its rows, at least one."""
    shares = [1] * len(rows)
    for _ in range(groups - len(rows)):
        shares[max(range(len(rows)), key=lambda i: rows[i] / shares[i])] += 1
    return shares


def _generator(params: SynthFeaturesParams, *what: Any) -> np.random.Generator:
    """Return a generator for the numbers of this name."""
    name = zlib.crc32("\x1f".join(what).encode())
    return np.random.Generator(np.random.PCG64([params.seed, name]))
