"""UTKFace, FairFace, CelebA and Adience, read from small copies of their layouts."""

import csv
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from auxlearn.data import DataContext, read_image
from auxlearn_faces import auxlearn_data_sources, testing
from auxlearn_faces.readers.names import AGES_ADIENCE, ATTRIBUTES, GENDERS

PROVIDERS = {provider.name: provider for provider in auxlearn_data_sources()}


def source(name, path, size=None, **settings):
    provider = PROVIDERS[name]
    return provider.build(provider.params(path=str(path), **settings), DataContext(size=size))


def pixels(path):
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)


def labels(made, split, row):
    item = made.dataset(split)[row]
    return {
        name: info.names[int(item[name])]
        for name, info in made.targets.items()
        if info.kind == "class" and name in item
    }


def test_utkface(tmp_path):
    folder = testing.write_utkface(tmp_path / "a" / "part1")
    made = source("utkface", tmp_path / "a")
    made.check()
    assert made.splits == ("train",)
    names = [made.name("train", row) for row in range(22)]
    assert len(made.dataset("train")) == 22  # both oddly written names, none that lacks a field
    row = names.index("part1/4_1_3_20170116174000003.jpg.chip.jpg")
    assert labels(made, "train", row) == {"gender": "female", "race": "Indian"}
    assert float(made.dataset("train")[row]["age"]) == 4
    assert torch.equal(made.dataset("train")[row]["image"], pixels(folder / "4_1_3_20170116174000003.jpg.chip.jpg"))
    odd = names.index("part1/24_0_1_20170116220224657 .jpg.chip.jpg")
    assert labels(made, "train", odd) == {"gender": "male", "race": "Black"}
    assert Counter(made.labels("train", "gender")) == {0: 10, 1: 12}


def test_fairface(tmp_path):
    folder = testing.write_fairface(tmp_path)
    made = source("fairface", folder)
    made.check()
    assert made.splits == ("train", "val")
    assert [len(made.dataset(split)) for split in made.splits] == [18, 9]
    assert made.targets["age_group"].names[1] == "3-9"
    assert labels(made, "val", 2) == {"gender": "male", "age_group": "10-19", "race": "Latino_Hispanic"}
    assert labels(made, "val", 3)["gender"] == "female"
    assert torch.equal(made.dataset("val")[2]["image"], pixels(folder / "val/3.jpg"))
    (folder / "images").mkdir()
    for split in ("train", "val"):
        (folder / split).rename(folder / "images" / split)
    assert source("fairface", folder, images="images").name("val", 2) == "images/val/3.jpg"


@pytest.fixture(scope="module")
def celeba(tmp_path_factory):
    return testing.write_celeba(tmp_path_factory.mktemp("celeba"))


def test_celeba(celeba):
    made = source("celeba", celeba)
    made.check()
    assert made.splits == ("train", "val", "test")
    assert [len(made.dataset(split)) for split in made.splits] == [6, 3, 3]
    item = made.dataset("val")[0]  # the seventh image: attributes 0, 3, 6, ... apply
    applying = [(6 + place) % 3 == 0 for place in range(40)]
    assert item["attributes"].tolist() == applying
    assert made.targets["attributes"].names == ATTRIBUTES
    male = ATTRIBUTES.index("Male")
    for split in made.splits:
        for row in map(made.dataset(split).__getitem__, range(3)):
            assert GENDERS[int(row["gender"])] == ("male" if row["attributes"][male] else "female")
    assert torch.equal(item["image"], pixels(celeba / "Img/img_align_celeba/000007.jpg"))
    region = made.region("val", 0)
    assert region.box is None
    assert region.landmarks == tuple((11.0 + p, 12.0 + p) for p in range(0, 10, 2))
    assert made.groups("train") is None


def test_celeba_in_the_wild(celeba):
    made = source("celeba", celeba, size=8, images="wild", crop="box")
    made.check()
    assert made.region("val", 0).box == (10, 3, 28, 23)
    expected = read_image(celeba / "Img/img_celeba/000007.jpg", 8, crop=(10, 3, 28, 23))
    assert torch.equal(made.dataset("val")[0]["image"], expected)
    assert len(made.region("val", 0).landmarks) == 5
    assert [made.name("train", row)[-5] for row in range(5)] == ["1", "3", "4", "5", "6"]  # the second's has no area
    whole = source("celeba", celeba, size=8, images="wild")
    assert len(whole.dataset("train")) == 6
    assert whole.region("train", 1).box is None
    assert len(whole.region("train", 1).landmarks) == 5


def test_celeba_in_one_folder_and_as_csv(celeba, tmp_path):
    flat, tables = tmp_path / "flat", tmp_path / "tables"
    shutil.copytree(celeba / "Img" / "img_align_celeba", flat / "img_align_celeba")
    shutil.copytree(celeba / "Img" / "img_align_celeba", tables / "img_align_celeba" / "img_align_celeba")
    for file in (celeba / "Anno" / "list_attr_celeba.txt", celeba / "Eval" / "list_eval_partition.txt"):
        shutil.copy(file, flat)
        lines = [line.split() for line in file.read_text().splitlines()]
        head = ["image_id", "partition"] if file.parent.name == "Eval" else ["image_id", *ATTRIBUTES]
        rows = lines if file.parent.name == "Eval" else lines[2:]
        with (tables / f"{file.stem}.csv").open("w", newline="") as out:
            csv.writer(out).writerows([head, *rows])
    (flat / "identity_CelebA.txt").write_text("".join(f"{n:06d}.jpg {n % 4}\n" for n in range(1, 13)))
    made, other = source("celeba", flat), source("celeba", tables)
    assert made.groups("train") == ["1", "2", "3", "0", "1", "2"]
    assert made.region("train", 0) is None
    for split in made.splits:
        assert made.labels(split, "gender") == other.labels(split, "gender")
        assert torch.equal(
            torch.as_tensor(made.dataset(split)[1]["attributes"]),
            torch.as_tensor(other.dataset(split)[1]["attributes"]),
        )


def test_adience(tmp_path):
    folder = testing.write_adience(tmp_path)
    made = source("adience", folder, fold=2)
    made.check()
    assert made.splits == ("train", "test")
    assert [len(made.dataset(split)) for split in made.splits] == [32, 8]
    assert set(made.groups("test")) == {"20000@N02", "20001@N02"}
    assert made.name("test", 0) == "aligned/20000@N02/landmark_aligned_face.16.20_abc_o.jpg"
    assert labels(made, "test", 0) == {"gender": "female", "age_group": AGES_ADIENCE[2]}
    assert labels(made, "test", 1) == {"gender": "male"}  # 35 is no age group
    assert set(made.dataset("test")[3]) == {"image", "age_group"}  # gender u
    assert made.labels("test", "gender") == [0, 1, 0, None, 0, 1, 0, 1]
    assert made.region("test", 0) is None
    photos = source("adience", folder, size=8, images="faces", frontal=True)
    assert [len(photos.dataset(split)) for split in photos.splits] == [28, 7]
    path = folder / "faces/00000@N00/coarse_tilt_aligned_face.0.00_abc_o.jpg"
    assert torch.equal(photos.dataset("test")[0]["image"], read_image(path, 8))
