"""CAER: clips of television shows in seven classes.

Paper: "Context-Aware Emotion Recognition Networks" (ICCV 2019, arXiv 1908.05913; https://caer-dataset.github.io).
`CAER.zip` holds `train/`, `validation/` and `test/`, in each a folder for each class and in it clips: `train/Anger/
0001.avi` (as ConCluGen's authors read it, https://github.com/tub-cv-group/conclugen, caer_video_datamodule.py). The set
has no transcripts, and does not say from which show a clip is, so there are no groups.
"""

from __future__ import annotations

from auxlearn.data import DataContext, TableRow, TargetInfo
from auxlearn_media.readers.layout import Layout
from auxlearn_media.readers.params import CaerParams
from auxlearn_media.source import ClipSource, Part

__all__ = ["EMOTIONS", "build"]

EMOTIONS = ("anger", "disgust", "fear", "happy", "neutral", "sad", "surprise")
_FOLDERS = {"train": "train", "validation": "val", "test": "test"}


def build(params: CaerParams, context: DataContext) -> ClipSource:
    """Return CAER's clips.

    Raises:
        DataError: If the folder is not laid out as CAER.
        SpecError: If frames are to be read and have no size.
    """
    layout = Layout.open(params.path, context)
    for folder in _FOLDERS:
        layout.need(f"{folder}/")
    layout.settle()
    texts = layout.transcripts(params.transcripts)
    rows = [row for folder, split in _FOLDERS.items() for row in _rows(layout, folder, split)]
    names = {row.path for row in rows}
    if texts and not texts.keys() & names:
        layout.wrong(
            str(params.transcripts), "no path in it is one of a clip", allowed=f"e.g. {min(names, default='')}"
        )
    layout.settle()
    parts = [Part(text=texts.get(row.path)) for row in rows]
    targets = {"emotion": TargetInfo(kind="class", names=EMOTIONS)}
    return ClipSource(rows, parts, root=layout.path, targets=targets, params=params, size=context.size)


def _rows(layout: Layout, folder: str, split: str) -> list[TableRow]:
    found = []
    for place in sorted((layout.path / folder).iterdir()):
        if place.is_dir() and place.name.lower() not in EMOTIONS:
            layout.wrong(f"{folder}/{place.name}", "it is none of the classes", allowed=", ".join(EMOTIONS))
        elif place.is_dir():
            paths = [f"{folder}/{place.name}/{clip.name}" for clip in sorted(place.glob("*.avi"))]
            found += [TableRow(path=path, targets={"emotion": place.name.lower()}, split=split) for path in paths]
    if not found:
        layout.wrong(str(layout.path / folder), "there are no clips", allowed="Anger/0001.avi, ...")
    return found
