"""The data source: what it declares, and what it gives."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from auxlearn.data import DataContext
from auxlearn.registry import CheckContext, discover
from auxlearn_synthfaces import EXPRESSIONS, SynthFaces, SynthFacesParams, auxlearn_data_sources
from auxlearn_synthfaces.archive import read_images, read_labels


@pytest.fixture(scope="module")
def faces():
    return SynthFaces()


@pytest.fixture(scope="module")
def provider():
    (offered,) = auxlearn_data_sources()
    return offered


def test_items_are_the_shipped_images_with_their_labels(faces):
    rows, images = read_labels(), read_images()
    for split in faces.splits:
        chosen = [i for i, row in enumerate(rows) if row.split == split]
        data = faces.dataset(split)
        assert len(data) == len(chosen)
        for index in (0, len(chosen) // 2, len(chosen) - 1):
            row, item = rows[chosen[index]], data[index]
            assert np.array_equal(item["image"].numpy(), images[chosen[index]].transpose(2, 0, 1))
            assert EXPRESSIONS[item["expression"]] == row.expression
            assert item["pose"].tolist() == pytest.approx([row.yaw, row.pitch, row.roll], abs=1e-5)
            assert [float(item[name]) for name in ("yaw", "pitch", "roll")] == item["pose"].tolist()
            assert float(item["age"]) == pytest.approx(row.age)
            assert faces.targets["morphology"].names[item["morphology"]] == row.morphology
            assert faces.name(split, index) == f"synthfaces/{row.id}"


def test_many_items_at_once_are_the_single_ones(faces):
    data = faces.dataset("val")
    several = data.__getitems__([3, 0, 3])
    for place, index in enumerate([3, 0, 3]):
        for name, value in data[index].items():
            assert torch.equal(several[name][place], value)


def test_no_group_is_in_two_splits(faces):
    groups = [set(faces.groups(split)) for split in faces.splits]
    assert [len(group) for group in groups] == [210, 30, 60]
    assert len(set.union(*groups)) == 300


def test_labels_without_reading(faces):
    labels = faces.labels("test", "expression")
    assert labels == [int(item["expression"]) for item in map(faces.dataset("test").__getitem__, range(len(labels)))]
    assert faces.labels("test", "yaw") is None


def test_a_subset_has_its_own_indices_and_only_its_rows(faces):
    chosen = ("fear", "anger")
    some = SynthFaces(expressions=chosen)
    assert some.targets["expression"].names == chosen
    data = some.dataset("train")
    everything = faces.labels("train", "expression")
    assert len(data) == sum(EXPRESSIONS[label] in chosen for label in everything)
    assert set(some.labels("train", "expression")) == {0, 1}
    first = next(i for i, label in enumerate(everything) if EXPRESSIONS[label] in chosen)
    assert torch.equal(data[0]["image"], faces.dataset("train")[first]["image"])
    assert some.fingerprint() != faces.fingerprint()


def test_another_size_is_resized_as_pillow_does(faces):
    small = SynthFaces(size=48)
    assert small.inputs["image"].shape == (3, 48, 48)
    own = Image.fromarray(faces.dataset("val")[5]["image"].permute(1, 2, 0).numpy())
    expected = np.asarray(own.resize((48, 48), Image.Resampling.BILINEAR))
    assert np.array_equal(small.dataset("val")[5]["image"].permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("arguments", [{"expressions": ("joy",)}, {"expressions": ("fear", "fear")}, {"size": 0}])
def test_what_cannot_be_is_refused(arguments):
    with pytest.raises(ValueError, match="got"):
        SynthFaces(**arguments)


def test_the_provider_describes_what_it_builds(provider):
    params = SynthFacesParams(expressions=("neutral", "happiness"))
    facts, built = provider.describe(params), provider.build(params, DataContext())
    assert facts.inputs == {name: shape.shape for name, shape in built.inputs.items()}
    assert set(facts.targets) == set(built.targets)
    assert {k: v for k, v in facts.targets.items() if v} == {
        name: info.names for name, info in built.targets.items() if info.kind == "class"
    }
    assert facts.splits == built.splits
    assert provider.build(params, DataContext(size=32)).inputs["image"].shape == (3, 32, 32)


def test_an_expression_named_twice_is_a_problem(provider):
    (problem,) = provider.check(SynthFacesParams(expressions=("fear", "anger", "fear")), CheckContext())
    assert problem.where == "/expressions/2"
    assert not list(provider.check(SynthFacesParams(), CheckContext()))


def test_the_installed_plugin_is_found():
    (found,) = [found for found in discover().found if found.provider.name == "synthfaces"]
    assert found.distribution == "auxlearn-synthfaces"


def test_looking_at_the_plugin_loads_no_torch():
    code = (
        "import sys, auxlearn_synthfaces as plugin; (p,) = plugin.auxlearn_data_sources(); p.describe(p.params()); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
