"""The data source `media`: what its rows hold, which may be missing, and what is refused."""

from __future__ import annotations

import csv

import pytest
import torch

from auxlearn.data import DataContext, InputShape, eval_loader, prepare
from auxlearn.data.opening import read_section
from auxlearn.errors import DataError, SpecError
from auxlearn.registry import discover
from auxlearn.spec.models import DataKeys, Split
from auxlearn_media import AudioParams, MediaParams, SpectrogramParams, TextParams, VideoParams
from auxlearn_media.manifest import build_media
from auxlearn_media.testing import write_clip

ROWS = [
    # path, split, mood, who, words, begin, finish
    ("a.mp4", "train", "happy", "ann", "so good", "", ""),
    ("a.mp4", "train", "sad", "ann", "", "0.5", "1"),
    ("mute.mp4", "train", "sad", "bob", "grau ist's, überall", "", ""),
    ("tone.wav", "test", "happy", "cid", "la", "", ""),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("media")
    write_clip(made / "a.mp4", seconds=2)
    write_clip(made / "mute.mp4", seconds=1, tone=None, color=(90, 90, 90))
    write_clip(made / "tone.wav", seconds=1)
    write_rows(made / "clips.csv", ROWS)
    return made


def write_rows(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "split", "mood", "who", "words", "begin", "finish"])
        table.writerows(rows)


def source(folder, size=16, **settings):
    spans = {"start_column": "begin", "end_column": "finish"}
    given = {"path": "clips.csv", "targets": ("mood",), "group_column": "who", **spans, **settings}
    return build_media(MediaParams(**given), DataContext(size=size, root=str(folder)))


WHOLE = {
    "video": VideoParams(fps=10),
    "audio": AudioParams(rate=8000),
    "spectrogram": SpectrogramParams(rate=8000, mels=16, n_fft=256, hop=80),
    "text": TextParams(column="words"),
}
FIXED = {
    "video": VideoParams(fps=10, frames=4),
    "audio": AudioParams(rate=8000, seconds=0.4),
    "spectrogram": SpectrogramParams(rate=8000, mels=16, n_fft=256, hop=80, seconds=0.4),
    "text": TextParams(column="words", bytes=10),
}


def test_whole_clips_have_the_length_that_they_have(folder):
    made = source(folder, **WHOLE)
    assert made.inputs == {
        "video": InputShape(shape=(-1, 3, 16, 16), kind="feature"),
        "audio": InputShape(shape=(-1,), dtype="float32", kind="feature"),
        "spectrogram": InputShape(shape=(1, 16, -1), dtype="float32", kind="feature"),
        "text": InputShape(shape=(-1,), kind="feature"),
    }
    first, part, mute = (made.dataset("train")[index] for index in range(3))
    assert first["video"].shape == (20, 3, 16, 16)
    assert bytes(first["text"].tolist()).decode() == "so good"
    assert part["video"].shape == (5, 3, 16, 16)
    assert torch.equal(part["video"], first["video"][5:10])
    assert part["audio"].shape == (4000,)
    assert part["spectrogram"].shape == (1, 16, 51)
    assert "text" not in part
    assert mute.keys() == {"video", "text", "mood"}
    assert bytes(mute["text"].tolist()).decode() == "grau ist's, überall"
    assert made.dataset("test")[0].keys() == {"audio", "spectrogram", "text", "mood"}


def test_rows_come_one_at_a_time_with_what_they_lack(folder):
    batches = list(eval_loader(source(folder, **WHOLE), "train", 1))
    assert [bool(b.present.get("inputs/audio", torch.ones(1))[0]) for b in batches] == [True, True, False]
    assert [bool(b.present.get("inputs/text", torch.ones(1))[0]) for b in batches] == [True, False, True]


def test_rows_of_fixed_length_make_batches(folder):
    data = prepare(source(folder, **FIXED), DataKeys(), seed=0, batch_size=3)
    (batch,) = data.eval_loader("train", 3)
    assert {name: tuple(rows.shape) for name, rows in batch.inputs.items()} == {
        "video": (3, 4, 3, 16, 16),
        "audio": (3, 3200),
        "spectrogram": (3, 1, 16, 41),
        "text": (3, 10),
    }
    assert bytes(batch.inputs["text"][0].tolist()) == b"so good\0\0\0"
    assert batch.present["inputs/audio"].tolist() == [True, True, False]


def test_training_begins_at_random(folder):
    settings = FIXED | {"video": VideoParams(fps=25, frames=4)}
    made = source(folder, **settings)
    torch.manual_seed(0)
    drawn = [made.dataset("train")[0]["video"] for _ in range(4)]
    assert not all(torch.equal(drawn[0], one) for one in drawn[1:])
    torch.manual_seed(0)
    assert torch.equal(made.dataset("train")[0]["video"], drawn[0])


def middle(folder):
    """Return the 4 frames that begin at (2.048 s of sound - 0.16 s) / 2, which is in the frame number 23."""
    return source(folder, video=VideoParams(fps=25)).dataset("train")[0]["video"][23:27]


def test_every_row_that_is_scored_is_read_in_the_middle(folder):
    columns = {"group_column": None, "start_column": None, "end_column": None, "targets": ()}
    for split, keys in (("test", {}), ("train", {"split": Split(val=0.5, by="random")})):
        (folder / "test.csv").write_text(f"path,split\na.mp4,train\na.mp4,{split}\n")
        made = source(folder, path="test.csv", video=VideoParams(fps=25, frames=4), **columns)
        data = prepare(made, DataKeys(allow_leaks=True, **keys), seed=0, batch_size=1)
        (batch,) = data.eval_loader("val" if keys else split, 4)
        assert torch.equal(batch.inputs["video"][0], middle(folder))


def test_short_clips_are_filled(folder):
    made = source(folder, video=VideoParams(fps=10, frames=14), audio=AudioParams(rate=8000, seconds=1.4))
    mute, tone = made.dataset("train")[2], made.dataset("test")[0]
    assert mute["video"].shape == (14, 3, 16, 16)
    assert torch.equal(mute["video"][9:], mute["video"][9:10].expand(5, -1, -1, -1))
    assert tone["audio"].shape == (11200,)
    assert tone["audio"][8000:].abs().max() == 0


def test_labels_groups_names_and_files(folder):
    made = source(folder, **WHOLE)
    assert made.splits == ("train", "test")
    assert made.labels("train", "mood") == [0, 1, 1]
    assert made.groups("train") == ["ann", "ann", "bob"]
    assert [made.name("train", index) for index in range(2)] == ["a.mp4", "a.mp4 0.5-1 s"]
    assert made.duplicates() == []
    assert [path.rpartition("/")[2] for path in made.files("train")] == ["a.mp4", "a.mp4", "mute.mp4"]


def test_the_same_part_twice_is_a_duplicate(folder):
    write_rows(folder / "twice.csv", [ROWS[0], ROWS[0], ROWS[1]])
    assert source(folder, path="twice.csv", **WHOLE).duplicates() == [[("train", 0), ("train", 1)]]


def test_the_fingerprint_knows_every_setting(folder):
    settings = [WHOLE, FIXED, WHOLE | {"text": None}, WHOLE | {"video": VideoParams(fps=11)}]
    prints = [source(folder, **one).fingerprint() for one in settings]
    prints += [source(folder, size=17, **WHOLE).fingerprint(), source(folder, start_column=None, **WHOLE).fingerprint()]
    assert len(set(prints)) == len(prints)
    assert source(folder, **WHOLE).fingerprint() == prints[0]


def test_missing_files_are_told_at_once(folder):
    write_rows(folder / "lost.csv", [("x.mp4", *ROWS[0][1:]), ROWS[0], ("../a.mp4", *ROWS[0][1:])])
    with pytest.raises(DataError, match="leads out of the root"):
        source(folder, path="lost.csv", **WHOLE)
    write_rows(folder / "lost.csv", [("x.mp4", *ROWS[0][1:]), ROWS[0], ("y.mp4", *ROWS[0][1:])])
    made = source(folder, path="lost.csv", **WHOLE)
    with pytest.raises(DataError) as caught:
        made.check()
    assert [one.where for one in caught.value.problems] == ["x.mp4", "y.mp4"]


def test_a_damaged_file_names_its_row(folder):
    (folder / "broken.mp4").write_bytes(b"nothing")
    write_rows(folder / "broken.csv", [("broken.mp4", *ROWS[0][1:])])
    with pytest.raises(DataError, match=r"broken\.mp4: the file cannot be decoded \(Invalid data"):
        source(folder, path="broken.csv", **WHOLE).dataset("train")[0]


@pytest.mark.parametrize(("begin", "finish"), [("1", "1"), ("-1", "2"), ("soon", ""), ("nan", "")])
def test_spans_that_are_none(folder, begin, finish):
    write_rows(folder / "spans.csv", [ROWS[0], (*ROWS[1][:5], begin, finish)])
    with pytest.raises(DataError, match=r"spans\.csv line 3: the row .*allowed: numbers"):
        source(folder, path="spans.csv", **WHOLE)


def test_columns_that_are_not_there(folder):
    with pytest.raises(DataError, match=r'no column "text" \(`text/column`\)'):
        source(folder, text=TextParams())
    with pytest.raises(DataError, match=r'no column "star" \(`start_column`\)'):
        source(folder, text=TextParams(column="words"), start_column="star")


def test_frames_need_a_size(folder):
    with pytest.raises(SpecError, match="/size: frames need a size"):
        source(folder, size=None, **WHOLE)


def test_something_is_to_be_read(folder):
    with pytest.raises(SpecError, match=r"/data: nothing is to be read .*video, audio"):
        read_section("media", [f"path={folder / 'clips.csv'}"], discover())
