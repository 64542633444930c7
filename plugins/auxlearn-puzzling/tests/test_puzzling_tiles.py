"""The tile shuffle against a reference of loops and slices, its laws, and what it must not do on a device."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from auxlearn_puzzling import invert_order, puzzle, shuffle_tiles, unshuffle_tiles

PAPER_ORDER = [1, 8, 7, 6, 2, 5, 4, 3, 0]


def by_slices(images, order, grid):
    """The definition: position k of the result shows tile order[k] of the source, row by row."""
    result = torch.empty_like(images)
    high, wide = images.shape[2] // grid, images.shape[3] // grid
    for n, row in enumerate(order.tolist()):
        for k, source in enumerate(row):
            top, left = divmod(k, grid)
            from_top, from_left = divmod(source, grid)
            tile = images[n, :, from_top * high : (from_top + 1) * high, from_left * wide : (from_left + 1) * wide]
            result[n, :, top * high : (top + 1) * high, left * wide : (left + 1) * wide] = tile
    return result


def orders(rows, grid, seed=0):
    return torch.rand(rows, grid**2, generator=torch.Generator().manual_seed(seed)).argsort(1)


def numbered(grid, side, rows=1):
    """Images whose tiles each have their own number as value."""
    numbers = torch.arange(grid**2, dtype=torch.float32).view(1, 1, grid, grid)
    return numbers.repeat_interleave(side, 2).repeat_interleave(side, 3).repeat(rows, 1, 1, 1)


@st.composite
def cases(draw):
    grid = draw(st.integers(2, 5))
    shape = (draw(st.integers(0, 4)), draw(st.integers(1, 4)), *(grid * draw(st.integers(1, 4)) for _ in "hw"))
    dtype = draw(st.sampled_from([torch.uint8, torch.float32, torch.bfloat16, torch.int64]))
    images = torch.randint(256, shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99)))).to(dtype)
    form = draw(st.sampled_from([torch.contiguous_format, torch.channels_last]))
    return images.to(memory_format=form), orders(shape[0], grid, draw(st.integers(0, 99))), grid


@given(cases())
@settings(deadline=None)
def test_equals_the_reference_of_slices(case):
    images, order, grid = case
    result = shuffle_tiles(images, order, grid)
    assert result.dtype == images.dtype
    assert torch.equal(result, by_slices(images, order, grid))
    assert result.stride() == images.stride() or images.numel() == 0 or 1 in images.shape


@given(cases())
@settings(deadline=None)
def test_inverse_undoes(case):
    images, order, grid = case
    assert torch.equal(unshuffle_tiles(shuffle_tiles(images, order, grid), order, grid), images)
    assert torch.equal(shuffle_tiles(unshuffle_tiles(images, order, grid), order, grid), images)
    assert torch.equal(order.gather(1, invert_order(order)), torch.arange(grid**2).expand_as(order))


@given(cases(), st.integers(100, 199))
@settings(deadline=None)
def test_two_shuffles_are_one(case, seed):
    images, first, grid = case
    second = orders(len(images), grid, seed)
    twice = shuffle_tiles(shuffle_tiles(images, first, grid), second, grid)
    assert torch.equal(twice, shuffle_tiles(images, first.gather(1, second), grid))


@given(cases())
@settings(deadline=None)
def test_every_pixel_is_kept(case):
    images, order, grid = case
    result = shuffle_tiles(images, order, grid)
    assert torch.equal(result.flatten(2).float().sort(2).values, images.flatten(2).float().sort(2).values)


def test_the_order_of_the_paper_s_code():
    shown = shuffle_tiles(numbered(3, 4), torch.tensor([PAPER_ORDER]), 3)
    assert shown[0, 0, ::4, ::4].flatten().tolist() == PAPER_ORDER


def test_each_image_has_its_own_order():
    order = orders(5, 3)
    shown = shuffle_tiles(numbered(3, 2, rows=5), order, 3)
    assert torch.equal(shown[:, 0, ::2, ::2].flatten(1).long(), order)


def test_tiles_may_repeat():
    order = torch.tensor([[2, 2, 0, 0]])
    assert shuffle_tiles(numbered(2, 1), order, 2).flatten().tolist() == [2, 2, 0, 0]


def test_identity_is_the_original():
    images = torch.rand(2, 3, 12, 12)
    assert torch.equal(puzzle(images, torch.arange(9).expand(2, 9), 3), images)


def test_identity_at_224_is_the_original_up_to_resampling():
    """A 3 x 3 grid goes through 225 pixels, as in the authors' code."""
    ramp = torch.linspace(0, 1, 224)
    images = (ramp.view(1, 1, 1, -1) * ramp.view(1, 1, -1, 1)).expand(2, 3, -1, -1).contiguous()
    result = puzzle(images, torch.arange(9).expand(2, 9), 3)
    assert result.shape == images.shape
    torch.testing.assert_close(result, images, atol=2e-3, rtol=0)
    assert not torch.equal(result, images)


def test_sizes_that_the_grid_does_not_divide():
    order = orders(4, 3)
    images = torch.nn.functional.interpolate(numbered(3, 75, rows=4), size=(224, 223), mode="nearest-exact")
    result = puzzle(images, order, 3)
    assert result.shape == (4, 1, 224, 223)
    centres = result[:, 0, [37, 112, 186]][:, :, [37, 112, 186]].flatten(1)
    torch.testing.assert_close(centres, order.float(), atol=1e-4, rtol=0)


def test_nearest_makes_no_new_labels():
    result = puzzle(numbered(3, 5)[..., :14, :14], orders(1, 3), 3, "nearest-exact")
    assert set(result.unique().tolist()) <= set(range(9))


def test_gradient_goes_back_where_the_pixel_came_from():
    images = torch.rand(2, 3, 6, 6, requires_grad=True)
    order, upstream = orders(2, 3), torch.rand(2, 3, 6, 6)
    shuffle_tiles(images, order, 3).backward(upstream)
    assert torch.equal(images.grad, unshuffle_tiles(upstream, order, 3))


def test_strided_images_are_read_rightly():
    images = torch.rand(2, 3, 12, 12)[..., ::2, ::2].flip(3)
    assert torch.equal(shuffle_tiles(images, orders(2, 2), 2), by_slices(images, orders(2, 2), 2))


@pytest.mark.parametrize(
    ("shape", "order_shape", "message"),
    [((1, 1, 7, 6), (1, 9), "multiples of grid 3, found 7 x 6"), ((2, 1, 6, 6), (1, 9), r"\(2, 9\), found \(1, 9\)")],
)
def test_what_does_not_fit_is_refused(shape, order_shape, message):
    with pytest.raises(ValueError, match=message):
        shuffle_tiles(torch.rand(shape), torch.zeros(order_shape, dtype=torch.long), 3)


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", [12, 13])
def test_reads_nothing_back_from_the_device(form, side):
    """Fake tensors raise on every read of a value by the host."""
    with FakeTensorMode():
        images = torch.empty(4, 3, side, side, device="cuda").to(memory_format=form)
        order = torch.empty(4, 9, dtype=torch.long, device="cuda")
        result = puzzle(images, invert_order(order), 3)
    assert result.shape == images.shape
    assert result.device.type == "cuda"


@pytest.mark.parametrize("side", [12, 13])
def test_is_one_graph(side):
    images, order = torch.rand(4, 3, side, side), orders(4, 3)
    torch._dynamo.reset()
    compiled = torch.compile(puzzle, fullgraph=True, backend="eager")
    assert torch.equal(compiled(images, order, 3), puzzle(images, order, 3))
