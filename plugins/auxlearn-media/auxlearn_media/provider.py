"""What this plugin offers, told without torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from auxlearn.errors import Problem
from auxlearn.registry import CheckContext, Provider, hookimpl
from auxlearn_media.params import AudioEncoderParams, EncoderParams, MediaParams, VideoNetworkParams
from auxlearn_media.readers.provider import check_inputs, sets
from auxlearn_media.trials import trial_of_clips, trial_of_video
from auxlearn_tables.provider import check_table

__all__ = ["auxlearn_backbones", "auxlearn_data_sources"]


@hookimpl
def auxlearn_data_sources() -> Iterable[Provider]:
    """Offer `media`, and the readers of public sets."""
    yield Provider(
        name="media",
        summary="Video, sound and text: clips named in a CSV or Parquet manifest, with any number of targets.",
        params=MediaParams,
        build=_build_media,
        check=_check_media,
        trial=trial_of_clips,
    )
    yield from sets()


@hookimpl
def auxlearn_backbones() -> Iterable[Provider]:
    """Offer torchvision's video networks, and the encoders of text and sound of Hugging Face."""
    yield Provider(
        name="torchvision_video",
        summary="Any video model of torchvision, on a clip of frames.",
        params=VideoNetworkParams,
        build=_build_video,
        trial=trial_of_video,
    )
    yield Provider(
        name="text_encoder",
        summary="A text encoder of Hugging Face, its last hidden states averaged over tokens.",
        params=EncoderParams,
        build=_build_text,
    )
    yield Provider(
        name="audio_encoder",
        summary="A sound encoder of Hugging Face, its last hidden states averaged over time.",
        params=AudioEncoderParams,
        build=_build_audio,
    )


def _build_media(params: MediaParams, context: Any) -> Any:
    from auxlearn_media.manifest import build_media

    return build_media(params, context)


def _build_video(params: VideoNetworkParams, context: Any) -> Any:
    from auxlearn_media.video import VideoNetwork

    return VideoNetwork.build(params, context)


def _build_text(params: EncoderParams, context: Any) -> Any:
    from auxlearn_media.encoders import TextEncoder

    return TextEncoder.build(params, context)


def _build_audio(params: AudioEncoderParams, context: Any) -> Any:
    from auxlearn_media.encoders import AudioEncoder

    return AudioEncoder.build(params, context)


def _check_media(params: MediaParams, context: CheckContext) -> Iterable[Problem]:
    """Find settings that name nothing to read, and targets that are declared against themselves."""
    yield from check_inputs(params)
    yield from check_table(params, context)
