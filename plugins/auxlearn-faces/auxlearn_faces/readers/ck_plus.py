"""CK+: 327 labelled sequences of 118 people, from neutral to the peak of an expression.

Paper: "The Extended Cohn-Kanade Dataset (CK+)" (CVPR workshops 2010). The archives unpack to
`cohn-kanade-images/S005/001/S005_001_00000011.png` and `Emotion/S005/001/S005_001_00000011_emotion.txt`, and, if they
are there, `Landmarks/S005/001/S005_001_00000011_landmarks.txt` with 68 lines x y. An emotion file holds one number: 0
neutral, 1 anger, 2 contempt, 3 disgust, 4 fear, 5 happy, 6 sadness, 7 surprise; a sequence without one has no label
(the data set's readme). It belongs to the last frame, the peak.

There is no official split: all rows are `train`, and the group is the person (S005), for
`"folds": {"by": "group", "count": 10}`, the field's protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from auxlearn.data import DataContext, Region, TableRow, TableSource
from auxlearn_faces.readers.layout import Layout
from auxlearn_faces.readers.names import CK_PLUS
from auxlearn_faces.readers.params import CkPlusParams
from auxlearn_faces.readers.rows import classes, make_source

__all__ = ["build"]

_LABELS = {float(index): name for index, name in enumerate(CK_PLUS)}


def build(params: CkPlusParams, context: DataContext) -> TableSource:
    """Return CK+.

    Raises:
        DataError: If the folder is not laid out as CK+, or a sequence has too few frames.
    """
    layout = Layout.open(params.path, context)
    images = layout.need("cohn-kanade-images/", "extended-cohn-kanade-images/cohn-kanade-images/")
    labels = layout.need("Emotion/", "Emotion_labels/Emotion/")
    layout.settle()
    rows: list[TableRow] = []
    for file in sorted((layout.path / labels).glob("*/*/*_emotion.txt")):
        where = file.relative_to(layout.path).as_posix()
        label = _label(layout, where)
        if label in params.expressions:
            rows += _sequence(layout, images + file.parent.relative_to(layout.path / labels).as_posix(), label, params)
    if not rows:
        layout.wrong("labels", str(layout.path / labels), "there are no files S*/*/*_emotion.txt with a label to use")
    layout.settle()
    return make_source(layout, rows, {"expression": classes(params.expressions)}, params, context)


def _label(layout: Layout, where: str) -> str | None:
    words = [word for _, words in layout.lines(where) for word in words]
    number = layout.number(where, "emotion", " ".join(words))
    if number is not None and number not in _LABELS:
        layout.wrong("labels", where, f"the emotion is {number:g}", allowed="0 to 7")
    return None if number is None else _LABELS.get(number)


def _sequence(layout: Layout, folder: str, label: str, params: CkPlusParams) -> Iterator[TableRow]:
    """Yield the frames at the end of a sequence, and the first one as neutral if that is asked for."""
    frames = sorted(path.name for path in (layout.path / folder).glob("S*.png"))
    needed = params.frames + params.neutral
    if len(frames) < needed:
        layout.wrong("sequences", folder, f"it has {len(frames)} frames S*.png", allowed=f"{needed} or more")
        return
    chosen = [(frames[0], "neutral")] if params.neutral and label != "neutral" else []
    for name, own in [*chosen, *((frame, label) for frame in frames[-params.frames :])]:
        landmarks = layout.path / "Landmarks" / Path(*Path(folder).parts[-2:]) / f"{name.removesuffix('.png')}"
        yield TableRow(
            path=f"{folder}/{name}",
            targets={"expression": own},
            group=name.partition("_")[0],
            region=partial(_region, landmarks.with_name(f"{landmarks.name}_landmarks.txt")),
            where=f"{folder}/{name}",
        )


def _region(path: Path) -> Region | None:
    try:
        words = path.read_text(encoding="ascii").split()
        points = tuple(zip(map(float, words[::2]), map(float, words[1::2]), strict=True))
    except (OSError, ValueError):
        return None
    return Region(landmarks=points)
