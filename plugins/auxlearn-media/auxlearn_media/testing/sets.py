"""CAER, MELD, CMU-MOSEI and VoxCeleb2 in small. Each function fills a folder and returns it, as a reader expects it."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from auxlearn_media.readers import caer, meld, mosei
from auxlearn_media.testing.clips import write_clip

__all__ = ["write_caer", "write_csd", "write_meld", "write_mosei", "write_mosei_clips", "write_voxceleb2"]

_LINES = ("so good", "no way", "I'm not sure about that", "great, thanks")


def write_caer(folder: Path, each: int = 1, seconds: float = 0.6) -> Path:
    """Write CAER: `each` clips of each class in each split, and `transcripts.csv`, which the set does not have."""
    lines = [["path", "text"]]
    for place, split in enumerate(("train", "validation", "test")):
        for label, name in enumerate(caer.EMOTIONS):
            for number in range(each):
                path = f"{split}/{name.capitalize()}/{number + 1:04d}.avi"
                _clip(folder / path, label + 7 * (number + each * place), seconds)
                lines.append([path, _LINES[label % 4]])
    _table(folder / "transcripts.csv", lines)
    return folder


def write_meld(folder: Path, each: int = 1, seconds: float = 0.6) -> Path:
    """Write MELD: `each` utterances of each emotion in each split, and the two that cannot be used.

    The first clip of the test set is there twice.
    """
    head = ["Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season"]
    unusable = {"train": ("125", "3"), "dev": ("110", "7")}
    places = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
    for index, (split, place) in enumerate(places.items()):
        lines = [head]
        for number in range(len(meld.EMOTIONS) * each):
            emotion, dialogue, utterance = meld.EMOTIONS[number % 7], str(number // 4), str(number % 4)
            say = f"You\x92ve said: {_LINES[number % 4]}"
            sentiment = meld.SENTIMENTS[number % 3]
            lines.append([str(number), say, "Joey", emotion, sentiment, dialogue, utterance, "1"])
            name = f"dia{dialogue}_utt{utterance}.mp4"
            _clip(folder / place / name, number + 7 * each * index, seconds)
            if split == "test" and number == 0:
                _clip(folder / place / f"final_videos_test{name}", 99, seconds)
        if split in unusable:
            lines.append(["99", "Oh", "Joey", "neutral", "neutral", *unusable[split], "1"])
        if split == "train":
            (folder / place / "dia125_utt3.mp4").write_bytes(b"broken")
        _table(folder / f"{split}_sent_emo.csv", lines)
    return folder


def write_mosei(folder: Path, videos: int = 6, parts: int = 2, seconds: float = 0.6) -> Path:
    """Write CMU-MOSEI as the SDK has it: whole videos, labels and words with times, folds. It needs h5py.

    One video is in no fold, and the first part of each begins before its video.
    """
    labels: dict[str, tuple[Any, Any]] = {}
    words: dict[str, tuple[Any, Any]] = {}
    names = [f"video-{number}" for number in range(videos)]
    for number, name in enumerate([*names, "in-no-fold"]):
        _clip(folder / "Raw" / "Videos" / "Full" / "Combined" / f"{name}.mp4", number, parts * seconds)
        times = np.array([[place * seconds, (place + 1) * seconds] for place in range(parts)])
        said = np.array([[word.encode()] for place in range(parts) for word in ("sp", f"word{place}")])
        words[name] = (np.repeat(times, 2, axis=0), said)
        times = times - np.array([[0.01, 0.0]]) * (times[:, :1] == 0)
        labels[name] = (times, np.array([_intensities(number + place) for place in range(parts)]))
    write_csd(folder / "CMU_MOSEI_Labels.csd", "All Labels", labels)
    write_csd(folder / "CMU_MOSEI_TimestampedWords.csd", "words", words)
    train = max(1, videos // 2)
    folds = {"train": names[:train], "valid": names[train : train + (videos - train) // 2]}
    folds["test"] = [name for name in names if name not in folds["train"] + folds["valid"]]
    text = "".join(f"standard_{name}_fold={listed!r}\n" for name, listed in folds.items())
    (folder / "cmu_mosei_std_folds.py").write_text(text, encoding="utf-8")
    (folder / "folds.json").write_text(json.dumps(folds), encoding="utf-8")
    return folder


def write_mosei_clips(folder: Path, videos: int = 6, parts: int = 2, seconds: float = 0.6) -> Path:
    """Write CMU-MOSEI as a table of clips that have been cut, with the intensities of the emotions."""
    lines = [["video_id", "clip_id", "text", "label", "annotation", "mode", *mosei.EMOTIONS]]
    for number in range(videos):
        mode = ("train", "train", "valid", "test")[number % 4]
        for clip in range(parts):
            sentiment, *intensities = _intensities(number + clip)
            _clip(folder / "Raw" / f"video-{number}" / f"{clip}.mp4", number + clip, seconds)
            said = [_LINES[clip % 4], f"{sentiment:g}", "", mode]
            lines.append([f"video-{number}", str(clip), *said, *(f"{value:g}" for value in intensities)])
    _table(folder / "label.csv", lines)
    return folder


def write_voxceleb2(folder: Path, people: int = 3, clips: int = 2, seconds: float = 0.6) -> Path:
    """Write VoxCeleb2's development set: `clips` clips of each of `people`, and `transcripts.csv`.

    The sound is in files of its own; the last clip has none.
    """
    lines = [["path", "text"]]
    for person in range(people):
        for clip in range(clips):
            name = f"id{12 + person:05d}/abcdefghijk/{clip + 1:05d}"
            _clip(folder / "dev" / "mp4" / f"{name}.mp4", person + clip, seconds, tone=False)
            if (person, clip) != (people - 1, clips - 1):
                sound = folder / "dev" / "aac" / f"{name}.m4a"
                sound.parent.mkdir(parents=True, exist_ok=True)
                write_clip(sound, seconds=seconds, picture=False, tone=300.0 + 100 * person)
            lines.append([f"dev/mp4/{name}.mp4", _LINES[clip % 4]])
    _table(folder / "transcripts.csv", lines)
    return folder


def write_csd(path: Path, name: str, videos: Mapping[str, tuple[Any, Any]]) -> None:
    """Write a computational sequence: intervals [n, 2] and features [n, ...] of each video. It needs h5py."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for video, (intervals, features) in videos.items():
            group = file.create_group(f"{name}/data/{video}")
            group["intervals"], group["features"] = intervals, features


def _intensities(number: int) -> list[float]:
    """Return a sentiment, and intensities of the emotions of which one at least is 0."""
    return [number % 7 - 3.0, *(((number + place) % 3) / 3 for place in range(6))]


def _clip(path: Path, number: int, seconds: float, *, tone: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    color = ((37 * number) % 256, (91 * number + 60) % 256, (53 * number + 120) % 256)
    write_clip(path, seconds=seconds, color=color, tone=300.0 + 25 * number if tone else None, size=(48, 32))


def _table(path: Path, lines: Sequence[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
