"""Computational sequences, the files of the CMU Multimodal SDK (https://github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK).

They are HDF5: `<name>/data/<video>/intervals` [n, 2] in seconds, and `<name>/data/<video>/features` [n, ...] beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from auxlearn.errors import DataError, PluginError, Problem, escape

__all__ = ["read_csd", "words_between"]

_PAUSE = "sp"


def read_csd(path: Path) -> dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Return the intervals [n, 2] and the features [n, ...] of each video.

    Raises:
        PluginError: If h5py is not installed.
        DataError: If the file is no computational sequence.
    """
    try:
        import h5py
    except ImportError as error:
        what, fix = "the files of the CMU Multimodal SDK need h5py", "pip install 'auxlearn-media[mosei]'"
        raise PluginError(Problem(where="/data", what=what, fix=fix, exit_code=3)) from error
    try:
        with h5py.File(path, "r") as file:
            (sequence,) = file.values()
            return {
                video: (np.asarray(one["intervals"], dtype=float).reshape(-1, 2), np.asarray(one["features"]))
                for video, one in sequence["data"].items()
            }
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        what = f"it is no computational sequence ({escape(error, 200)})"
        raise DataError(Problem(where=str(path), what=what, exit_code=4)) from None


def words_between(path: Path) -> Callable[[str, float, float], str]:
    """Return what tells the words of a video whose middle is between two seconds, without pauses."""
    read = {video: (times.mean(1), list(_texts(features))) for video, (times, features) in read_csd(path).items()}

    def between(video: str, start: float, end: float) -> str:
        middles, words = read.get(video, (np.empty(0), []))
        return " ".join(words[place] for place in np.flatnonzero((middles >= start) & (middles < end)) if words[place])

    return between


def _texts(features: np.ndarray[Any, Any]) -> Iterator[str]:
    for word in features.reshape(len(features), -1)[:, 0]:
        text = word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word)
        yield "" if text == _PAUSE else text
