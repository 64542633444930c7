"""The settings of the data sources of public sets. No torch."""

from __future__ import annotations

from typing import Literal

import attrs

from auxlearn.registry import option
from auxlearn_media.params import (
    AUDIO,
    SPECTROGRAM,
    VIDEO,
    AudioParams,
    SpectrogramParams,
    VideoParams,
    WordsParams,
)

__all__ = ["CaerParams", "MeldParams", "MoseiParams", "SetParams", "VoxCeleb2Params"]

_TRANSCRIPTS = (
    "A CSV with the columns `path`, as the data set has it, and `text`: what is said in a clip, which the data set "
    "does not say. Relative to `path`."
)


@attrs.frozen(kw_only=True)
class SetParams:
    """What every reader has: where the data set is, and what is read of its clips."""

    path: str = option(help="Folder of the data set, relative to the folder of the spec; `~` is the user's home.")
    video: VideoParams | None = option(None, help=VIDEO)
    audio: AudioParams | None = option(None, help=AUDIO)
    spectrogram: SpectrogramParams | None = option(None, help=SPECTROGRAM)
    text: WordsParams | None = option(None, help="Read what is said; null: not.")
    fit: Literal["crop", "squash"] = option(
        "crop",
        help="How frames that are not square become so: the central square, or all of it with changed proportions.",
    )


@attrs.frozen(kw_only=True)
class CaerParams(SetParams):
    """Settings of `caer`.

    Examples:
        >>> from auxlearn_media import VideoParams
        >>> from auxlearn_media.readers.params import CaerParams
        >>> CaerParams(path="CAER", video=VideoParams()).video.fps
        16.0
    """

    transcripts: str | None = option(None, help=_TRANSCRIPTS)


@attrs.frozen(kw_only=True)
class MeldParams(SetParams):
    """Settings of `meld`."""


@attrs.frozen(kw_only=True)
class MoseiParams(SetParams):
    """Settings of `mosei`. Paths of files are relative to `path`."""

    labels: str = option(
        "CMU_MOSEI_Labels.csd",
        help="The labels: the SDK's file, which tells parts of whole videos, or a table (.csv) of clips.",
    )
    videos: str | None = option(None, help="Folder of the videos; null: where the archives have them.")
    words: str | None = option(
        None, help="What is said, as the SDK's file of words with times; null: as the table of clips says."
    )
    split_lists: str | None = option(
        None,
        help="Which video is in which split: the SDK's cmu_mosei_std_folds.py, or JSON with lists of videos for "
        "`train`, `valid` and `test`; videos in none are left out. null: as the table of clips says.",
    )


@attrs.frozen(kw_only=True)
class VoxCeleb2Params(SetParams):
    """Settings of `voxceleb2`."""

    transcripts: str | None = option(None, help=_TRANSCRIPTS)
