"""MELD: utterances of the series Friends, with seven emotions and three sentiments.

Paper: "MELD: A Multimodal Multi-Party Dataset for Emotion Recognition in Conversations" (ACL 2019, arXiv 1810.02508;
https://github.com/declare-lab/MELD). `MELD.Raw.tar.gz` holds three archives and their tables: `train_sent_emo.csv` and
`train_splits/dia0_utt0.mp4`; `dev_sent_emo.csv` and `dev_splits_complete/`; `test_sent_emo.csv` and
`output_repeated_splits_test/`. Each may have been unpacked into a folder `train/`, `dev/`, `test/` of its own.

- Of some clips of the test set there is a second one, `final_videos_testdia0_utt0.mp4`, which agrees with the table
  where the first does not, as several projects that read the set found; it is taken.
- Two utterances are left out: dialogue 125, utterance 3 of the training set, which cannot be decoded, and dialogue
  110, utterance 7 of the development set, which is not in the archive.
- The tables have quotation marks of Windows-1252 as control characters; they are read as what is meant.
- The group is the dialogue. Speakers, most of them the same six people, are in all splits.
"""

from __future__ import annotations

from collections.abc import Iterator

from auxlearn.data import DataContext, TableRow, TargetInfo
from auxlearn.errors import escape, nearest
from auxlearn_media.readers.layout import Layout
from auxlearn_media.readers.params import MeldParams
from auxlearn_media.source import ClipSource, Part

__all__ = ["EMOTIONS", "SENTIMENTS", "build"]

EMOTIONS = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
SENTIMENTS = ("neutral", "positive", "negative")
_COLUMNS = ("Utterance", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID")
_FOLDERS = {"train": "train_splits/", "dev": "dev_splits_complete/", "test": "output_repeated_splits_test/"}
_SPLITS = {"train": "train", "dev": "val", "test": "test"}
_UNUSABLE = {("train", "dia125_utt3"), ("dev", "dia110_utt7")}
_BETTER = "final_videos_test"

_WINDOWS = {
    code: bytes([code]).decode("cp1252") for code in range(0x80, 0xA0) if code not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
}


def build(params: MeldParams, context: DataContext) -> ClipSource:
    """Return MELD's utterances.

    Raises:
        DataError: If the folder is not laid out as MELD.
        SpecError: If frames are to be read and have no size.
    """
    layout = Layout.open(params.path, context)
    tables = {name: layout.need(f"{name}_sent_emo.csv", f"{name}/{name}_sent_emo.csv") for name in _SPLITS}
    folders = {name: layout.need(folder, f"{name}/{folder}") for name, folder in _FOLDERS.items()}
    layout.settle()
    found = [pair for name in _SPLITS for pair in _rows(layout, name, tables[name], folders[name])]
    layout.settle()
    return ClipSource(
        [row for row, _ in found],
        [part for _, part in found],
        root=layout.path,
        targets={
            "emotion": TargetInfo(kind="class", names=EMOTIONS),
            "sentiment": TargetInfo(kind="class", names=SENTIMENTS),
        },
        params=params,
        size=context.size,
    )


def _rows(layout: Layout, name: str, table: str, folder: str) -> Iterator[tuple[TableRow, Part]]:
    there = {file.name for file in (layout.path / folder).iterdir()}
    for where, cells in layout.table(table, _COLUMNS):
        clip = f"dia{cells['Dialogue_ID']}_utt{cells['Utterance_ID']}"
        if (name, clip) in _UNUSABLE:
            continue
        better = f"{_BETTER}{clip}.mp4"
        labels = {
            "emotion": _label(layout, where, "Emotion", cells, EMOTIONS),
            "sentiment": _label(layout, where, "Sentiment", cells, SENTIMENTS),
        }
        row = TableRow(
            path=folder + (better if better in there else f"{clip}.mp4"),
            targets=labels,
            split=_SPLITS[name],
            group=f"{name} dialogue {cells['Dialogue_ID']}",
            where=where,
        )
        yield row, Part(text=cells["Utterance"].translate(_WINDOWS))


def _label(layout: Layout, where: str, column: str, cells: dict[str, str], known: tuple[str, ...]) -> str | None:
    label = cells[column].lower()
    if label in known:
        return label
    what = f'`{column}` is "{escape(cells[column])}"'
    layout.wrong(where, what, allowed=", ".join(known), meant=nearest(label, known))
    return None
