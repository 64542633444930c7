"""300W-LP and AFLW2000-3D: head poses of faces with landmarks.

Paper: "Face Alignment Across Large Poses: A 3D Solution" (arXiv 1511.07212;
http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm). 300W-LP is the folders AFW, HELEN, IBUG, LFPW and
the mirrored AFW_Flip, ...; AFLW2000 is one folder. Each `.jpg` has a `.mat` of its name with `Pose_Para` (pitch, yaw,
roll in radians first) and landmarks: `pt2d`, and `pt3d_68` in AFLW2000 only.

The crops, and the rule that heads of more than 99 degrees are left out, are those of
https://github.com/thohemp/6DRepNet (`sixdrepnet/datasets.py`, `create_filename_list.py`); its training draws how
loosely it crops anew each time, which here is one value.

In 300W-LP the group is the photo's face: AFW_134212_1 of AFW_134212_1_0.jpg, AFW_134212_1_1.jpg, ..., mirrored or not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import attrs

from auxlearn.data import DataContext, Region, TableRow, TableSource
from auxlearn.errors import DataError, Problem
from auxlearn_faces.readers.biwi import read_biwi
from auxlearn_faces.readers.layout import Layout
from auxlearn_faces.readers.mat import loose_crop, mat_reader, read_head
from auxlearn_faces.readers.params import Aflw2000Params, BiwiParams, Pose300WLpParams
from auxlearn_faces.readers.rows import POSE, make_source

__all__ = ["build_300w_lp", "build_aflw2000"]

_FOLDERS = ("AFW", "HELEN", "IBUG", "LFPW")
_SIDES = {"train": 0.6, "test": 2.0}  # of `loose_crop`, for 300W-LP and AFLW2000

Part = tuple[Layout, list[TableRow]]


def build_300w_lp(params: Pose300WLpParams, context: DataContext) -> TableSource:
    """Return 300W-LP, with AFLW2000 as `test` and BIWI as `biwi` if their folders are given.

    Raises:
        DataError: If a folder is not laid out as its data set.
        PluginError: If scipy is not installed.
    """
    parts: list[Part] = []
    problems: list[Problem] = []
    readers = [partial(_read_300w_lp, params, context)]
    if params.aflw2000 is not None:
        readers.append(partial(_read_aflw2000, _aflw2000(params, params.aflw2000), context))
    if params.biwi is not None:
        readers.append(partial(read_biwi, _biwi(params, params.biwi), context, split="biwi"))
    for read in readers:
        try:
            parts.append(read())
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)
    return _joined(parts, params, context)


def build_aflw2000(params: Aflw2000Params, context: DataContext) -> TableSource:
    """Return AFLW2000-3D, all of it the split `test`.

    Raises:
        DataError: If the folder is not laid out as AFLW2000.
        PluginError: If scipy is not installed.
    """
    layout, rows = _read_aflw2000(params, context)
    return make_source(layout, rows, {"pose": POSE}, params, context)


def _aflw2000(params: Pose300WLpParams, path: str) -> Aflw2000Params:
    return Aflw2000Params(path=path, crop=params.crop, limit=params.limit)


def _biwi(params: Pose300WLpParams, path: str) -> BiwiParams:
    return BiwiParams(path=path, crop="none" if params.crop == "none" else "head")


def _joined(parts: Sequence[Part], params: Pose300WLpParams, context: DataContext) -> TableSource:
    """Return the rows of several folders as those of the folder that holds them all."""
    folders = [os.path.realpath(layout.path) for layout, _ in parts]
    root = os.path.commonpath(folders)
    rows = []
    for folder, (_, own) in zip(folders, parts, strict=True):
        below = PurePosixPath(Path(os.path.relpath(folder, root)).as_posix())
        rows += [attrs.evolve(row, path=str(below / row.path)) for row in own]
    return TableSource(rows, root=root, targets={"pose": POSE}, size=context.size, fit=params.fit)


def _read_300w_lp(params: Pose300WLpParams, context: DataContext) -> Part:
    layout = Layout.open(params.path, context)
    ends = ("", "_Flip") if params.flipped else ("",)
    folders = [layout.need(f"{name}{end}/") for name in _FOLDERS for end in ends]
    k = params.margin if params.crop == "face" else None
    layout.settle()
    rows = [row for folder in folders for row in _heads(layout, folder, "train", k=k, limit=params.limit)]
    return _settled(layout, rows)


def _read_aflw2000(params: Aflw2000Params, context: DataContext) -> Part:
    layout = Layout.open(params.path, context)
    layout.need("image00002.mat")
    layout.settle()
    k = params.margin if params.crop == "face" else None
    return _settled(layout, list(_heads(layout, "", "test", k=k, limit=params.limit, landmarks=params.landmarks)))


def _settled(layout: Layout, rows: list[TableRow]) -> Part:
    if not rows:
        layout.wrong("heads", str(layout.path), "there are no heads to use")
    layout.settle()
    return layout, rows


def _heads(
    layout: Layout, folder: str, split: str, *, k: float | None, limit: float | None, landmarks: str = "pt2d"
) -> Iterator[TableRow]:
    """Yield the heads of a folder: cropped with `k`, or not; without those of more than `limit` degrees."""
    load = mat_reader()
    endings: dict[str, set[str]] = {}
    for path in (layout.path / folder).iterdir():
        if path.suffix in (".jpg", ".mat"):
            endings.setdefault(path.stem, set()).add(path.suffix)
    for name in sorted(endings):
        where = f"{folder}{name}"
        for lacking in {".jpg", ".mat"} - endings[name]:
            layout.wrong("pairs of .jpg and .mat", f"{where}{lacking}", "the file is missing")
        if len(endings[name]) < 2:
            continue
        try:
            head = read_head(load(layout.path / f"{where}.mat", landmarks), landmarks)
        except Exception as error:  # scipy raises ValueError, TypeError, OSError, zlib.error and others
            layout.wrong(".mat files", f"{where}.mat", f"it cannot be used: {error}")
            continue
        if limit is None or max(map(abs, head.pose)) <= limit:
            yield TableRow(
                path=f"{where}.jpg",
                targets={"pose": head.pose},
                split=split,
                group=name.rpartition("_")[0] if split == "train" else None,
                region=partial(_region, layout.path / f"{where}.mat", "pt2d" if split == "train" else "pt3d_68"),
                crop=None if k is None else loose_crop(head.box, k, side=_SIDES[split]),
                where=f"{where}.mat",
            )


def _region(path: Path, landmarks: str) -> Region | None:
    """Return the 68 landmarks, in the order of 300-W (https://ibug.doc.ic.ac.uk/resources/300-W/)."""
    arrays = mat_reader()(path, landmarks)
    if landmarks not in arrays:
        return None
    return Region(landmarks=tuple((float(x), float(y)) for x, y in arrays[landmarks][:2].T))
