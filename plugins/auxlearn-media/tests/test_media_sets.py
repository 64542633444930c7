"""The readers of public sets of clips: what they make of each layout, and what they say about one that is wrong."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from auxlearn.data import DataContext
from auxlearn.data.opening import read_section
from auxlearn.errors import DataError, PluginError, SpecError
from auxlearn.registry import discover
from auxlearn.testing import Conformance
from auxlearn_media import testing

SDK = {"split_lists": "cmu_mosei_std_folds.py", "words": "CMU_MOSEI_TimestampedWords.csd"}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    short = {"seconds": 0.3}
    testing.write_caer(folder / "caer", **short)
    testing.write_meld(folder / "meld", **short)
    testing.write_mosei(folder / "mosei", **short)
    testing.write_mosei_clips(folder / "clips", **short)
    testing.write_voxceleb2(folder / "voxceleb2", **short)
    return folder


@pytest.fixture
def copied(sets, tmp_path):
    """Return what makes a copy of a set that may be damaged."""
    return lambda name: shutil.copytree(sets / name, tmp_path / name)


def source(kind, path, **settings):
    given = {"video": {"fps": 10}, "text": {}, **settings}
    made = read_section(kind, [f"path={path}", *(f"{n}={json.dumps(v)}" for n, v in given.items())], discover())
    return made.choice.provider.build(made.choice.params, DataContext(size=16))


def text(item):
    return bytes(item["text"].tolist()).decode()


def names(made, split):
    return [made.name(split, index) for index in range(len(made.dataset(split)))]


def test_caer(sets):
    made = source("caer", sets / "caer", transcripts="transcripts.csv", audio={"rate": 8000})
    assert made.splits == ("train", "val", "test")
    assert names(made, "val")[:2] == ["validation/Anger/0001.avi", "validation/Disgust/0001.avi"]
    assert made.labels("train", "emotion") == list(range(7))
    assert made.targets["emotion"].names == ("anger", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    item = made.dataset("test")[1]
    assert item["video"].shape == (4, 3, 16, 16)  # eight frames at 25 a second last longer than 0.3 s
    assert 1900 <= len(item["audio"]) <= 3200
    assert text(item) == "no way"
    made.check()


def test_caer_says_nothing_without_transcripts(sets):
    assert source("caer", sets / "caer").dataset("train")[0].keys() == {"emotion", "video"}


def test_caer_is_told_what_is_wrong(copied):
    folder = copied("caer")
    (folder / "test" / "Angry").mkdir()
    with pytest.raises(DataError, match="test/Angry: it is none of the classes; allowed: anger, disgust"):
        source("caer", folder)
    (folder / "test" / "Angry").rmdir()
    (folder / "transcripts.csv").write_text("path,text\nAnger/0001.avi,so\n")
    with pytest.raises(DataError, match=r"no path in it is one of a clip; allowed: e\.g\. test/Anger/0001\.avi"):
        source("caer", folder, transcripts="transcripts.csv")
    shutil.rmtree(folder / "validation")
    with pytest.raises(DataError, match="there is no validation/"):
        source("caer", folder)
    with pytest.raises(DataError, match=r'there is no such folder; did you mean "caer"'):
        source("caer", folder.with_name("caerr"))


def test_meld(sets):
    made = source("meld", sets / "meld")
    assert [len(made.dataset(split)) for split in made.splits] == [7, 7, 7]
    assert names(made, "val")[4] == "dev_splits_complete/dia1_utt0.mp4"
    assert names(made, "test")[:2] == [
        "output_repeated_splits_test/final_videos_testdia0_utt0.mp4",
        "output_repeated_splits_test/dia0_utt1.mp4",
    ]
    assert made.labels("train", "emotion") == list(range(7))
    assert made.targets["emotion"].names[3] == "sadness"
    assert made.labels("train", "sentiment") == [0, 1, 2, 0, 1, 2, 0]
    assert text(made.dataset("train")[1]) == "You’ve said: no way"  # noqa: RUF001 (as the tables mean it)
    assert made.groups("train")[3:5] == ["train dialogue 0", "train dialogue 1"]
    made.check()


def test_meld_in_the_folders_of_its_archives(copied):
    folder = copied("meld")
    (folder / "train").mkdir()
    for name in ("train_sent_emo.csv", "train_splits"):
        shutil.move(folder / name, folder / "train" / name)
    assert names(source("meld", folder), "train")[0] == "train/train_splits/dia0_utt0.mp4"


def test_meld_is_told_what_is_wrong(copied):
    folder = copied("meld")
    table = folder / "dev_sent_emo.csv"
    good = table.read_text(encoding="utf-8")
    table.write_text(good.replace(",surprise,", ",suprise,"), encoding="utf-8")
    with pytest.raises(DataError, match=r'line 3: `Emotion` is "suprise"; .*did you mean "surprise"'):
        source("meld", folder)
    table.write_text(good.replace("Dialogue_ID", "Dialog"), encoding="utf-8")
    with pytest.raises(DataError, match=r'no column "Dialogue_ID"'):
        source("meld", folder)
    table.write_text(good, encoding="utf-8")
    (folder / "train_splits" / "dia0_utt2.mp4").unlink()
    with pytest.raises(DataError, match=r"train_splits/dia0_utt2\.mp4: the file is missing"):
        source("meld", folder).check()


@pytest.mark.parametrize("lists", ["cmu_mosei_std_folds.py", "folds.json"])
def test_mosei_of_the_sdk(sets, lists):
    made = source("mosei", sets / "mosei", **SDK | {"split_lists": lists})
    assert [len(made.dataset(split)) for split in made.splits] == [6, 2, 4]
    assert made.groups("val") == ["video-3", "video-3"]
    assert names(made, "train")[:2] == [
        f"Raw/Videos/Full/Combined/video-0.mp4 {part} s" for part in ("0-0.3", "0.3-0.6")
    ]
    assert [text(made.dataset("train")[index]) for index in range(2)] == ["word0", "word1"]
    first, second = (made.dataset("train")[index] for index in range(2))
    assert first["sentiment"].tolist() == -3
    # (0 + place) % 3 / 3 of the places 0 to 5, and one more in the second part.
    assert first["emotions"].tolist() == [0, 1, 1, 0, 1, 1]
    assert second["emotions"].tolist() == [1, 1, 0, 1, 1, 0]
    assert made.targets["emotions"].names == ("happy", "sad", "anger", "surprise", "disgust", "fear")
    assert second["video"].shape == (3, 3, 16, 16)
    made.check()


def test_mosei_as_a_table_of_clips(sets):
    made = source("mosei", sets / "clips", labels="label.csv")
    assert [len(made.dataset(split)) for split in made.splits] == [8, 2, 2]
    assert names(made, "test") == ["Raw/video-3/0.mp4", "Raw/video-3/1.mp4"]
    assert made.dataset("test")[0]["emotions"].tolist() == [0, 1, 1, 0, 1, 1]
    assert text(made.dataset("test")[1]) == "no way"
    made.check()


def test_mosei_as_the_common_label_csv_has_no_emotions(copied):
    folder = copied("clips")
    lines = (folder / "label.csv").read_text().splitlines()
    (folder / "label.csv").write_text("\n".join(",".join(line.split(",")[:6]) for line in lines))
    assert source("mosei", folder, labels="label.csv").targets.keys() == {"sentiment"}


def test_mosei_as_a_table_of_parts_with_folds(copied):
    folder = copied("mosei")
    lines = ["video_id,clip_id,label,start,end", "video-0,7,1.5,-0.2,0.2", "video-3,0,-1,0.1,0.4", "video-5,0,0,0,0.3"]
    (folder / "label.csv").write_text("\n".join(lines))
    made = source("mosei", folder, labels="label.csv", split_lists="folds.json")
    assert names(made, "train") == ["Raw/Videos/Full/Combined/video-0.mp4 0-0.2 s"]
    assert made.dataset("val")[0]["sentiment"] == -1
    assert names(source("mosei", folder, labels="label.csv", videos="Raw/Videos/Full/Combined"), "train")[1:] == [
        "Raw/Videos/Full/Combined/video-3.mp4 0.1-0.4 s",
        "Raw/Videos/Full/Combined/video-5.mp4 0-0.3 s",
    ]


def test_mosei_cut_as_its_archive_has_it(copied):
    folder = copied("clips")
    place = folder / "Raw" / "Videos" / "Segmented" / "Combined"
    place.mkdir(parents=True)
    for clip in folder.glob("Raw/video-*/*.mp4"):
        shutil.move(clip, place / f"{clip.parent.name}_{clip.name}")
    made = source("mosei", folder, labels="label.csv", videos="Raw/Videos/Segmented/Combined")
    assert names(made, "test")[0] == "Raw/Videos/Segmented/Combined/video-3/0.mp4".replace("-3/", "-3_")
    made.check()


def test_mosei_is_told_what_is_wrong(copied, monkeypatch):
    folder = copied("mosei")
    with pytest.raises(DataError, match="/data/split_lists: the SDK's labels do not say which split"):
        source("mosei", folder)
    with pytest.raises(DataError, match=r"there is no label\.csv"):
        source("mosei", folder, labels="label.csv")
    (folder / "one.json").write_text('{"train": ["video-0"]}')
    with pytest.raises(DataError, match=r"one\.json: it has no videos for val"):
        source("mosei", folder, split_lists="one.json")
    (folder / "run.py").write_text("standard_train_fold = open('x')")
    with pytest.raises(DataError, match=r"run\.py: it is no file of folds"):
        source("mosei", folder, split_lists="run.py")
    testing.write_csd(folder / "four.csd", "All Labels", {"video-0": (np.array([[0, 1]]), np.zeros((1, 4)))})
    with pytest.raises(DataError, match=r"four\.csd video-0: its labels are \(1, 4\)"):
        source("mosei", folder, labels="four.csd", split_lists="folds.json")
    with pytest.raises(DataError, match=r"folds\.json: it is no computational sequence"):
        source("mosei", folder, labels="folds.json", split_lists="folds.json")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(PluginError, match="auxlearn-media\\[mosei\\]"):
        source("mosei", folder, split_lists="folds.json")


def test_mosei_table_is_told_what_is_wrong(copied):
    folder = copied("clips")
    good = (folder / "label.csv").read_text()
    (folder / "label.csv").write_text(good.replace(",valid,", ",dev,").replace("so good,-3,", "so good,low,", 1))
    with pytest.raises(DataError) as caught:
        source("mosei", folder, labels="label.csv")
    assert [str(one).partition(": ")[2].partition(";")[0] for one in caught.value.problems] == [
        '`label` is "low"',
        '`mode` is "dev"',
        '`mode` is "dev"',
    ]


def test_voxceleb2(sets):
    made = source("voxceleb2", sets / "voxceleb2", transcripts="transcripts.csv", spectrogram={"mels": 16})
    assert made.splits == ("train",)
    assert made.targets == {}
    assert names(made, "train")[0] == "dev/mp4/id00012/abcdefghijk/00001.mp4"
    assert made.groups("train")[1:3] == ["id00012", "id00013"]
    first, last = made.dataset("train")[0], made.dataset("train")[5]
    assert first.keys() == {"video", "spectrogram", "text"}
    assert last.keys() == {"video", "text"}
    made.check()


def test_sound_beside_the_picture_is_cut_as_the_picture_is(copied):
    """The picture turns from black to white, and the sound from silence to a tone, at the same time."""
    folder = copied("voxceleb2")
    made = source("voxceleb2", folder, video={"fps": 10, "frames": 1}, audio={"rate": 8000, "seconds": 0.1})
    (row,) = [one for one in made.rows["train"] if "id00012/abcdefghijk/00001" in one.name]
    whole = source("voxceleb2", folder, audio={"rate": 8000}).dataset("train")[0]["audio"]
    dataset = made.dataset_for("train", training=False)
    start = round((0.3 - 0.1) / 2 * 8000)
    assert row.part.sound.endswith("dev/aac/id00012/abcdefghijk/00001.m4a")
    np.testing.assert_allclose(dataset[0]["audio"], whole[start : start + 800], atol=0.02)


def test_the_fingerprint_knows_labels_and_words(sets, copied):
    prints = [source("mosei", sets / "mosei", **SDK | change).fingerprint() for change in ({}, {"words": None})]
    folder = copied("mosei")
    (folder / "folds.json").write_text('{"train": ["video-0"], "valid": ["video-1"], "test": ["video-2"]}')
    prints.append(source("mosei", folder, split_lists="folds.json").fingerprint())
    assert len(set(prints)) == 3


@pytest.mark.parametrize("kind", ["caer", "meld", "mosei", "voxceleb2"])
def test_what_has_no_clips_or_nothing_to_read(kind, tmp_path):
    with pytest.raises(DataError, match="there is no"):
        source(kind, tmp_path)
    with pytest.raises(SpecError, match="nothing is to be read"):
        source(kind, tmp_path, video=None, text=None)


@pytest.mark.slow
class TestCaer(Conformance):
    component, kind = "caer", "data_source"


class TestMeld(Conformance):
    component, kind = "meld", "data_source"


@pytest.mark.slow
class TestMosei(Conformance):
    component, kind = "mosei", "data_source"


@pytest.mark.slow
class TestVoxCeleb2(Conformance):
    component, kind = "voxceleb2", "data_source"
