"""Windows over a row: how many, which elements they show, and what becomes of pixels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auxlearn.data import InputShape
from auxlearn.errors import SpecError
from auxlearn.results.windows import Windows
from auxlearn.spec.extraction import ExtractKeys

SERIES = InputShape(shape=(-1,), dtype="float32", kind="feature")
VIDEO = InputShape(shape=(-1, 3, 6, 6), kind="feature")
SOUND = InputShape(shape=(1, 5, -1), dtype="float32", kind="feature")


def inputs(windows, row, batch_size=3):
    return torch.cat(list(windows.batches(row, batch_size)))


@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 12), st.none() | st.integers(1, 15), st.integers(1, 7))
def test_windows_are_those_of_a_loop(length, every, window, stride, batch_size):
    windows = Windows(form=SERIES, every=every, window=window, stride=stride)
    taken = list(range(0, length, every))
    expected, start = [], 0
    while len(taken) > window and start + window < len(taken):
        expected.append(taken[start : start + window])
        start += stride or window
    # The last one ends with the row; a row that is too short begins again.
    expected.append(taken[-window:] if len(taken) >= window else [taken[i % len(taken)] for i in range(window)])
    assert inputs(windows, torch.arange(float(length)), batch_size).tolist() == expected
    assert windows.count(length) == len(expected)


@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 12), st.data())
def test_no_element_is_left_out_where_windows_leave_no_gap(length, every, window, data):
    stride = data.draw(st.integers(1, window))
    shown = inputs(Windows(form=SERIES, every=every, window=window, stride=stride), torch.arange(length))
    assert set(shown.flatten().tolist()) == set(range(0, length, every))


def test_without_windows_each_element_is_an_image():
    video = torch.randint(0, 256, (7, 3, 6, 6), dtype=torch.uint8)
    windows = Windows(form=VIDEO, every=3)
    assert windows.shape == InputShape(shape=(3, 6, 6), dtype="float32", kind="image")
    assert torch.equal(inputs(windows, video), video[::3].float() / 255)


def test_windows_of_a_video_keep_their_time():
    video = torch.randint(0, 256, (7, 3, 6, 6), dtype=torch.uint8)
    windows = Windows(form=VIDEO, window=4, stride=3)
    assert windows.shape == InputShape(shape=(4, 3, 6, 6), dtype="float32", kind="feature")
    assert torch.equal(inputs(windows, video), torch.stack([video[:4], video[3:]]).float() / 255)


def test_time_may_be_the_last_axis():
    sound = torch.randn(1, 5, 8)
    windows = Windows(form=SOUND, window=4)
    assert windows.shape == InputShape(shape=(1, 5, 4), dtype="float32", kind="image")
    assert torch.equal(inputs(windows, sound), torch.stack([sound[..., :4], sound[..., 4:]]))
    assert torch.equal(inputs(Windows(form=SOUND), sound), sound[0].T[:, None])
    assert inputs(Windows(form=SOUND, window="all"), sound).shape == (1, 1, 5, 8)


def test_the_whole_row_is_one_input():
    text = InputShape(shape=(-1,), kind="feature")
    row = torch.tensor([104, 105], dtype=torch.uint8)
    windows = Windows(form=text, window="all")
    assert windows.shape == text
    assert torch.equal(inputs(windows, row), row[None])


def test_pictures_are_resized_alone_and_in_windows():
    video = torch.randint(0, 256, (4, 3, 6, 6), dtype=torch.uint8)
    single, double = Windows(form=VIDEO, size=8), Windows(form=VIDEO, window=2, size=8)
    assert (single.shape.shape, double.shape.shape) == ((3, 8, 8), (2, 3, 8, 8))
    assert torch.equal(inputs(single, video), inputs(double, video).flatten(0, 1))
    flat = torch.full((2, 3, 6, 6), 51, dtype=torch.uint8)
    torch.testing.assert_close(inputs(single, flat), torch.full((2, 3, 8, 8), 0.2))


def test_an_image_is_one_input():
    image = torch.randint(0, 256, (3, 6, 6), dtype=torch.uint8)
    windows = Windows(form=InputShape(shape=(3, 6, 6)), size=4)
    assert windows.shape == InputShape(shape=(3, 4, 4), dtype="float32", kind="image")
    assert inputs(windows, image).shape == (1, 3, 4, 4)


@pytest.mark.parametrize(
    ("form", "keys", "where"),
    [
        (InputShape(shape=(3, 6, 6)), {"every": 2}, "/every"),
        (InputShape(shape=(3, 6, 6)), {"window": 2}, "/window"),
        (SERIES, {"size": 8}, "/size"),
        (SOUND, {"size": 8}, "/size"),
    ],
)
def test_rows_that_cannot_be_cut_so(form, keys, where):
    with pytest.raises(SpecError) as caught:
        Windows.of(ExtractKeys(**keys), form)
    assert caught.value.problems[0].where == where
