"""Frames and samples of clips that are made here, against what was put into them."""

from __future__ import annotations

import math

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auxlearn_media.decoding import Clip
from auxlearn_media.spectrogram import log_mel, mel_filters
from auxlearn_media.testing import write_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("clips")
    write_clip(made / "square.mp4", seconds=2)
    write_clip(made / "plain.mkv", color=(200, 100, 50), tone=None, seconds=1)
    write_clip(made / "tone.wav", tone=1000, seconds=1)
    write_clip(made / "tall.mp4", rotation=90, size=(64, 32), seconds=0.5)
    return made


@pytest.fixture(scope="module")
def every(folder):
    """All 50 frames of the moving square, decoded without our code."""
    with av.open(str(folder / "square.mp4")) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@settings(max_examples=25)
@given(st.sampled_from([1.0, 3.0, 7.5, 24.0, 25.0, 29.97, 60.0]), st.integers(0, 40), st.integers(1, 50))
def test_frames_are_those_that_a_viewer_sees_at_their_time(folder, every, fps, first, length):
    start, end = first / 25, (first + length) / 25
    with Clip(str(folder / "square.mp4")) as clip:
        found = clip.frames(fps=fps, size=48, start=start, end=end)
    times = start + np.arange(math.ceil((min(end, 2) - start) * fps - 1e-6)) / fps
    # The frames are 64 x 48, so that the central square is cut and nothing is scaled.
    expected = [every[int(time * 25 + 1e-4)][:, 8:56].transpose(2, 0, 1) for time in times]
    assert np.array_equal(found, np.stack(expected))


def test_a_plain_colour_stays_what_it_is(folder):
    with Clip(str(folder / "plain.mkv")) as clip:
        frames = clip.frames(fps=10, size=20, fit="squash")
        assert not clip.has_sound
    assert frames.shape == (10, 3, 20, 20)
    assert frames.dtype == np.uint8
    assert (np.abs(frames.astype(int) - np.array([200, 100, 50])[:, None, None]) <= 2).all()
    assert (frames == frames[0, :, :1, :1]).all()


def test_frames_are_turned_as_the_file_says(folder):
    with Clip(str(folder / "tall.mp4")) as clip:
        found = clip.frames(fps=1, size=32)[0].mean(0)
    with av.open(str(folder / "tall.mp4")) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24").mean(2)
    assert np.array_equal(found, np.rot90(stored)[16:48])  # rot90 turns counter-clockwise, too


def test_a_tone_keeps_its_frequency_and_its_length(folder):
    with Clip(str(folder / "tone.wav")) as clip:
        assert not clip.has_picture
        assert clip.duration == 1
        sound = clip.samples(rate=8000)
    assert sound.dtype == np.float32
    assert len(sound) == 8000
    assert np.abs(np.fft.rfft(sound)).argmax() == 1000
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
    np.testing.assert_allclose(sound[100:-100], expected[100:-100], atol=2e-3)


def test_a_part_of_the_sound_is_that_part(folder):
    for name in ("tone.wav", "square.mp4"):
        with Clip(str(folder / name)) as clip:
            whole = clip.samples(rate=16000)
            part = clip.samples(rate=16000, start=0.25, end=0.75)
        assert len(part) == 8000
        np.testing.assert_allclose(part[1100:], whole[5100:12000], atol=2e-3)  # a codec needs a while after a jump


def test_sound_that_begins_late_has_silence_before(tmp_path):
    from fractions import Fraction

    with av.open(str(tmp_path / "late.mkv"), "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 16, 16, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        for number in range(10):
            frame = av.VideoFrame(16, 16, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        made = av.AudioFrame.from_ndarray(np.full((1, 4000), 16384, np.int16), format="s16", layout="mono")
        made.sample_rate, made.pts, made.time_base = 8000, 4000, Fraction(1, 8000)
        container.mux(audio.encode(made))
        container.mux(audio.encode(None))
    with Clip(str(tmp_path / "late.mkv")) as clip:
        sound = clip.samples(rate=8000)
    assert np.abs(sound[:3990]).max() == 0
    assert sound[4010:].min() == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("content", [b"", b"no film at all", b"RIFF" + bytes(100)])
def test_files_that_are_no_clips(tmp_path, content):
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot be decoded|has no"), Clip(str(tmp_path / "clip.mp4")) as clip:
        clip.frames(fps=1, size=8)


def test_a_file_that_is_cut_off(folder, tmp_path):
    (tmp_path / "cut.mp4").write_bytes((folder / "square.mp4").read_bytes()[:3000])
    with pytest.raises(ValueError, match="cannot be decoded"):
        Clip(str(tmp_path / "cut.mp4"))


def test_parts_beyond_the_end(folder):
    with Clip(str(folder / "square.mp4")) as clip:
        with pytest.raises(ValueError, match="has no frames from second 5 to 6"):
            clip.frames(fps=10, size=8, start=5, end=6)
        with pytest.raises(ValueError, match="has no sound from second 5"):
            clip.samples(rate=8000, start=5)


@pytest.mark.parametrize(("rate", "mels", "n_fft"), [(16000, 128, 2048), (8000, 40, 512), (22050, 64, 1024)])
def test_the_filters_are_those_of_slaney(rate, mels, n_fft):
    audio_utils = pytest.importorskip("transformers.audio_utils")
    expected = audio_utils.mel_filter_bank(1 + n_fft // 2, mels, 0, rate / 2, rate, norm="slaney", mel_scale="slaney").T
    np.testing.assert_allclose(mel_filters(rate, mels, n_fft), expected, atol=1e-6)


def test_the_spectrogram_is_that_of_the_formula():
    audio_utils = pytest.importorskip("transformers.audio_utils")
    samples = torch.randn(5000, generator=torch.Generator().manual_seed(0)) * torch.linspace(0, 1, 5000)
    bank = audio_utils.mel_filter_bank(257, 40, 0, 8000, 16000, norm="slaney", mel_scale="slaney")
    decibels = audio_utils.spectrogram(
        samples.numpy(),
        audio_utils.window_function(512, "hann"),
        512,
        160,
        power=2.0,
        pad_mode="constant",
        mel_filters=bank,
        mel_floor=1e-10,
        log_mel="dB",
        db_range=80.0,
    )
    expected = (decibels - decibels.min()) / (decibels.max() - decibels.min())
    found = log_mel(samples, rate=16000, mels=40, n_fft=512, hop=160)
    np.testing.assert_allclose(found[0], expected, atol=1e-4)


@given(st.sampled_from([300.0, 700.0, 1500.0, 3000.0, 6000.0]))
def test_a_tone_is_brightest_in_its_band(tone):
    samples = torch.sin(2 * math.pi * tone * torch.arange(16000) / 16000)
    made = log_mel(samples, rate=16000, mels=64, n_fft=1024, hop=160)
    assert made.shape == (1, 64, 101)
    assert made.min() == 0
    assert made.max() == 1
    middles = mel_filters(16000, 64, 1024).argmax(1) * 16000 / 1024
    nearest = int((middles - tone).abs().argmin())
    assert abs(int(made[0, :, 50].argmax()) - nearest) <= 1


def test_silence_is_black():
    assert log_mel(torch.zeros(4000), rate=16000, mels=32, n_fft=512, hop=160).abs().max() == 0


def test_loader_workers_hear_the_same():
    """Torch has one thread in a worker, and all of them in the main process."""
    samples, threads = torch.randn(80000, generator=torch.Generator().manual_seed(0)), torch.get_num_threads()
    made = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            made.append(log_mel(samples, rate=16000, mels=128, n_fft=2048, hop=160))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*made)
