"""The shipped images and labels, and the packed form."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auxlearn_synthfaces.archive import (
    EXPRESSIONS,
    MORPHOLOGIES,
    SHIPPED,
    SPLITS,
    Row,
    fingerprint,
    read_images,
    read_labels,
    write_archive,
)


def row(number, **changes):
    values = {
        "id": f"000-{number:02d}", "expression": "fear", "yaw": -1.5, "pitch": 2.25, "roll": 0.0,
        "morphology": "male_morph", "age": 31.5, "subject": "000", "split": "train",
    }  # fmt: skip
    return Row(**values | changes)


@pytest.fixture(scope="module")
def labels():
    return read_labels()


def test_the_shipped_set_is_small():
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 12_000_000


def test_every_label_is_in_its_range(labels):
    assert len(labels) == 4000
    assert len({row.id for row in labels}) == 4000
    for row in labels:
        assert row.expression in EXPRESSIONS
        assert row.morphology in MORPHOLOGIES
        assert row.split in SPLITS
        assert (abs(row.yaw), abs(row.pitch), abs(row.roll)) <= (75, 40, 30)
        assert 14 <= row.age <= 80


def test_no_subject_is_in_two_splits(labels):
    splits = {}
    for row in labels:
        splits.setdefault(row.subject, set()).add(row.split)
    assert all(len(found) == 1 for found in splits.values())
    assert Counter(next(iter(found)) for found in splits.values()) == {"train": 210, "val": 30, "test": 60}


def test_a_subject_keeps_its_age_and_morphology(labels):
    assert len({(row.subject, row.age, row.morphology) for row in labels}) == 300


@pytest.mark.parametrize("split", SPLITS)
def test_classes_are_balanced_in_every_split(labels, split):
    rows = [row for row in labels if row.split == split]
    counts = Counter(row.expression for row in rows)
    assert min(counts.values()) > 0.85 * len(rows) / len(EXPRESSIONS)
    assert max(counts.values()) < 1.15 * len(rows) / len(EXPRESSIONS)
    sides = Counter(row.morphology for row in rows)
    assert abs(sides["female_morph"] - sides["male_morph"]) <= 0.02 * len(rows)


def test_angles_cover_both_directions_and_do_not_tell_the_expression(labels):
    angles = np.array([[row.yaw, row.pitch, row.roll] for row in labels])
    assert np.allclose(angles.mean(0), 0, atol=1.5)
    assert np.allclose(angles.std(0), [28, 14, 10], rtol=0.08)
    for name in EXPRESSIONS:
        own = angles[[row.expression == name for row in labels]]
        assert np.all(np.abs(own.mean(0)) < 5 * angles.std(0) / np.sqrt(len(own)))


def test_the_shipped_images_are_faces_and_all_different(labels):
    images = read_images()
    assert images.shape == (4000, 64, 64, 3)
    assert images.dtype == np.uint8
    assert len({image.tobytes() for image in images}) == 4000
    assert (images.reshape(4000, -1).std(1) > 10).all()  # none is blank


def test_red_lips_lie_below_the_centre_of_frontal_faces(labels):
    """A weak check that labels and tiles have the same order: mouths of frontal faces are redder than foreheads."""
    frontal = [i for i, row in enumerate(labels) if max(abs(row.yaw), abs(row.pitch), abs(row.roll)) < 8]
    images = read_images()[frontal].astype(float)
    redness = images[..., 0] / images.sum(-1).clip(1)
    assert len(frontal) > 50
    assert redness[:, 44:54, 26:38].mean() > redness[:, 8:18, 26:38].mean()


@settings(max_examples=25)
@given(st.integers(1, 45), st.sampled_from([8, 16, 24]))
def test_a_packed_archive_comes_back(tmp_path_factory, count, size):
    folder = tmp_path_factory.mktemp("archive")
    base = np.random.default_rng(count).integers(30, 220, (count, 1, 1, 3))
    images = np.broadcast_to(base, (count, size, size, 3)).astype(np.uint8)
    rows = [row(number) for number in range(count)]
    write_archive(folder, rows, images, quality=95)
    assert read_labels(folder) == rows
    back = read_images(folder)
    assert back.shape == images.shape
    assert np.abs(back.astype(int) - images).max() <= 4  # flat tiles do not bleed into each other


def test_writing_again_leaves_no_sheet_of_before(tmp_path):
    images = np.zeros((401, 8, 8, 3), np.uint8)
    write_archive(tmp_path, [row(number) for number in range(401)], images)
    before = fingerprint(tmp_path)
    write_archive(tmp_path, [row(0)], images[:1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "sheet_000.jpg"]
    assert len(read_images(tmp_path)) == 1
    assert fingerprint(tmp_path) != before


@pytest.mark.parametrize(("count", "size"), [(2, 8), (1, 12)])
def test_what_does_not_fit_is_refused(tmp_path, count, size):
    with pytest.raises(ValueError, match=f"1 rows for .{count}, {size}"):
        write_archive(tmp_path, [row(0)], np.zeros((count, size, size, 3), np.uint8))


def test_the_origin_is_stated_beside_the_images():
    text = Path(SHIPPED, "ORIGIN.md").read_text(encoding="utf-8")
    assert "CC0 1.0" in text
    assert "MakeHuman" in text
    assert "not a person's gender" in text
