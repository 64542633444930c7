"""The settings of what this plugin offers."""

from __future__ import annotations

import attrs

from auxlearn.registry import option
from auxlearn_tables import TableParams

__all__ = [
    "AUDIO",
    "SPECTROGRAM",
    "VIDEO",
    "AudioEncoderParams",
    "AudioParams",
    "EncoderParams",
    "MediaParams",
    "SpectrogramParams",
    "TextParams",
    "VideoNetworkParams",
    "VideoParams",
    "WordsParams",
]

_SECONDS = (
    "Length of a row, cut or filled with silence; null: the whole clip, which can be extracted but not trained on."
)
_RATE = "Samples a second; the sound is resampled to it."

VIDEO = "Read the picture, as these settings say; null: not."
AUDIO = "Read the sound as it is; null: not."
SPECTROGRAM = "Read the sound as a log-mel spectrogram; null: not."


@attrs.frozen(kw_only=True)
class VideoParams:
    """Settings of the input `video`: frames of the picture, uint8 [T, 3, size, size]."""

    fps: float = option(16.0, gt=0, le=240, help="Frames a second, whatever the file has.")
    frames: int | None = option(
        None,
        ge=1,
        help="Frames of a row, the last one repeated where a clip is shorter; null: the whole clip, which can be "
        "extracted but not trained on.",
    )


@attrs.frozen(kw_only=True)
class AudioParams:
    """Settings of the input `audio`: the sound as one channel, float32 [T] in [-1, 1]."""

    rate: int = option(16000, ge=1000, le=192000, help=_RATE)
    seconds: float | None = option(None, gt=0, help=_SECONDS)


@attrs.frozen(kw_only=True)
class SpectrogramParams:
    """Settings of the input `spectrogram`: the log-mel spectrogram of the sound, float32 [1, mels, T] in [0, 1]."""

    rate: int = option(16000, ge=1000, le=192000, help=_RATE)
    mels: int = option(128, ge=8, le=512, help="Frequency bands.")
    n_fft: int = option(2048, ge=64, help="Samples of a window.")
    hop: int = option(160, ge=1, help="Samples from one window to the next.")
    seconds: float | None = option(None, gt=0, help=_SECONDS)


@attrs.frozen(kw_only=True)
class WordsParams:
    """Settings of the input `text`: the bytes of a text in UTF-8, uint8 [T]."""

    bytes: int | None = option(
        None, ge=1, help="Length of a row, cut or filled with zeros; null: the whole text, as above."
    )


@attrs.frozen(kw_only=True)
class TextParams(WordsParams):
    """Settings of the input `text` from a manifest."""

    column: str = option("text", help="Column of the manifest with the text.")


@attrs.frozen(kw_only=True)
class MediaParams(TableParams):
    """Settings of `media`: a manifest as of `table`, with one clip a row and what is read of it.

    Examples:
        >>> from auxlearn_media import AudioParams, MediaParams
        >>> MediaParams(path="clips.csv", audio=AudioParams()).audio.rate
        16000
    """

    start_column: str | None = option(
        None, help="Column with the second at which a row begins in its file; null: all begin with it."
    )
    end_column: str | None = option(
        None, help="Column with the second at which a row ends in its file; null: all end with it."
    )
    video: VideoParams | None = option(None, help=VIDEO)
    audio: AudioParams | None = option(None, help=AUDIO)
    spectrogram: SpectrogramParams | None = option(None, help=SPECTROGRAM)
    text: TextParams | None = option(None, help="Read a text, such as a transcript, from the manifest; null: not.")


@attrs.frozen(kw_only=True)
class VideoNetworkParams:
    """Settings of the backbone `torchvision_video`."""

    model: str = option(help='Name of a video model of torchvision: "r3d_18", "s3d", "swin3d_t", "mvit_v2_s", ...')
    weights: str | None = option(
        None, help='Start from these weights of torchvision, e.g. "KINETICS400_V1" or "DEFAULT"; they are downloaded.'
    )
    checkpoint: str | None = option(
        None, help="Start from the weights in this file: safetensors, or a torch file without code in it."
    )
    mean: tuple[float, float, float] | None = option(
        None, help="Mean of each channel, pixels in [0, 1]; null: what the model was published with."
    )
    std: tuple[float, float, float] | None = option(
        None, gt=0, help="Standard deviation of each channel; null: what the model was published with."
    )


@attrs.frozen(kw_only=True)
class EncoderParams:
    """Settings of the backbone `text_encoder`."""

    model: str = option(
        help="A model of Hugging Face by its name, which is downloaded on first use, or the folder of one."
    )
    revision: str | None = option(None, help="Branch, tag or commit of the model; null: its newest.")


@attrs.frozen(kw_only=True)
class AudioEncoderParams(EncoderParams):
    """Settings of the backbone `audio_encoder`."""

    rate: int = option(16000, ge=1000, le=192000, help="Samples a second of the sound, as the data has it.")
