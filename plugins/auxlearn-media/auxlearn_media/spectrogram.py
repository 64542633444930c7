"""The log-mel spectrogram, with the defaults of librosa, on torch's Fourier transform."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

__all__ = ["log_mel", "mel_filters"]

_RANGE = 80.0  # decibels below the loudest value that are told apart
_LEAST = 1e-10  # power that counts as silence

# Slaney's scale (Auditory Toolbox, 1998): linear up to 1000 Hz, then logarithmic.
_HERTZ_PER_MEL, _KNEE, _STEP = 200 / 3, 1000.0, np.log(6.4) / 27


def log_mel(samples: Tensor, *, rate: int, mels: int, n_fft: int, hop: int) -> Tensor:
    """Return the log-mel spectrogram of a sound, [1, mels, 1 + T // hop] in [0, 1].

    Power of the short-time Fourier transform (Hann window, centred, silence beyond the ends) in bands of Slaney's mel
    scale of equal area, in decibels, of which the loudest 80 count, brought to [0, 1] by its own least and greatest
    value. Silence is 0 throughout.

    Args:
        samples: float32 [T].
        rate: Samples a second.
        mels: Number of bands, from 0 to `rate / 2` Hz.
        n_fft: Samples of a window.
        hop: Samples from one window to the next.

    Examples:
        >>> import math, torch
        >>> from auxlearn_media.spectrogram import log_mel
        >>> tone = torch.sin(2 * math.pi * 440 * torch.arange(16000) / 16000)
        >>> made = log_mel(tone, rate=16000, mels=64, n_fft=1024, hop=160)
        >>> made.shape, int(made[0, :, 50].argmax())  # the band whose middle is nearest to 440 Hz
        (torch.Size([1, 64, 101]), 8)
    """
    window = torch.hann_window(n_fft)
    spectrum = torch.stft(samples, n_fft, hop, window=window, center=True, pad_mode="constant", return_complex=True)
    # By numpy: torch's product differs in its last bits with the number of threads, and workers have one.
    power = torch.from_numpy(mel_filters(rate, mels, n_fft).numpy() @ spectrum.abs().square().numpy())
    decibels = 10 * power.clamp(min=_LEAST).log10()
    decibels = decibels.clamp(min=float(decibels.max()) - _RANGE)
    least, greatest = decibels.min(), decibels.max()
    return ((decibels - least) / (greatest - least).clamp(min=1e-6)).unsqueeze(0)


@cache
def mel_filters(rate: int, mels: int, n_fft: int) -> Tensor:
    """Return the triangular filters, [mels, 1 + n_fft // 2]: each rises and falls linearly between its neighbours."""
    edges = _hertz(np.linspace(_mel(0.0), _mel(rate / 2), mels + 2))
    bins = np.linspace(0, rate / 2, 1 + n_fft // 2)
    below, middle, above = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - below) / (middle - below), (above - bins) / (above - middle)
    triangles = np.maximum(0, np.minimum(rising, falling)) * 2 / (above - below)
    return torch.from_numpy(triangles.astype(np.float32))


def _mel(hertz: float) -> float:
    return float(hertz / _HERTZ_PER_MEL if hertz < _KNEE else _KNEE / _HERTZ_PER_MEL + np.log(hertz / _KNEE) / _STEP)


def _hertz(mel: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    knee = _KNEE / _HERTZ_PER_MEL
    return np.where(mel < knee, mel * _HERTZ_PER_MEL, _KNEE * np.exp(_STEP * (mel - knee)))
