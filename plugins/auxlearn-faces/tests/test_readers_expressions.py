"""AffectNet, FER2013, FER+, RAF-DB and CK+, read from small copies of their layouts."""

import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from auxlearn.data import DataContext, Region, read_image
from auxlearn_faces import EXPRESSIONS, auxlearn_data_sources, testing
from auxlearn_faces.readers.ferplus import majority, shares

PROVIDERS = {provider.name: provider for provider in auxlearn_data_sources()}


def source(name, path, size=None, **settings):
    provider = PROVIDERS[name]
    return provider.build(provider.params(path=str(path), **settings), DataContext(size=size))


def counts(made, split, target="expression"):
    names = made.targets[target].names
    return Counter(None if label is None else names[label] for label in made.labels(split, target))


def pixels(path):
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)


@pytest.fixture(scope="module")
def affectnet(tmp_path_factory):
    return testing.write_affectnet(tmp_path_factory.mktemp("affectnet"))


def test_affectnet(affectnet):
    made = source("affectnet", affectnet, size=8)
    made.check()
    assert made.splits == ("train", "val")
    assert counts(made, "val") == dict.fromkeys(EXPRESSIONS, 1)
    assert counts(made, "train") == dict.fromkeys(EXPRESSIONS, 2) | {"happiness": 3, "sadness": 3}
    assert made.targets["expression"].names == EXPRESSIONS
    names = [made.name("train", index) for index in range(18)]
    row = names.index("Manually_Annotated_Images/2/t31.jpg")
    item = made.dataset("train")[row]
    assert torch.equal(item["image"], read_image(affectnet / names[row], 8))
    assert (int(item["expression"]), float(item["valence"])) == (3, pytest.approx(0.3))
    assert float(item["arousal"]) == pytest.approx(-0.3)
    region = made.region("train", row)
    assert region.box == (4, 2, 16, 12)
    assert region.landmarks[:2] == ((4.5, 3.25), (5.5, 4.25))
    assert len(region.landmarks) == 68


def test_affectnet_seven_classes_formats_and_crops(affectnet):
    made = source("affectnet", affectnet, size=8, classes=7, formats="hmtl", crop="box")
    made.check()
    assert made.targets["expression"].names == EXPRESSIONS[:7]
    assert counts(made, "train") == dict.fromkeys(EXPRESSIONS[:7], 2)
    path = affectnet / made.name("train", 0)
    assert torch.equal(made.dataset("train")[0]["image"], read_image(path, 8, crop=(4, 2, 16, 12)))


def test_hmtl_reads_bmp_for_validation_but_not_for_training(affectnet, tmp_path):
    shutil.copytree(affectnet, tmp_path / "a")
    moved = tmp_path / "a"
    training = (moved / "training.csv").read_text().splitlines(keepends=True)
    (moved / "training.csv").write_text("".join(line for line in training if not line.startswith("3/")))
    with (moved / "validation.csv").open("a") as file:
        file.writelines(line for line in training if line.startswith("3/"))
    used = source("affectnet", moved, size=8, formats="hmtl")
    assert counts(used, "val")["sadness"] == 2  # the BMP
    assert counts(used, "val")["happiness"] == 1  # not the TIFF


def test_affectnet_as_its_authors_and_those_of_hmtl_keep_it(affectnet, tmp_path):
    inner = tmp_path / "Manually_Annotated_Images"
    shutil.copytree(affectnet / "Manually_Annotated_Images", inner / "Manually_Annotated_Images")
    (tmp_path / "label").mkdir()
    for name in ("training.csv", "validation.csv"):
        shutil.copy(affectnet / name, tmp_path / "label")
    made = source("affectnet", tmp_path, size=8)
    made.check()
    assert made.name("val", 0) == "Manually_Annotated_Images/Manually_Annotated_Images/4/v0.jpg"
    inner.rename(tmp_path / "mine")
    own = source("affectnet", tmp_path, size=8, images="mine/Manually_Annotated_Images")
    assert torch.equal(own.dataset("val")[0]["image"], read_image(affectnet / "Manually_Annotated_Images/4/v0.jpg", 8))


def test_affectnet_where_nobody_could_tell(affectnet, tmp_path):
    shutil.copytree(affectnet, tmp_path / "a")
    validation = tmp_path / "a" / "validation.csv"
    lines = validation.read_text().splitlines()
    validation.write_text("\n".join([lines[0].replace("0.0,0.0", "-2,-2"), *lines[1:]]))
    item = source("affectnet", tmp_path / "a", size=8).dataset("val")[0]
    assert set(item) == {"image", "expression"}


def test_affectnet_of_2021(tmp_path):
    folder = testing.write_affectnet_arrays(tmp_path)
    made = source("affectnet", folder)
    made.check()
    assert counts(made, "train") == counts(made, "val") == dict.fromkeys(EXPRESSIONS, 2)
    names = [made.name("train", index) for index in range(16)]
    assert names[9:11] == ["train_set/images/9.jpg", "train_set/images/10.jpg"]
    item = made.dataset("train")[11]
    assert torch.equal(item["image"], pixels(folder / "train_set/images/11.jpg"))
    assert (int(item["expression"]), float(item["valence"]), float(item["arousal"])) == pytest.approx((3, 0.3, -0.3))
    region = made.region("train", 0)
    assert region.box is None
    assert region.landmarks[1] == (2.0, 3.0)
    assert len(region.landmarks) == 68
    assert len(source("affectnet", folder, classes=7).dataset("val")) == 14


@pytest.fixture(scope="module")
def ferplus(tmp_path_factory):
    return testing.write_ferplus(tmp_path_factory.mktemp("ferplus"))


def grey(folder, row):
    line = (folder / "fer2013.csv").read_text().splitlines()[row + 1]
    return np.array(line.split(",")[1].split(), dtype=np.uint8).reshape(48, 48)


def test_fer2013(ferplus, tmp_path):
    made = source("fer2013", ferplus)
    made.check()
    assert made.splits == ("train", "val", "test")
    assert made.inputs["image"].shape == (3, 48, 48)
    names = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
    assert made.targets["expression"].names == names
    assert counts(made, "train") == dict.fromkeys(names, 2)
    assert counts(made, "val") == counts(made, "test") == dict.fromkeys(names, 1)
    item = made.dataset("test")[3]
    assert int(item["expression"]) == 3
    assert np.array_equal(item["image"].numpy(), np.stack([grey(ferplus, 24)] * 3))
    assert made.name("test", 3) == "fer2013.csv line 26"
    several = made.dataset("test").__getitems__([3, 0])
    assert torch.equal(several["image"][0], item["image"])
    small = source("fer2013", ferplus, size=32).dataset("test")[3]["image"]
    Image.fromarray(grey(ferplus, 24)).save(tmp_path / "a.png")
    assert torch.equal(small, read_image(tmp_path / "a.png", 32))
    assert source("fer2013", ferplus, size=32).fingerprint() != made.fingerprint()
    assert made.duplicates() == []


@pytest.mark.parametrize("size", [None, 20])
def test_another_size_is_what_would_be_built(ferplus, size):
    large, wanted = source("fer2013", ferplus, size=64), source("fer2013", ferplus, size=size)
    made = large.resized(size)
    assert (made.inputs, made.fingerprint()) == (wanted.inputs, wanted.fingerprint())
    assert torch.equal(made.dataset("val")[1]["image"], wanted.dataset("val")[1]["image"])
    assert large.dataset("val")[1]["image"].shape == (3, 64, 64)


def test_fer2013_tells_equal_pictures(ferplus, tmp_path):
    lines = (ferplus / "fer2013.csv").read_text().splitlines()
    copy = lines[3].replace("Training", "PrivateTest")
    (tmp_path / "icml_face_data.csv").write_text(
        "\n".join(["emotion, Usage, pixels", *map(turned, [*lines[1:], copy])])
    )
    made = source("fer2013", tmp_path)
    assert made.duplicates() == [[("train", 2), ("test", 7)]]


def turned(line):
    emotion, pixels, usage = line.split(",")
    return f"{emotion},{usage},{pixels}"


def test_ferplus_majority(ferplus):
    made = source("ferplus", ferplus)
    made.check()
    names = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
    assert made.targets["expression"].names == names
    expected = dict.fromkeys(names[:7], 1)
    assert counts(made, "val") == counts(made, "test") == expected
    assert counts(made, "train") == expected | {"contempt": 1, "happiness": 3}
    item = made.dataset("train")[7]
    assert int(item["expression"]) == 7
    assert np.array_equal(item["image"][0].numpy(), grey(ferplus, 7))
    assert set(item) == {"image", "expression"}


def test_ferplus_votes(ferplus):
    made = source("ferplus", ferplus, labels="votes")
    assert len(made.dataset("train")) == 11
    item = made.dataset("train")[8]
    assert item["votes"].tolist() == [0.5, 0, 0, 0.5, 0, 0, 0, 0]
    assert np.array_equal(item["image"][0].numpy(), grey(ferplus, 8))
    assert made.targets["votes"].shape == (8,)


@pytest.mark.parametrize(
    ("votes", "most", "shared"),
    [  # by hand, after the rules of the FER+ repository
        ((10, 0, 0, 0, 0, 0, 0, 0, 0, 0), {0: 1}, {0: 1}),
        ((4, 0, 0, 1, 3, 2, 0, 0, 0, 0), None, {0: 4 / 7, 4: 3 / 7}),  # 1 drops; 4 + 3 of 9 is 3/4
        ((6, 0, 0, 1, 0, 0, 1, 1, 1, 0), {0: 1}, {0: 1}),  # single votes drop
        ((5, 0, 0, 5, 0, 0, 0, 0, 0, 0), None, {0: 0.5, 3: 0.5}),
        ((3, 0, 0, 2, 0, 0, 0, 0, 5, 0), None, None),  # best called unknown
        ((4, 0, 0, 2, 0, 0, 0, 0, 4, 0), None, None),  # 4 of 10 is not more than half
        ((6, 0, 0, 0, 0, 0, 0, 0, 4, 0), {0: 1}, {0: 1}),  # unknown comes second, and is dropped
        ((0, 0, 0, 0, 0, 0, 0, 0, 0, 10), None, None),
        ((1, 1, 1, 1, 1, 1, 1, 1, 1, 1), None, None),
        ((2, 2, 2, 2, 2, 0, 0, 0, 0, 0), None, None),  # five share the most, more than three
    ],
)
def test_votes(votes, most, shared):
    for rule, expected in ((majority, most), (shares, shared)):
        whole = None if expected is None else pytest.approx([expected.get(place, 0) for place in range(8)])
        assert rule(votes) == whole


def test_raf_db(tmp_path):
    folder = testing.write_raf_db(tmp_path)
    made = source("raf_db", folder)
    made.check()
    names = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
    assert made.targets["expression"].names == names
    assert made.splits == ("train", "test")
    assert counts(made, "train") == dict.fromkeys(names, 2)
    assert counts(made, "test") == dict.fromkeys(names, 1)
    item = made.dataset("test")[2]
    assert int(item["expression"]) == 2
    assert torch.equal(item["image"], pixels(folder / "Image/aligned/test_00003_aligned.jpg"))
    photo = source("raf_db", folder, size=8, images="original", fit="squash").dataset("train")[0]["image"]
    assert torch.equal(photo, read_image(folder / "Image/original/train_00001.jpg", 8, fit="squash"))


@pytest.fixture(scope="module")
def ck_plus(tmp_path_factory):
    return testing.write_ck_plus(tmp_path_factory.mktemp("ck"))


def test_ck_plus(ck_plus):
    made = source("ck_plus", ck_plus)
    made.check()
    names = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
    assert made.splits == ("train",)
    assert made.targets["expression"].names == names
    assert counts(made, "train") == dict.fromkeys(names, 6)
    assert made.name("train", 8) == "cohn-kanade-images/S006/002/S006_002_00000004.png"
    assert made.groups("train") == [f"S{5 + person:03d}" for person in range(6) for _ in range(7)]
    item = made.dataset("train")[8]
    assert names[int(item["expression"])] == "contempt"
    assert torch.equal(item["image"], pixels(ck_plus / made.name("train", 8)))
    assert made.region("train", 8) == Region(landmarks=tuple((p + 0.5, p + 0.25) for p in range(1, 69)))


def test_ck_plus_with_neutral_and_more_frames(ck_plus):
    made = source("ck_plus", ck_plus, frames=3, neutral=True, contempt=False)
    names = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
    assert made.targets["expression"].names == names
    assert counts(made, "train") == {"neutral": 36} | dict.fromkeys(names[1:], 18)
    frames = [made.name("train", index)[-12:] for index in range(4)]
    assert frames == [f"0000000{frame}.png" for frame in (1, 2, 3, 4)]
