"""Masks: the laws of each shape, cases by hand, and independence of everything but the numbers."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from scipy.ndimage import label
from torch._subclasses.fake_tensor import FakeTensorMode

from auxlearn.learning import Draws
from auxlearn_inpainting import BlockMask, FaceMask, FreeformMask, GridMask, fill_masked
from auxlearn_inpainting.params import REGIONS

SHAPES = [BlockMask(), GridMask(), FreeformMask(), FaceMask()]
SIZES = st.integers(8, 70)


def uniform(mask, rows, seed=0):
    return torch.rand(rows, mask.numbers, generator=torch.Generator().manual_seed(seed))


def areas(mask):
    return mask.float().mean((1, 2, 3))


@pytest.mark.parametrize("mask", SHAPES, ids=lambda m: type(m).__name__)
@given(height=SIZES, width=SIZES, seed=st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_a_row_depends_on_its_own_numbers_only(mask, height, width, seed):
    numbers = uniform(mask, 4, seed)
    drawn = mask.draw(numbers, height, width)
    assert drawn.shape == (4, 1, height, width)
    assert drawn.dtype == torch.bool
    assert torch.equal(mask.draw(numbers[2:3], height, width), drawn[2:3])
    assert torch.equal(mask.draw(numbers.flip(0), height, width).flip(0), drawn)


@pytest.mark.parametrize("mask", SHAPES, ids=lambda m: type(m).__name__)
def test_two_processes_draw_the_masks_of_one(mask):
    def drawn(rows, **place):
        return mask.draw(Draws(seed=3, name="paint", step=5, **place).uniform(rows, mask.numbers), 24, 24)

    assert torch.equal(torch.cat([drawn(4, rank=rank, world=2) for rank in (0, 1)]), drawn(8))


@pytest.mark.parametrize("mask", SHAPES, ids=lambda m: type(m).__name__)
def test_masks_differ_between_rows_and_hide_something(mask):
    drawn = mask.draw(uniform(mask, 200), 32, 32)
    assert drawn.flatten(1).any(1).all()
    assert len(drawn.flatten(1).unique(dim=0)) > 150


@pytest.mark.parametrize("mask", SHAPES, ids=lambda m: type(m).__name__)
def test_drawing_reads_nothing_back_from_the_device(mask):
    with FakeTensorMode(), torch.device("cuda"):
        drawn = mask.draw(torch.empty(4, mask.numbers), 33, 32)
    assert (drawn.device.type, tuple(drawn.shape)) == ("cuda", (4, 1, 33, 32))


@given(
    side=st.integers(12, 80),
    low=st.floats(0.02, 0.9),
    more=st.floats(0, 1),
    aspect=st.floats(1, 4),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_one_block_is_a_rectangle_of_its_area(side, low, more, aspect, seed):
    area = (low, min(1.0, low + more * (1 - low)))
    mask = BlockMask(number=(1, 1), area=area, aspect=aspect)
    for drawn in mask.draw(uniform(mask, 4, seed), side, side)[:, 0]:
        rows, columns = drawn.any(1), drawn.any(0)
        assert torch.equal(drawn, rows.unsqueeze(1) & columns)  # a product, hence a rectangle if both are runs
        assert rows.int().diff().abs().sum() <= 2
        assert columns.int().diff().abs().sum() <= 2
        tall, wide = int(rows.sum()), int(columns.sum())
        # Pixels whose centre is inside: a side of s pixels has more than s - 1 and less than s + 1 of them.
        assert (tall - 1) * (wide - 1) <= area[1] * side**2 + 1e-3
        assert (tall + 1) * (wide + 1) >= area[0] * side**2 - 1e-3
        bound = aspect if area[1] * aspect <= 1 else math.inf  # a rectangle that long would not fit
        assert max(tall, wide) - 1 <= bound * (min(tall, wide) + 1)


def test_blocks_share_the_area():
    mask = BlockMask(number=(2, 3), area=(0.1, 0.4))
    found = areas(mask.draw(uniform(mask, 500), 100, 100))
    assert found.max() < 0.43  # 0.4, and a pixel's width around each rectangle
    assert found.min() > 0.1 / 3 - 0.01  # all of them in one place
    assert 0.15 < found.mean() < 0.25  # 0.25, less the overlaps


def test_the_number_of_blocks_is_uniform():
    """Blocks so small that they hardly ever meet."""
    mask = BlockMask(number=(1, 4), area=(0.01, 0.01), aspect=1.0)
    counts = [label(drawn)[1] for drawn in mask.draw(uniform(mask, 400), 60, 60)[:, 0].numpy()]
    assert all(70 < counts.count(number) < 130 for number in (1, 2, 3, 4))  # 100 expected, standard deviation 9


@given(cells=st.integers(2, 12), portion=st.floats(0.01, 1), more=st.integers(1, 5), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_a_grid_hides_exactly_its_portion_of_cells(cells, portion, more, seed):
    mask = GridMask(cells=cells, portion=portion)
    drawn = mask.draw(uniform(mask, 3, seed), cells * more, cells * more)
    tiles = drawn.unflatten(3, (cells, more)).unflatten(2, (cells, more)).float().mean((3, 5))
    assert set(tiles.unique().tolist()) <= {0.0, 1.0}
    assert (tiles.sum((1, 2, 3)) == max(1, round(portion * cells**2))).all()


def test_grid_cells_of_odd_sizes_differ_by_a_pixel():
    mask = GridMask(cells=3, portion=1 / 9)
    seen = {
        tuple(drawn[0].any(side).sum().item() for side in (0, 1)) for drawn in mask.draw(uniform(mask, 300), 11, 10)
    }
    assert seen == {(wide, tall) for wide in (3, 4) for tall in (3, 4)}


def test_every_cell_is_as_likely_as_the_others():
    mask = GridMask(cells=4, portion=0.25)
    hidden = mask.draw(uniform(mask, 4000), 4, 4).float().mean((0, 1))
    assert (hidden - 0.25).abs().max() < 0.03  # standard deviation 0.007


def by_hand(mask, numbers, side):
    """The strokes of one row, written with loops over pixels and lines."""
    take = iter(numbers.tolist())

    def between(bounds):
        return bounds[0] + next(take) * (bounds[1] - bounds[0])

    strokes = mask.strokes[0] + int(next(take) * (mask.strokes[1] - mask.strokes[0] + 1))
    lines = []
    for stroke in range(mask.strokes[1]):
        segments = mask.segments[0] + int(next(take) * (mask.segments[1] - mask.segments[0] + 1))
        x, y = next(take), next(take)
        radius, direction = between(mask.width) / 2, 2 * math.pi * next(take)
        for index in range(mask.segments[1]):
            turn = math.radians(48 + 48 * next(take))
            length = between(mask.length)
            angle = direction + (turn if index % 2 else -turn)
            to = min(max(x + length * math.cos(angle), 0), 1), min(max(y + length * math.sin(angle), 0), 1)
            if stroke < strokes and index < segments:
                lines.append(((x, y), to, radius))
            x, y = to
    inside = torch.zeros(side, side, dtype=torch.bool)
    for row in range(side):
        for column in range(side):
            pixel = ((column + 0.5) / side, (row + 0.5) / side)
            # The distance to a line is the least distance to its points.
            inside[row, column] = any(
                min(math.dist(pixel, (a[0] + t / 60 * (b[0] - a[0]), a[1] + t / 60 * (b[1] - a[1]))) for t in range(61))
                <= radius
                for a, b, radius in lines
            )
    return inside


def test_strokes_are_those_that_a_loop_over_pixels_paints():
    mask = FreeformMask(strokes=(1, 2), segments=(1, 3))
    numbers = uniform(mask, 4)
    for row, drawn in zip(numbers, mask.draw(numbers, 20, 20)[:, 0], strict=True):
        assert (drawn != by_hand(mask, row, 20)).sum() <= 2  # the loop tries 61 points of a line, not all


def test_a_line_by_hand():
    """From the centre straight down by a quarter, with a brush of a quarter: direction 90 degrees plus the turn."""
    mask = FreeformMask(strokes=(1, 1), segments=(1, 1), length=(0.25, 0.25), width=(0.25, 0.25))
    direction = (90 + 48) / 360  # the first line leaves its direction by 48 degrees for a turn of 0
    drawn = mask.draw(torch.tensor([[0.0, 0.0, 0.5, 0.5, 0.0, direction, 0.0, 0.0]]), 8, 8)[0, 0]
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[3:7, 3:5] = True  # pixels of 1/8, the line between the columns 3 and 4; round ends of 1/8 reach rows 3, 6
    assert torch.equal(drawn, expected)


def test_a_line_of_no_length_is_a_disc():
    mask = FreeformMask(strokes=(1, 1), segments=(1, 1), length=(1e-9, 1e-9), width=(0.5, 0.5))
    drawn = mask.draw(torch.tensor([[0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0]]), 40, 40)[0, 0]
    assert drawn.float().mean().item() == pytest.approx(math.pi / 16, abs=0.01)


@given(
    count=st.tuples(st.integers(1, 4), st.integers(1, 4)).map(sorted).map(tuple),
    seed=st.integers(0, 1000),
    side=st.integers(20, 60),
)
@settings(max_examples=40, deadline=None)
def test_face_regions_are_the_boxes_of_the_table(count, seed, side):
    mask = FaceMask(number=count, jitter=0.0)
    boxes = {}
    for name, box in REGIONS.items():
        alone = FaceMask(number=(1, 1), jitter=0.0, regions={name: box})
        boxes[name] = alone.draw(torch.zeros(1, alone.numbers), side, side)[0]
        expected = (box[2] - box[0]) * (box[3] - box[1])
        assert boxes[name].float().mean().item() == pytest.approx(expected, abs=3 / side)
    for drawn in mask.draw(uniform(mask, 4, seed), side, side):
        inside = [name for name, box in boxes.items() if bool(drawn[box].all())]
        assert count[0] <= len(inside)
        assert torch.equal(drawn, torch.stack([boxes[name] for name in inside]).any(0))


def test_each_region_is_chosen_as_often_and_moves_by_the_jitter():
    mask = FaceMask(number=(1, 1), jitter=0.05, regions={"left": (0.2, 0.4, 0.4, 0.6), "right": (0.6, 0.4, 0.8, 0.6)})
    drawn = mask.draw(uniform(mask, 2000), 100, 100)[:, 0]
    left = drawn[:, :, :50].flatten(1).any(1)
    assert abs(left.float().mean() - 0.5) < 0.05
    edge = drawn[left].any(1).int().argmax(1) / 100
    assert edge.min() >= 0.15 - 0.006
    assert edge.max() <= 0.25 + 0.006
    assert 0.025 < edge.std() < 0.033  # uniform within 0.1: 0.029


@pytest.mark.parametrize("fill", ["mean", "zero", "noise"])
def test_only_masked_pixels_change(fill):
    images, noise = torch.rand(4, 3, 16, 16) / 2 + 0.25, torch.rand(4, 3, 16, 16) + 1
    mask = BlockMask().draw(uniform(BlockMask(), 4), 16, 16)
    before, filled = images.clone(), fill_masked(images, mask, fill, noise)
    assert torch.equal(images, before)
    kept, hidden = ~mask.expand_as(images), mask.expand_as(images)
    assert torch.equal(filled[kept], images[kept])
    means = images.mean((2, 3), keepdim=True).expand_as(images)
    expected = {"mean": means, "zero": torch.zeros_like(images), "noise": noise}[fill]
    assert torch.equal(filled[hidden], expected[hidden])
    assert filled.dtype == fill_masked(images, mask, fill, noise.double()).dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BlockMask(number=(0, 2)), r"`number` should ascend within numbers from 1, found \(0, 2\)"),
        (lambda: BlockMask(number=(3, 2)), r"`number`.*found \(3, 2\)"),
        (lambda: BlockMask(area=(0.0, 0.5)), r"`area`.*above 0 and up to 1, found \(0.0, 0.5\)"),
        (lambda: BlockMask(area=(0.5, 1.5)), r"`area`"),
        (lambda: BlockMask(aspect=0.5), "`aspect` should be at least 1, found 0.5"),
        (lambda: GridMask(cells=1), "`cells` should be at least 2, found 1"),
        (lambda: GridMask(portion=0.0), "`portion`"),
        (
            lambda: FreeformMask(width=(0.0, 0.1)),
            r"`width` should be two positive numbers that ascend, found \(0.0, 0.1\)",
        ),
        (lambda: FaceMask(number=(1, 5)), r"`number` should ascend within numbers from 1 to 4, found \(1, 5\)"),
        (lambda: FaceMask(number=(1, 1), regions={"ear": (0.5, 0, 0.4, 1)}), "`ear` should be"),
        (lambda: fill_masked(torch.rand(1, 1, 2, 2), torch.ones(1, 1, 2, 2).bool(), "noise"), "`fill`.*'noise'"),
        (lambda: fill_masked(torch.rand(1, 1, 2, 2), torch.ones(1, 1, 2, 2).bool(), "one"), "'one'"),
    ],
)
def test_says_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()
