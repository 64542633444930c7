"""RAF-DB, the basic emotions: 12,271 training and 3,068 test faces.

Paper: "Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition in the Wild" (CVPR
2017; http://www.whdeng.cn/raf/model1.html). `EmoLabel/list_patition_label.txt` (spelled so) has lines
`train_00001.jpg 5`: the beginning of a name is its split, and labels are 1 surprise, 2 fear, 3 disgust, 4 happiness,
5 sadness, 6 anger, 7 neutral. The images are `Image/aligned/train_00001_aligned.jpg`, or
`Image/original/train_00001.jpg`, as https://github.com/yaoing/DAN and others read them.
"""

from __future__ import annotations

from auxlearn.data import DataContext, TableRow, TableSource
from auxlearn_faces.readers.layout import Layout
from auxlearn_faces.readers.names import RAF_DB
from auxlearn_faces.readers.params import RafDbParams
from auxlearn_faces.readers.rows import classes, make_source

__all__ = ["build"]

_LABELS = {str(number): name for number, name in enumerate(RAF_DB, start=1)}


def build(params: RafDbParams, context: DataContext) -> TableSource:
    """Return RAF-DB.

    Raises:
        DataError: If the folder is not laid out as `basic` of the data set.
    """
    layout = Layout.open(params.path, context)
    labels = layout.need("EmoLabel/list_patition_label.txt", "list_patition_label.txt")
    images = layout.need(f"Image/{params.images}/")
    layout.settle()
    rows = []
    for where, words in layout.lines(labels):
        if len(words) != 2:
            layout.wrong("lines", where, f"{len(words)} words", allowed="the name of an image, and a label")
            continue
        name, _, ending = words[0].rpartition(".")
        label = layout.choice(where, "label", words[1], _LABELS)
        split = layout.choice(where, "split", name.partition("_")[0], ("train", "test"))
        if label is not None and split is not None:
            suffix = "_aligned" if params.images == "aligned" else ""
            path = f"{images}{name}{suffix}.{ending}"
            rows.append(TableRow(path=path, targets={"expression": label}, split=split, where=where))
    return make_source(layout, rows, {"expression": classes(RAF_DB)}, params, context)
