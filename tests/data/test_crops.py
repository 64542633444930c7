"""Rows that are a part of their picture: the pixels, the checks, the cache, and what counts as the same input."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from auxlearn.data import Region, TableRow, TableSource, TargetInfo, prepare, read_image
from auxlearn.data.overview import overview
from auxlearn.data.selection import Selection
from auxlearn.errors import DataError
from auxlearn.spec.models import DataKeys

HEIGHT, WIDTH = 6, 8
PIXELS = np.random.default_rng(0).integers(1, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("crops") / "a.png"
    Image.fromarray(PIXELS).save(path)
    return path


def source(picture, *crops, **options):
    rows = [TableRow(path=picture.name, crop=crop) for crop in crops]
    return TableSource(rows, **({"root": picture.parent, "targets": {}, "size": 4} | options))


@given(st.integers(-9, 12), st.integers(-9, 12), st.integers(1, 9), st.integers(1, 9))
def test_a_crop_is_the_pixels_and_black_beyond_them(picture, left, top, width, height):
    padded = np.zeros((HEIGHT + 60, WIDTH + 60, 3), dtype=np.uint8)
    padded[30 : 30 + HEIGHT, 30 : 30 + WIDTH] = PIXELS
    expected = padded[30 + top : 30 + top + height, 30 + left : 30 + left + width]
    read = read_image(picture, crop=(left, top, left + width, top + height))
    assert np.array_equal(read.permute(1, 2, 0).numpy(), expected)


def test_edges_are_rounded_and_the_fit_is_that_of_the_crop(picture):
    assert torch.equal(read_image(picture, crop=(1.4, 0.6, 4.6, 4.4)), read_image(picture, crop=(1, 1, 5, 4)))
    part = Image.fromarray(PIXELS[1:5, 1:7])
    squashed = np.asarray(part.resize((3, 3), Image.Resampling.BILINEAR))
    assert np.array_equal(read_image(picture, 3, fit="squash", crop=(1, 1, 7, 5)).permute(1, 2, 0).numpy(), squashed)
    square = np.asarray(part.resize((3, 3), Image.Resampling.BILINEAR, box=(1, 0, 5, 4)))
    assert np.array_equal(read_image(picture, 3, crop=(1, 1, 7, 5)).permute(1, 2, 0).numpy(), square)


def test_black_is_black_in_every_mode_and_crops_are_of_the_upright_picture(tmp_path):
    for mode in ("L", "P", "RGBA", "I;16"):
        path = tmp_path / f"{mode[0]}.png"
        Image.new(mode, (2, 2)).save(path)
        assert read_image(path, crop=(2, 0, 4, 2)).sum() == 0
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    Image.fromarray(PIXELS).save(tmp_path / "turned.png", exif=exif)
    upright = np.rot90(PIXELS, -1)
    read = read_image(tmp_path / "turned.png", crop=(1, 2, 4, 7))
    assert np.array_equal(read.permute(1, 2, 0).numpy(), upright[2:7, 1:4])


@pytest.mark.parametrize(
    ("crop", "message"),
    [
        ((3, 1, 3, 4), r"a.png.* cannot be cropped: the crop \(3, 1, 3, 4\) .* has no area"),
        ((0, 0, float("nan"), 4), "should be four numbers"),
        ((0, 0, 1e5, 1e5), "100000 x 100000 pixels has more than the limit of"),
    ],
)
def test_crops_that_cannot_be(picture, crop, message):
    with pytest.raises(DataError, match=message):
        source(picture, (0, 0, 2, 2), crop)
    with pytest.raises(DataError):
        read_image(picture, crop=crop)


def test_a_crop_that_shows_nothing_is_found_before_training(picture):
    made = source(picture, (0, 0, 4, 4), (8, 0, 12, 4), (-3, -3, 1, 1), (0, -9, 4, 0))
    with pytest.raises(DataError) as error:
        made.check()
    assert len(error.value.problems) == 2
    assert r"is cropped to (8, 0, 12, 4), outside of its (6, 8) pixels (height, width)" in str(error.value)


def test_without_a_size_the_crops_have_to_be_of_one(picture):
    made = source(picture, (0, 0, 3, 2), (1, 1, 4, 3), size=None)
    assert made.inputs["image"].shape == (3, 2, 3)
    made.check()
    with pytest.raises(DataError, match=r"has \(3, 3\) pixels"):
        source(picture, (0, 0, 3, 2), (1, 1, 4, 4), size=None).check()


def test_an_overview_has_the_sizes_of_the_parts_also_in_other_splits(picture):
    region = Region(box=(1, 2, 3, 4))
    rows = [TableRow(path=picture.name, crop=crop, region=region) for crop in ((0, 0, 3, 2), (1, 1, 4, 3), None)]
    made = TableSource(rows, root=picture.parent, targets={}, size=4)
    view = Selection(made, {"val": [("train", np.array([0, 2]))]})
    assert overview(made).sizes == {(3, 2): 2, (WIDTH, HEIGHT): 1}
    assert overview(view).sizes == {(3, 2): 1, (WIDTH, HEIGHT): 1}
    assert view.region("val", 1) == region


def test_only_the_same_part_is_the_same_input(picture):
    made = source(picture, (0, 0, 4, 4), (1, 0, 5, 4), (0, 0, 4, 4), None)
    assert made.duplicates() == [[("train", 0), ("train", 2)]]


def test_the_fingerprint_and_the_cache_see_the_crop(picture, tmp_path):
    prints = {source(picture, crop).fingerprint() for crop in (None, (0, 0, 4, 4), (1, 0, 5, 4))}
    assert len(prints) == 3
    for crop in ((0, 0, 4, 4), (1, 0, 5, 4)):
        keys = DataKeys(cache="memmap", cache_dir=str(tmp_path))
        data = prepare(source(picture, crop), keys, seed=0)
        item = data.source.dataset("train")[0]
        assert torch.equal(torch.as_tensor(item["image"]), read_image(picture, 4, crop=crop))


def test_a_region_may_be_looked_up_when_it_is_asked_for(picture):
    asked = []

    def look():
        asked.append(1)
        return Region(box=(1, 2, 3, 4))

    mood = {"mood": TargetInfo(kind="class", names=("sad", "happy"))}
    made = TableSource([TableRow(path=picture.name, region=look)], root=picture.parent, targets=mood, size=4)
    assert not asked
    assert made.region("train", 0) == Region(box=(1, 2, 3, 4))
    made.fingerprint()
    assert len(asked) == 1
