"""`synthfeatures`: what is made up, and what it depends on."""

import subprocess
import sys

import numpy as np
import pytest

from auxlearn.data import DataContext, prepare
from auxlearn.registry import CheckContext, discover
from auxlearn.spec.models import DataKeys
from auxlearn_features import SynthFeaturesParams, auxlearn_data_sources
from auxlearn_features.synthetic import TAGS, synthetic_source

SYNTHETIC = next(provider for provider in auxlearn_data_sources() if provider.name == "synthfeatures")


def whole(source, split):
    data = source.dataset_for(split, training=False)
    return data.__getitems__(list(range(len(data))))


def standardised(source, split, names):
    """Return the vectors, mean 0 and spread 1, and zeros where a row has none."""
    rows = whole(source, split)
    parts = []
    for name in names:
        shape, there = source.inputs[name], rows["present"][f"inputs/{name}"].numpy()
        values = (rows[name].numpy() - np.array(shape.mean)) / np.array(shape.std)
        parts.append(np.where(there[:, None], values, 0))
    return np.concatenate(parts, axis=1)


def accuracy(source, names):
    """Return how many of the test rows ridge regression on the classes puts right."""
    train, test = standardised(source, "train", names), standardised(source, "test", names)
    labels, asked = whole(source, "train")["label"].numpy(), whole(source, "test")["label"].numpy()
    weights = np.linalg.solve(train.T @ train + 10 * np.eye(train.shape[1]), train.T @ np.eye(labels.max() + 1)[labels])
    return float(((test @ weights).argmax(1) == asked).mean())


def test_labels_can_be_learned_and_modalities_complete_each_other():
    source = synthetic_source(SynthFeaturesParams())
    alone = [accuracy(source, [name]) for name in source.inputs]
    together = accuracy(source, list(source.inputs))
    assert all(0.5 < one < 0.85 for one in alone)
    assert max(alone) + 0.04 < together < 0.97
    assert accuracy(synthetic_source(SynthFeaturesParams(noise=3.0)), list(source.inputs)) < together - 0.1


def test_the_numbers_depend_on_their_own_settings_only():
    base = synthetic_source(SynthFeaturesParams(available=2))
    for more in ({"val": 7, "test": 0}, {"available": 4}, {"modalities": {"video": 32, "touch": 3}}):
        other = synthetic_source(SynthFeaturesParams(**{"available": 2, "groups": 32, **more}))
        same = np.array_equal(whole(base, "train")["video"], whole(other, "train")["video"])
        # Another share of the groups is another set of groups, and the only thing that may change.
        assert same == ("val" not in more)
    assert synthetic_source(SynthFeaturesParams(seed=1)).fingerprint() != base.fingerprint()
    again = synthetic_source(SynthFeaturesParams(available=2))
    assert again.fingerprint() == base.fingerprint()


def test_what_the_shipped_numbers_are():
    # Whoever reports results on the defaults means these.
    found = whole(synthetic_source(SynthFeaturesParams()), "train")
    assert found["label"][:8].tolist() == [0, 5, 1, 3, 3, 2, 4, 3]
    np.testing.assert_allclose(found["video"][0, :3], [-0.5961, -1.1068, 1.9047], atol=1e-4)


def test_rows_lack_modalities_and_never_all():
    source = synthetic_source(SynthFeaturesParams(missing=0.6, train=4000, val=0, test=0))
    present = whole(source, "train")["present"]
    there = np.stack([present[f"inputs/{name}"] for name in source.inputs])
    assert there.any(0).all()
    # 0.4, and a third of those 0.6^3 that would lack everything.
    np.testing.assert_allclose(there.mean(1), 0.4 + 0.6**3 / 3, atol=4 * 0.008)
    assert source.splits == ("train",)


def test_no_group_is_in_two_splits_and_classes_are_even():
    source = synthetic_source(SynthFeaturesParams(classes=5, groups=9))
    groups = [set(source.groups(split)) for split in source.splits]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 9
    assert all(groups)
    counts = np.bincount(source.labels("train", "label"))
    assert counts.max() - counts.min() <= 1
    data = prepare(source, DataKeys(), seed=0, batch_size=64)
    assert data.notes == ()


def test_targets_of_every_kind():
    source = synthetic_source(SynthFeaturesParams())
    rows = whole(source, "train")
    assert source.targets["tags"].names == TAGS
    assert rows["tags"].shape == (512, 4)
    assert set(rows["tags"].unique().tolist()) == {0.0, 1.0}
    assert ((rows["tags"].mean(0) > 0.1) & (rows["tags"].mean(0) < 0.9)).all()
    assert source.labels("train", "tags") == rows["tags"].tolist()
    assert source.labels("train", "level") is None
    assert abs(float(rows["level"].mean())) < 1
    assert float(rows["level"].std()) > 0.5


def test_copies_of_a_row_are_nearer_to_each_other_than_rows_are():
    source = synthetic_source(SynthFeaturesParams(available=3, copies=3, noise=0.5))
    video = whole(source, "train")["video"].numpy()
    own = np.linalg.norm(video[:, 0] - video[:, 1], axis=1).mean()
    others = np.linalg.norm(video[:, 0] - np.roll(video[:, 0], 1, axis=0), axis=1).mean()
    assert 0 < own < 0.8 * others


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"modalities": {}}, ["/modalities"]),
        ({"modalities": {"a-b": 3, "label": 3}}, ["/modalities/a-b", "/modalities/label"]),
        ({"copies": 2}, ["/copies"]),
        ({"groups": 2}, ["/groups"]),
        ({"groups": 1, "val": 0, "test": 0}, []),
        ({}, []),
    ],
)
def test_settings_that_contradict_each_other(settings, where):
    params = SynthFeaturesParams(**settings)
    assert [problem.where for problem in SYNTHETIC.check(params, CheckContext())] == where


@pytest.mark.parametrize("settings", [{}, {"copies": 2, "available": 2, "val": 0}, {"modalities": {"x": 3}}])
def test_the_provider_describes_what_it_builds(settings):
    params = SynthFeaturesParams(**settings)
    facts, built = SYNTHETIC.describe(params), SYNTHETIC.build(params, DataContext())
    assert facts.inputs == {name: shape.shape for name, shape in built.inputs.items()}
    assert facts.splits == built.splits
    assert facts.targets == {name: info.names if info.kind == "class" else () for name, info in built.targets.items()}


def test_the_installed_plugin_is_found_and_loads_no_torch():
    found = {(one.kind, one.provider.name) for one in discover().found if one.distribution == "auxlearn-features"}
    assert found == {("data_source", "features"), ("data_source", "synthfeatures"), ("backbone", "features")}
    code = (
        "import sys, auxlearn_features as plugin; p = plugin.auxlearn_data_sources()[1]; p.describe(p.params()); "
        "plugin.auxlearn_backbones(); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
