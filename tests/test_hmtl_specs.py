"""Every spec of `benchmarks/hmtl` is one, and those of the paper run on made-up data in the layouts of the real sets.

The small ones differ in size and data only, and `python -m benchmarks.hmtl` runs them to the end.
"""

import json
from pathlib import Path

import pytest

import auxlearn
from auxlearn.spec import load_spec
from auxlearn_faces import testing

HMTL = Path(__file__).parents[1] / "benchmarks" / "hmtl"
FULL = sorted(HMTL.glob("full/*.json"))
SMALL = sorted(HMTL.glob("small/*.json"))

# What makes a run short; the size is one that nine tiles do not divide.
SHORT = {"train": {"epochs": 1, "batch_size": 8, "accelerator": "cpu"}, "schedule": {"warmup_epochs": 0}}
TINY = {"data": {"size": 48}, "augment": {"size": 40}, "backbone": {"model": "test_resnet", "pretrained": False}}


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    """Return a folder with `data/` as the specs expect it beside them."""
    folder = tmp_path_factory.mktemp("hmtl")
    data = folder / "data"
    testing.write_affectnet(data / "AffectNet", each=8)
    testing.write_ck_plus(data / "CK+", people=12)
    testing.write_300w_lp(data / "300W_LP")
    testing.write_aflw2000(data / "AFLW2000")
    testing.write_biwi(data / "hpdb")
    testing.write_fairface(data / "FairFace", each=8)
    return folder


def shortened(path, changes):
    """Return the spec in `path`, with `changes` in the whole and wherever a stage says otherwise."""
    spec = json.loads(path.read_text(encoding="utf-8"))
    for part in [spec, *spec.get("stages", [])]:
        for section, values in changes.items():
            if part is spec or section in part:
                part[section] = {**part.get(section, {}), **values}
    return spec


def check(spec, result):
    results = list(result.stages.values()) if "stages" in spec else [result]
    assert len(results) == len(spec.get("stages", [1]))
    assert all("train" in {line["kind"] for line in one.history} for one in results)
    assert any("/" in name for name in results[-1].history[-1])


@pytest.mark.parametrize("path", [*FULL, *SMALL], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_it_is_a_spec(path):
    spec = json.loads(path.read_text(encoding="utf-8"))
    assert load_spec(path).name == path.stem
    assert spec["preset"].startswith("hmtl-")


@pytest.mark.slow
@pytest.mark.parametrize("path", FULL, ids=lambda path: path.stem)
def test_the_papers_system_runs_on_the_real_layouts(path, layouts, tmp_path):
    spec = shortened(path, SHORT | TINY)
    file = layouts / f"{path.stem}.json"
    file.write_text(json.dumps(spec), encoding="utf-8")
    check(spec, auxlearn.run(file, out=tmp_path / "run"))
