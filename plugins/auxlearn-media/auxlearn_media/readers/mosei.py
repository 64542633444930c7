"""CMU-MOSEI: opinions on YouTube with six emotions and a sentiment.

Paper: "Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset and Interpretable Dynamic Fusion Graph" (ACL 2018,
https://aclanthology.org/P18-1208). It is given out in two forms:

- The SDK's `CMU_MOSEI_Labels.csd` tells parts of whole videos, `Raw/Videos/Full/Combined/<video>.mp4`, with seven
  numbers each, in the order of the SDK's README: sentiment from -3 to 3, and happy, sad, anger, surprise, disgust, fear
  from 0 to 3. `CMU_MOSEI_TimestampedWords.csd` tells the words, and `cmu_mosei_std_folds.py` the standard folds.
- A table of clips: `label.csv` with `video_id, clip_id, text, label, annotation, mode`, and `Raw/<video>/<clip>.mp4`
  (https://github.com/thuiar/MMSA). `label` is the sentiment, `mode` the split. Where columns are called like the
  emotions, they are their intensities, and `start` and `end` make rows parts of whole videos.

An emotion applies where its intensity is above 0, as in the SDK's README. The group is the video. Some parts begin
before their video; they then begin with it.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from auxlearn.data import DataContext, TableRow, TargetInfo
from auxlearn.errors import escape
from auxlearn_media.readers.csd import read_csd, words_between
from auxlearn_media.readers.layout import Layout
from auxlearn_media.readers.params import MoseiParams
from auxlearn_media.source import ClipSource, Part

__all__ = ["EMOTIONS", "build"]

EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
_WHOLE = ("Raw/Videos/Full/Combined/", "Videos/Full/Combined/", "Full/Combined/", "videos/")
_CUT = ("Raw/", "Raw/Videos/Segmented/Combined/", "Videos/Segmented/Combined/", "Segmented/Combined/", "videos/")
_SPLITS = {"train": "train", "valid": "val", "val": "val", "test": "test"}


@attrs.frozen(kw_only=True)
class _Row:
    """A row of either form; `clip` is None for a part of a whole video."""

    video: str
    clip: str | None
    labels: Mapping[str, Any]
    part: Part
    split: str | None
    where: str


def build(params: MoseiParams, context: DataContext) -> ClipSource:
    """Return CMU-MOSEI.

    Raises:
        DataError: If the folder is in neither form.
        SpecError: If frames are to be read and have no size.
        PluginError: If a file of the SDK is to be read and h5py is not installed.
    """
    layout = Layout.open(params.path, context)
    for one in filter(None, (params.labels, params.words, params.split_lists)):
        layout.need(one)
    layout.settle()
    read = _from_table if params.labels.endswith(".csv") else _from_sdk
    found = list(read(layout, params))
    layout.settle()
    cut = any(row.clip is not None for row in found)
    folder = layout.need(*([f"{params.videos.rstrip('/')}/"] if params.videos else _CUT if cut else _WHOLE))
    layout.settle()
    if params.split_lists is not None:
        folds = _folds(layout, params.split_lists)
        found = [attrs.evolve(row, split=folds[row.video]) for row in found if row.video in folds]
    rows = [_table_row(layout, folder, row) for row in found]
    layout.settle()
    targets = {"sentiment": TargetInfo(kind="continuous")}
    if any("emotions" in row.labels for row in found):
        targets["emotions"] = TargetInfo(kind="multilabel", names=EMOTIONS, shape=(len(EMOTIONS),))
    parts = [row.part for row in found]
    return ClipSource(rows, parts, root=layout.path, targets=targets, params=params, size=context.size)


def _from_sdk(layout: Layout, params: MoseiParams) -> Iterator[_Row]:
    if params.split_lists is None:
        layout.wrong(
            "/data/split_lists", "the SDK's labels do not say which split a video is in", allowed="a file of folds"
        )
    say = None if params.words is None else words_between(layout.path / params.words)
    for video, (times, values) in read_csd(layout.path / params.labels).items():
        if values.ndim != 2 or values.shape != (len(times), 1 + len(EMOTIONS)):
            layout.wrong(f"{params.labels} {video}", f"its labels are {values.shape}", allowed="seven of each part")
            continue
        for number, ((start, end), (sentiment, *intensities)) in enumerate(zip(times, values.tolist(), strict=True)):
            text = None if say is None else say(video, start, end)
            where = f"{params.labels} {video}[{number}]"
            labels = {"sentiment": sentiment, "emotions": _applying(intensities)}
            part = _part(layout, where, float(start), float(end), text)
            yield _Row(video=video, clip=None, labels=labels, part=part, split=None, where=where)


def _from_table(layout: Layout, params: MoseiParams) -> Iterator[_Row]:
    for where, cells in layout.table(params.labels, ("video_id", "clip_id", "label")):
        whole = cells.keys() >= {"start", "end"}
        labels: dict[str, Any] = {"sentiment": _number(layout, where, cells, "label")}
        if cells.keys() >= set(EMOTIONS):
            labels["emotions"] = _applying([_number(layout, where, cells, name) for name in EMOTIONS])
        split = cells.get("mode", "train")
        if params.split_lists is None and split not in _SPLITS:
            layout.wrong(where, f'`mode` is "{escape(split)}"', allowed=", ".join(_SPLITS))
        text = cells.get("text")
        part = Part(text=text)
        if whole:
            start, end = (_number(layout, where, cells, name) for name in ("start", "end"))
            part = _part(layout, where, start, end, text)
        clip = None if whole else cells["clip_id"]
        yield _Row(video=cells["video_id"], clip=clip, labels=labels, part=part, split=_SPLITS.get(split), where=where)


def _table_row(layout: Layout, folder: str, row: _Row) -> TableRow:
    name = f"{row.video}.mp4"
    if row.clip is not None:
        name = f"{row.video}/{row.clip}.mp4"
        if not (layout.path / folder / row.video).is_dir():
            name = f"{row.video}_{row.clip}.mp4"  # as the archive of the cut videos has them
    return TableRow(
        path=folder + name, targets=row.labels, split=row.split or "train", group=row.video, where=row.where
    )


def _folds(layout: Layout, relative: str) -> dict[str, str]:
    """Return the split of each video, from JSON or from the lists of a Python file, which is not run."""
    path = layout.path / relative
    lists: dict[str, list[Any]] = {}
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            for line in ast.parse(text).body:
                if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                    lists[line.targets[0].id.removeprefix("standard_").removesuffix("_fold")] = ast.literal_eval(
                        line.value
                    )
        else:
            lists = json.loads(text)
        found = {
            str(video): _SPLITS[name] for name in ("train", "valid", "val", "test") for video in lists.get(name, ())
        }
    except (OSError, ValueError, SyntaxError, TypeError, AttributeError) as error:
        layout.wrong(str(path), f"it is no file of folds ({escape(error, 200)})")
        found = {}
    for name in ("train", "val", "test"):
        if name not in found.values():
            layout.wrong(str(path), f"it has no videos for {name}", allowed="lists for train, valid and test")
    layout.settle()
    return found


def _applying(intensities: list[Any]) -> tuple[str, ...]:
    return tuple(name for name, value in zip(EMOTIONS, intensities, strict=True) if value > 0)


def _part(layout: Layout, where: str, start: float, end: float, text: str | None) -> Part:
    if not max(start, 0.0) < end:
        layout.wrong(where, f"it is from second {start:g} to {end:g}", allowed="the start before the end")
    return Part(start=max(start, 0.0), end=end, text=text)


def _number(layout: Layout, where: str, cells: Mapping[str, str], name: str) -> float:
    try:
        return float(cells[name])
    except ValueError:
        layout.wrong(where, f'`{name}` is "{escape(cells[name])}"', allowed="a number")
        return 0.0
