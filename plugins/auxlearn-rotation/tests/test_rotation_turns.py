"""Turning by quarters against `torch.rot90` of each row, its laws, and the motion of pixel coordinates."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from auxlearn_rotation import quarter_turn, turn_motion


def by_rot90(images, turns, tiles):
    """The definition: each tile turned by torch.rot90, where it is."""
    result, side = images.clone(), images.shape[-1] // tiles
    for n, row in enumerate(turns.tolist()):
        for t, turn in enumerate(row):
            i, j = divmod(t, tiles)
            place = (n, slice(None), slice(i * side, (i + 1) * side), slice(j * side, (j + 1) * side))
            result[place] = torch.rot90(images[place], turn, (1, 2))
    return result


@st.composite
def cases(draw):
    tiles = draw(st.integers(1, 4))
    side = tiles * draw(st.integers(1, 5))
    seeded = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    rows, channels = draw(st.integers(0, 4)), draw(st.integers(1, 4))
    dtype = draw(st.sampled_from([torch.uint8, torch.float32, torch.bfloat16, torch.float64]))
    form = draw(st.sampled_from([torch.contiguous_format, torch.channels_last]))
    images = torch.randint(256, (rows, channels, side, side), generator=seeded).to(dtype).to(memory_format=form)
    return images, torch.randint(-5, 9, (rows, tiles**2), generator=seeded), tiles


@given(cases())
@settings(deadline=None)
def test_equals_rot90_of_each_tile(case):
    images, turns, tiles = case
    result = quarter_turn(images, turns, tiles)
    assert result.dtype == images.dtype
    assert torch.equal(result, by_rot90(images, turns, tiles))
    assert result.stride() == images.stride() or images.numel() == 0 or 1 in images.shape


@given(cases(), st.integers(0, 999))
@settings(deadline=None)
def test_turns_add_up(case, seed):
    images, first, tiles = case
    second = torch.randint(-5, 9, first.shape, generator=torch.Generator().manual_seed(seed))
    twice = quarter_turn(quarter_turn(images, first, tiles), second, tiles)
    assert torch.equal(twice, quarter_turn(images, first + second, tiles))
    assert torch.equal(quarter_turn(quarter_turn(images, first, tiles), -first, tiles), images)


@given(cases())
@settings(deadline=None)
def test_four_turns_are_none(case):
    images, turns, tiles = case
    once = torch.ones_like(turns)
    result = images
    for _ in range(4):
        result = quarter_turn(result, once, tiles)
    assert torch.equal(result, images)
    assert torch.equal(quarter_turn(images, 4 * turns, tiles), images)


@given(st.integers(1, 9), st.integers(0, 3), st.integers(0, 8), st.integers(0, 8))
def test_motion_says_where_a_pixel_went(side, turn, x, y):
    x, y = x % side, y % side
    images = torch.zeros(1, 1, side, side)
    images[0, 0, y, x] = 1
    turns = torch.tensor([turn])
    shown = quarter_turn(images, turns.unsqueeze(1))
    to_x, to_y = (turn_motion(turns, side).matrix @ torch.tensor([x, y, 1.0]))[0].tolist()
    assert shown[0, 0].nonzero().tolist() == [[to_y, to_x]]


def test_motions_of_several_rows_and_turns_compose():
    turns = torch.tensor([0, 1, 2, 3])
    there, back = turn_motion(turns, 10), turn_motion(-turns, 10)
    assert torch.equal(there.then(back).matrix, torch.eye(2, 3).expand(4, 2, 3))
    assert torch.equal(there.then(there).matrix, turn_motion(2 * turns, 10).matrix)
    assert (there.matrix[:, :, :2].det() == 1).all()  # a rotation, no mirror


def test_a_turn_is_counterclockwise_as_displayed():
    assert quarter_turn(torch.tensor([[[[1, 2], [3, 4]]]]), torch.tensor([[1]]))[0, 0].tolist() == [[2, 4], [1, 3]]


@pytest.mark.parametrize("tiles", [3, 5])
def test_sizes_that_the_tiles_do_not_divide(tiles):
    """Tiles of one colour stay where they are; at 224 pixels 3 tiles go through 225."""
    images = torch.rand(2, 3, tiles, tiles).repeat_interleave(45, 2).repeat_interleave(45, 3)[..., :-1, :-1]
    turns = torch.randint(0, 4, (2, tiles**2))
    result = quarter_turn(images, turns, tiles)
    assert result.shape == images.shape
    torch.testing.assert_close(result[..., 22::45, 22::45], images[..., 22::45, 22::45], atol=1e-5, rtol=0)
    assert set(quarter_turn(images.round(), turns, tiles, "nearest-exact").unique().tolist()) <= {0.0, 1.0}


def test_gradient_goes_back_where_the_pixel_came_from():
    for form in (torch.contiguous_format, torch.channels_last):
        images = torch.rand(4, 3, 6, 6).to(memory_format=form).requires_grad_()
        turns, upstream = torch.randint(0, 4, (4, 4)), torch.rand(4, 3, 6, 6)
        quarter_turn(images, turns, 2).backward(upstream)
        assert torch.equal(images.grad, quarter_turn(upstream, -turns, 2))


def test_strided_images_are_read_rightly():
    images, turns = torch.rand(2, 3, 12, 12)[..., ::2, ::2].flip(3), torch.tensor([[1], [3]])
    assert torch.equal(quarter_turn(images, turns), by_rot90(images, turns, 1))


@pytest.mark.parametrize(
    ("shape", "turns", "message"),
    [((1, 1, 6, 8), (1, 4), "square, found 6 x 8"), ((2, 1, 6, 6), (2, 1), r"\(2, 4\), found \(2, 1\)")],
)
def test_what_does_not_fit_is_refused(shape, turns, message):
    with pytest.raises(ValueError, match=message):
        quarter_turn(torch.rand(shape), torch.zeros(turns, dtype=torch.long), 2)


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", [12, 13])
def test_reads_nothing_back_from_the_device(form, side):
    """Fake tensors raise on every read of a value by the host."""
    with FakeTensorMode():
        images = torch.empty(4, 3, side, side, device="cuda").to(memory_format=form)
        turns = torch.empty(4, 9, dtype=torch.long, device="cuda")
        result, motion = quarter_turn(images, turns, 3), turn_motion(turns[:, 0], side)
    assert result.shape == images.shape
    assert {result.device.type, motion.matrix.device.type} == {"cuda"}


@pytest.mark.parametrize("side", [12, 13])
def test_is_one_graph(side):
    images, turns = torch.rand(4, 3, side, side), torch.randint(0, 4, (4, 9))
    torch._dynamo.reset()
    compiled = torch.compile(quarter_turn, fullgraph=True, backend="eager")
    assert torch.equal(compiled(images, turns, 3), quarter_turn(images, turns, 3))
