"""All readers: what they say ahead, that the engine takes them, and what they say of folders that are not theirs."""

import builtins
import json
import math
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

import auxlearn
from auxlearn.data import DataContext, prepare
from auxlearn.errors import DataError, PluginError
from auxlearn.registry import CheckContext
from auxlearn.spec.models import DataKeys, Folds, Split
from auxlearn.testing import plugin
from auxlearn_faces import auxlearn_data_sources, testing

PROVIDERS = {provider.name: provider for provider in auxlearn_data_sources()}

# The data sets in small: what writes each, the folder to give, other settings, and splits to make.
BY_GROUP = {"split": Split(by="group", val=0.3)}
SETS = {
    "affectnet": (testing.write_affectnet, {}, {}),
    "affectnet_arrays": (testing.write_affectnet_arrays, {}, {}),
    "fer2013": (testing.write_fer2013, {}, {}),
    "ferplus": (testing.write_ferplus, {"labels": "votes"}, {}),
    "raf_db": (testing.write_raf_db, {}, {}),
    "ck_plus": (testing.write_ck_plus, {"neutral": True}, {"folds": Folds(count=3, by="group")}),
    "pose_300w_lp": (testing.write_300w_lp, {}, BY_GROUP),
    "biwi": (testing.write_biwi, {"test_sequences": (24,)}, BY_GROUP),
    "utkface": (testing.write_utkface, {}, {"split": Split(val=0.3, by="random")}),
    "fairface": (testing.write_fairface, {}, {}),
    "celeba": (testing.write_celeba, {}, {}),
    "adience": (testing.write_adience, {}, BY_GROUP),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("sets")
    made = {name: write(place / name) if (place / name).mkdir() is None else None for name, (write, *_) in SETS.items()}
    return {**made, "aflw2000": testing.write_aflw2000(place / "aflw2000")}


def build(name, path, root=".", size=8, **settings):
    provider = PROVIDERS[name.removesuffix("_arrays")]
    return provider.build(provider.params(path=str(path), **settings), DataContext(size=size, root=str(root)))


def problems(name, path, **settings):
    with pytest.raises(DataError) as error:
        build(name, path, **settings)
    return [str(problem) for problem in error.value.problems]


@pytest.mark.parametrize("name", [*SETS, "aflw2000"])
def test_what_is_told_ahead_is_what_is_built(folders, name):
    settings = SETS[name][1] if name in SETS else {}
    provider = PROVIDERS[name.removesuffix("_arrays")]
    facts = provider.describe(provider.params(path="elsewhere", **settings))
    made = build(name, folders[name], size=None if name in ("fer2013", "ferplus") else 8, **settings)
    classes = {target: info.names if info.kind == "class" else () for target, info in made.targets.items()}
    assert (facts.targets, facts.splits) == (classes, made.splits)
    assert facts.inputs in ({}, {"image": made.inputs["image"].shape})


@pytest.mark.parametrize("name", SETS)
def test_the_engine_takes_it(folders, name, tmp_path):
    _, settings, division = SETS[name]
    keys = DataKeys(cache="memmap", cache_dir=str(tmp_path), **division)
    data = prepare(build(name, folders[name], **settings), keys, seed=0, batch_size=4)
    assert "train" in data.splits
    assert len(data.splits) > 1
    batch = next(iter(data.train_loader(4)))
    assert batch.image.shape == (4, 3, 8, 8)
    again = build(name, folders[name], **settings)
    assert again.fingerprint() == data.source.base.fingerprint()


def test_test_sets_go_with_300w_lp(folders):
    made = build("pose_300w_lp", folders["pose_300w_lp"], aflw2000=str(folders["aflw2000"]), biwi=str(folders["biwi"]))
    data = prepare(made, DataKeys(**BY_GROUP), seed=0)
    assert set(data.splits) == {"train", "val", "test", "biwi"}
    provider = PROVIDERS["pose_300w_lp"]
    assert provider.describe(provider.params(path="x", aflw2000="y", biwi="z")).splits == made.splits


def test_paths_are_relative_to_the_spec_and_home_is_known(folders, monkeypatch):
    made = build("raf_db", "raf_db", root=folders["raf_db"].parent)
    monkeypatch.setenv("HOME", str(folders["raf_db"].parent))
    assert build("raf_db", "~/raf_db").fingerprint() == made.fingerprint()


def test_the_same_person_in_both_splits_is_a_leak(folders):
    made = build("biwi", folders["biwi"], test_sequences=(15,))
    with pytest.raises(DataError, match=r"group F03: stands in train .* and test"):
        prepare(made, DataKeys(), seed=0)


FOUND = {
    "affectnet": ("Manually_Annotated_Images/4", "training.csv and validation.csv and Manually_Annotated_Images/ here"),
    "affectnet_arrays": ("train_set", "train_set/images/ and val_set/images/ and train_set/annotations/ here"),
    "fer2013": (None, "expected fer2013.csv here"),
    "ferplus": (None, "fer2013.csv and fer2013new.csv"),
    "raf_db": ("Image", "EmoLabel/list_patition_label.txt and Image/aligned/ here"),
    "ck_plus": ("cohn-kanade-images/S005", "cohn-kanade-images/ and Emotion/"),
    "pose_300w_lp": ("AFW", "AFW_Flip/ and HELEN/"),
    "aflw2000": (None, "image00002.mat"),
    "biwi": ("01", "01/rgb.cal"),
    "fairface": ("train", "fairface_label_train.csv and fairface_label_val.csv and train/"),
    "celeba": ("Img", "Anno/list_attr_celeba.txt and Eval/list_eval_partition.txt and Img/img_align_celeba/"),
    "adience": ("aligned", "fold_0_data.txt and fold_1_data.txt"),
}


@pytest.mark.parametrize("name", FOUND)
def test_one_level_too_high_or_too_low_is_told(folders, name, tmp_path):
    below, expected = FOUND[name]
    (tmp_path / "outer" / "inner").parent.mkdir()
    (tmp_path / "outer" / "inner").symlink_to(folders[name])
    for given in (tmp_path, tmp_path / "outer"):
        (said,) = problems(name, given)
        assert said.startswith(f"{given}: expected ")
        assert expected in said
        assert f'found in {tmp_path}/outer/inner; fix: set `path` to "{tmp_path}/outer/inner"' in said
    if below:
        (said,) = problems(name, folders[name] / below)
        assert f'set `path` to "{folders[name]}"' in said


def test_files_that_are_no_utkface(folders, tmp_path):
    (said,) = problems("utkface", folders["raf_db"])
    assert "there are no images [age]_" in said
    copy = altered(folders["utkface"], tmp_path, {})
    (copy / "1_0_0_20170116174000000.jpg.chip.jpg").rename(copy / "me.jpg")
    (copy / "2_1_1_20170116174000001.jpg.chip.jpg").rename(copy / "2_3_1_20170116174000001.jpg.chip.jpg")
    said = problems("utkface", copy)
    assert said[0].startswith("2_3_1_20170116174000001.jpg.chip.jpg: the name is not one of UTKFace; allowed: [age]_")
    assert said[1].startswith("me.jpg: ")


@pytest.mark.parametrize("name", PROVIDERS)
def test_no_folder_and_an_empty_folder(name, tmp_path):
    (tmp_path / "data").mkdir()
    (said,) = problems(name, tmp_path / "dta")
    assert "there is no such folder" in said
    assert 'did you mean "data"?' in said
    said = problems(name, tmp_path / "data")
    assert all(str(tmp_path / "data") in line for line in said)
    assert name == "utkface" or all("expected " in line for line in said)
    (tmp_path / "set.zip").write_bytes(b"")
    assert "it is a file; fix: unpack it" in problems(name, tmp_path / "set.zip")[0]


def altered(folder, tmp_path, changes):
    """Return a copy of the folder with texts of files replaced, or files removed where the text is None."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for file, change in changes.items():
        if change is None:
            (copy / file).unlink()
        else:
            text = (copy / file).read_bytes().decode()
            assert change[0] in text, file
            (copy / file).write_bytes(text.replace(*change, 1).encode())
    return copy


ATTRIBUTES = "Anno/list_attr_celeba.txt"


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("affectnet", {"training.csv": ("valence", "valens")}, 'there is no column "valence"; .*did you mean "valens"'),
        ("affectnet", {"training.csv": (",3,0.3,-0.3", ",11,0.3,-0.3")}, 'training.csv line 8: `expression` is "11"'),
        ("affectnet", {"training.csv": (",0.3,-0.3", ",0.3")}, "training.csv line 8: 8 cells; allowed: 9"),
        ("affectnet", {"validation.csv": ("0.3,", "x,")}, 'validation.csv line 4: `valence` is "x"; allowed: a number'),
        ("affectnet", {"validation.csv": ("4/v3.jpg", "4/v3.png")}, '4/v3.png" is missing; did you mean "v3.jpg"'),
        ("affectnet", {"validation.csv": None}, "expected validation.csv, .*; there is no validation.csv"),
        ("affectnet_arrays", {"train_set/annotations/3_val.npy": None}, "3_val.npy: the file is missing"),
        ("affectnet_arrays", {"train_set/annotations/3_exp.npy": None}, "3_exp.npy: the file is missing"),
        ("affectnet_arrays", {"val_set/images/3.jpg": None}, "val_set/images/3.jpg: the file is missing"),
        ("fer2013", {"fer2013.csv": ("Usage", "usage")}, 'no column "Usage"; allowed: emotion, pixels, usage; did you'),
        ("fer2013", {"fer2013.csv": ("\n0,", "\n7,")}, 'fer2013.csv line 2: `emotion` is "7"; allowed: 0, 1, 2'),
        ("fer2013", {"fer2013.csv": ("Training", "train")}, '`Usage` is "train"; allowed: Training, PublicTest'),
        ("fer2013", {"fer2013.csv": ("\n0,", "\n0,1 x ")}, "line 2: `pixels` .* 2304 numbers from 0 to 255"),
        ("fer2013", {"fer2013.csv": ("\n0,", "\n0,256 ")}, "line 2: `pixels` is something else"),
        ("ferplus", {"fer2013new.csv": ("Training,fer0000000.png,8", "Training,fer0000000.png,x")}, '`neutral` is "x"'),
        ("ferplus", {"fer2013new.csv": ("NF\n", "NF\nTraining,,0,0,0,0,0,0,0,0,0,10\n")}, "it has 29 rows, .* 28"),
        (
            "ferplus",
            {"fer2013new.csv": ("\nTraining,", "\nPublicTest,")},
            "line 2: .* of val, .* line 2 is one of train",
        ),
        ("ferplus", {"fer2013new.csv": None}, "expected fer2013new.csv; .* did you mean"),
        ("raf_db", {"EmoLabel/list_patition_label.txt": (".jpg 1", ".jpg 8")}, 'line 1: `label` is "8"; allowed: 1, 2'),
        ("raf_db", {"EmoLabel/list_patition_label.txt": (" 1", "")}, "line 1: 1 words; allowed: the name"),
        ("raf_db", {"EmoLabel/list_patition_label.txt": ("train_", "trian_")}, '`split` is "trian"; allowed: train'),
        ("raf_db", {"Image/aligned/test_00002_aligned.jpg": None}, 'line 16: the image "Image/aligned/test_00002_al'),
        ("ck_plus", {"Emotion/S005/002/S005_002_00000004_emotion.txt": ("2.0", "9.0")}, "the emotion is 9; .*0 to 7"),
        ("ck_plus", {"Emotion/S005/002/S005_002_00000004_emotion.txt": ("2.0", "?")}, '`emotion` is "[?]'),
        ("pose_300w_lp", {"AFW/AFW_1000_1_1.mat": None}, "AFW/AFW_1000_1_1.mat: the file is missing"),
        ("aflw2000", {"image00003.jpg": None}, "image00003.jpg: the file is missing"),
        ("biwi", {"03/frame_00004_pose.txt": None}, "03/frame_00004_pose.txt: the file is missing; allowed: a matrix"),
        ("biwi", {"03/rgb.cal": ("640 480", "640 x")}, "03/rgb.cal: it cannot be used"),
        ("fairface", {"fairface_label_train.csv": ("0-2", "0-3")}, 'line 2: `age` is "0-3"; allowed: 0-2, 3-9'),
        ("fairface", {"fairface_label_val.csv": ("race", "rase")}, 'no column "race"; .* did you mean "rase"'),
        ("fairface", {"val/2.jpg": None}, 'fairface_label_val.csv line 3: the image "val/2.jpg" is missing'),
        (
            "celeba",
            {ATTRIBUTES: ("Bald Bangs", "Bangs Bald")},
            "it does not name CelebA's 40 attributes in their order",
        ),
        ("celeba", {ATTRIBUTES: (" -1", " 2")}, "list_attr_celeba.txt line 3: 41 words; allowed: the name of an image"),
        (
            "celeba",
            {"Eval/list_eval_partition.txt": ("3.jpg 0", "3.jpg 3")},
            'line 5: `partition` is "3"; allowed: 0, 1',
        ),
        ("celeba", {"Eval/list_eval_partition.txt": ("000003.jpg", "x.jpg")}, '`partition` is "none"'),
        ("adience", {"fold_1_data.txt": ("\tgender", "\tsex")}, 'fold_1_data.txt: there is no column "gender"'),
        (
            "adience",
            {"fold_1_data.txt": ("\tf\t", "\tw\t")},
            'fold_1_data.txt line 2: `gender` is "w"; allowed: f, m, u',
        ),
        ("adience", {"fold_1_data.txt": ("(4, 6)", "four")}, '`age` is "four"'),
        ("adience", {"fold_4_data.txt": None}, "expected fold_4_data.txt; .*did you mean"),
    ],
)
def test_what_is_wrong_is_told_where_it_is(folders, tmp_path, name, changes, expected):
    said = problems(name, altered(folders[name], tmp_path, changes))
    assert any(re.search(expected, line) for line in said), said


def test_everything_wrong_comes_at_once_and_long_lists_are_cut(folders, tmp_path):
    changes = {"fold_0_data.txt": ("\tf\t", "\tw\t"), "fold_1_data.txt": ("(4, 6)", "four")}
    copy = altered(folders["adience"], tmp_path, changes)
    gone = sorted((copy / "aligned").rglob("*.jpg"))[:12]
    for path in gone:
        path.unlink()
    said = problems("adience", copy)
    assert len(said) == 1 + 1 + 10 + 1
    assert said[-1].endswith("2 more of this kind: images")


def test_if_no_image_is_there_one_line_says_so(folders, tmp_path):
    copy = altered(folders["affectnet"], tmp_path, {})
    shutil.rmtree(copy / "Manually_Annotated_Images")
    (copy / "Manually_Annotated_Images").mkdir()
    (said,) = problems("affectnet", copy)
    assert "none of the 26 images that the lists name is there, e.g. " in said


def test_both_folders_of_a_pair_are_looked_at(folders, tmp_path):
    said = problems("pose_300w_lp", tmp_path, aflw2000=str(tmp_path), biwi="nowhere")
    assert [line for line in said if "image00002.mat" in line]
    assert [line for line in said if "AFW/" in line]
    assert [line for line in said if "there is no such folder" in line]


def test_lists_that_are_no_text(folders, tmp_path):
    for name, list_name in (("fairface", "fairface_label_val.csv"), ("raf_db", "EmoLabel/list_patition_label.txt")):
        copy = altered(folders[name], tmp_path / name, {})
        (copy / list_name).write_bytes(b"\xff\xfe\x00nothing")
        assert f"{copy / list_name}: it cannot be read as text" in problems(name, copy)[0]


def test_lists_that_may_not_be_read(folders, tmp_path, monkeypatch):
    real = pathlib.Path.open

    def refuse(path, *args, **kwargs):
        if path.suffix == ".csv":
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(pathlib.Path, "open", refuse)
    for name, list_name in (("fairface", "fairface_label_val.csv"), ("affectnet", "validation.csv")):
        assert any(
            line.startswith(f"{folders[name] / list_name}: it cannot be read") for line in problems(name, folders[name])
        )


def test_boxes_that_are_not_there(folders):
    assert "allowed: none" in problems("affectnet", folders["affectnet_arrays"], crop="box")[0]


def test_a_mat_file_without_its_arrays(folders, tmp_path):
    copy = altered(folders["aflw2000"], tmp_path, {})
    shutil.copy(folders["pose_300w_lp"] / "AFW/AFW_1000_1_1.mat", copy / "image00003.mat")
    (copy / "image00004.mat").write_bytes(b"nonsense")
    said = problems("aflw2000", copy, landmarks="pt3d_68")
    assert "image00003.mat: it cannot be used: it has no array pt3d_68, but Pose_Para" in said[0]
    assert "image00004.mat: it cannot be used" in said[1]


def test_without_scipy_there_is_a_hint(folders, monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(PluginError, match=r"pip install 'auxlearn-faces\[mat\]'"):
        build("pose_300w_lp", folders["pose_300w_lp"])


def test_a_sequence_named_twice():
    biwi = PROVIDERS["biwi"]
    (found,) = biwi.check(biwi.params(path="x", test_sequences=(3, 4, 3)), CheckContext())
    assert found.where == "/test_sequences/2"


def test_boxes_of_aligned_images_are_refused_ahead():
    celeba = PROVIDERS["celeba"]
    (found,) = celeba.check(celeba.params(path="x", crop="box"), CheckContext())
    assert found.where == "/crop"
    assert not list(celeba.check(celeba.params(path="x", crop="box", images="wild"), CheckContext()))


def test_listing_loads_neither_torch_nor_numpy():
    code = (
        "import sys, auxlearn_faces as a\n"
        "found = [p.describe(p.params(path='x')) for p in a.auxlearn_data_sources()]\n"
        "assert len(found) == 12\n"
        "sys.exit(bool({'torch', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("data", "primary", "scores"),
    [
        ({"type": "raf_db", "path": "raf_db"}, {"expression": {"type": "fer"}}, ["expression/accuracy"]),
        (
            {"type": "pose_300w_lp", "path": "pose_300w_lp", "aflw2000": "aflw2000"},
            {"pose": {"type": "head_pose"}},
            ["pose/mae"],
        ),
        (
            {"type": "adience", "path": "adience", "fold": 3},
            {"gender": {"type": "gender"}, "age_group": {"type": "classification", "target": "age_group"}},
            ["gender/accuracy", "age_group/accuracy"],
        ),
    ],
    ids=["expressions", "poses", "people"],
)
def test_a_run(folders, tmp_path, data, primary, scores):
    spec = {
        "auxlearn": 1,
        "name": "small",
        "data": {**data, "size": 16},
        "backbone": {"type": "tiny"},
        "primary": primary,
        "train": {"epochs": 1, "batch_size": 8},
    }
    path = folders["raf_db"].parent / "spec.json"
    path.write_text(json.dumps(spec))
    result = auxlearn.run(path, out=tmp_path / "run", plugins=[plugin])
    assert all(math.isfinite(result.test[name]) for name in scores)
