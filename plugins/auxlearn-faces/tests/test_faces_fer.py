"""fer: AffectNet's names and order whatever the data calls its classes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from auxlearn.data import Batch, TargetInfo
from auxlearn.errors import SpecError
from auxlearn.learning import BuildContext, Feature, Features, FeatureShape, StepContext
from auxlearn.registry import CheckContext, DataFacts
from auxlearn_faces import EXPRESSIONS, FerParams, GenderParams, HeadPoseParams, auxlearn_primary_tasks
from auxlearn_faces.expressions import canonical, choose_expressions
from auxlearn_faces.fer import build_fer

FOLDERS = ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
NAMES = {FerParams: "fer", HeadPoseParams: "head_pose", GenderParams: "gender"}
FER2013 = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")


def context(names=FOLDERS, target="expression", counts=None, **others):
    targets = {target: TargetInfo(kind="class", names=tuple(names)), **others}
    return BuildContext(
        inputs={},
        features={"image": FeatureShape(pooled=5)},
        targets=targets,
        class_counts={} if counts is None else {target: counts},
    )


def test_eight_classes_in_the_order_of_affectnet():
    assert EXPRESSIONS == ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
    assert build_fer(FerParams(), context()).names == EXPRESSIONS


def test_seven_class_variant_leaves_the_rows_of_contempt_out():
    task = build_fer(FerParams(exclude=("contempt",)), context())
    assert task.names == EXPRESSIONS[:7]
    labels = torch.tensor([FOLDERS.index("contempt"), FOLDERS.index("anger"), FOLDERS.index("neutral")])
    batch = Batch(inputs={}, targets={"expression": labels}, ids=torch.arange(3))
    assert int(task.count(batch)) == 2
    features = Features({"image": Feature(pooled=torch.randn(3, 5))})
    expected = F.cross_entropy(task.head(features.only.pooled[1:]), torch.tensor([6, 0]), reduction="sum")
    torch.testing.assert_close(task.loss(features, batch, StepContext()).loss, expected)


def test_any_subset_under_other_names():
    task = build_fer(FerParams(), context(FER2013, "emotion"))
    assert task.names == EXPRESSIONS[:7]
    assert task.targets == ("emotion",)
    assert task.describe()["classes"] == list(EXPRESSIONS[:7])
    assert build_fer(FerParams(), context(("fearful", "SAD"))).names == ("sadness", "fear")


@given(st.permutations(FOLDERS), st.integers(2, 8))
def test_the_order_of_the_data_does_not_matter(names, count):
    names = names[:count]
    chosen = choose_expressions(None, {"expression": names})
    assert set(chosen.names) == set(names)
    assert list(chosen.names) == sorted(names, key=EXPRESSIONS.index)
    assert [chosen.names[place] for place in chosen.index] == list(names)


def test_labels_of_no_expression_are_left_out():
    names = (*EXPRESSIONS, "None", "Uncertain", "Non-Face")
    chosen = choose_expressions(None, {"expression": names})
    assert chosen.names == EXPRESSIONS
    assert chosen.index[8:] == (None, None, None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Happy", "happiness"), (" SURPRISED ", "surprise"), ("disgusted", "disgust"), ("bored", None), ("none", None)],
)
def test_canonical(name, expected):
    assert canonical(name) == expected


def test_balanced_weights_follow_the_names():
    counts = (10, 0, 20, 5, 40, 40, 5, 8)  # in the order of the folders
    task = build_fer(FerParams(class_weights="balanced"), context(counts=counts))
    found = dict(zip(task.names, task._weights.tolist(), strict=True))
    assert found["contempt"] == 1
    for name, count in zip(FOLDERS, counts, strict=True):
        assert count == 0 or found[name] == pytest.approx(128 / (7 * count))


def test_balanced_weights_do_not_count_what_is_left_out():
    task = build_fer(
        FerParams(class_weights="balanced", exclude=("fear",)), context(("fear", "anger", "sad"), counts=(99, 10, 30))
    )
    assert task.names == ("sadness", "anger")
    assert task._weights.tolist() == pytest.approx([40 / 60, 40 / 20])


def test_weights_by_name():
    task = build_fer(FerParams(class_weights={"fear": 3.0}), context(("Scared", "Angry")))
    assert task._weights.tolist() == [3.0, 1.0]
    with pytest.raises(SpecError, match=r'/class_weights/feer: .*did you mean "fear"'):
        build_fer(FerParams(class_weights={"feer": 3.0}), context())


def test_target():
    sex = TargetInfo(kind="class", names=("f", "m"))
    mood = TargetInfo(kind="class", names=("happy", "sad"))
    age = TargetInfo(kind="continuous")
    assert build_fer(FerParams(), context(target="label", sex=sex, age=age)).targets == ("label",)
    assert build_fer(FerParams(), context(mood=mood)).targets == ("expression",)
    assert build_fer(FerParams(target="mood"), context(mood=mood)).names == ("happiness", "sadness")
    with pytest.raises(SpecError, match="/target: several targets have expressions as classes: label, mood"):
        build_fer(FerParams(), context(target="label", mood=mood))
    with pytest.raises(SpecError, match=r'/target: the data has no class target "moode"; .*did you mean "mood"'):
        build_fer(FerParams(target="moode"), context(mood=mood))


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        (
            ("cat", "dog"),
            {"target": "expression"},
            "classes that are no expressions: cat, dog; allowed: neutral, .*fix",
        ),
        (("happy", "angre"), {}, r'no expressions: angre; .*did you mean "angry"'),
        (("happy", "joy", "sad"), {}, "several classes for happiness: happy, joy"),
        (("happy", "sad"), {"exclude": ("sadness",)}, "/exclude: .* has 1 expressions to learn; allowed: 2 or more"),
    ],
)
def test_mistakes(names, settings, message):
    with pytest.raises(SpecError, match=message):
        build_fer(FerParams(**settings), context(names))


def test_data_without_expressions():
    with pytest.raises(
        SpecError, match=r"/target: no target has expressions as classes; the data has kind \(cat, dog\)"
    ):
        build_fer(FerParams(), context(("cat", "dog"), "kind"))
    with pytest.raises(SpecError, match="the data has no class targets"):
        build_fer(FerParams(), BuildContext(inputs={}, targets={"age": TargetInfo(kind="continuous")}))


def test_check_finds_the_same_without_torch():
    provider = next(p for p in auxlearn_primary_tasks() if p.name == "fer")

    def check(targets, **settings):
        found = provider.check(FerParams(**settings), CheckContext(data=DataFacts(targets=targets)))
        return [str(problem) for problem in found]

    assert check({"expression": FOLDERS, "age": ()}) == []
    assert check({"expression": FER2013}, class_weights={"anger": 2.0}) == []
    assert "contempt" in check({"expression": FER2013}, class_weights={"contempt": 2.0})[0]
    assert check({"kind": ("cat", "dog")})[0].startswith("/target: no target has expressions")
    assert list(provider.check(FerParams(target="x"), CheckContext())) == []


def test_module_loads_no_torch():
    code = (
        "import sys, auxlearn_faces as a\n"
        "from auxlearn.registry import CheckContext, DataFacts\n"
        "context = CheckContext(data=DataFacts(targets={'emotion': ('happy', 'sad')}))\n"
        "assert not [list(p.check(p.params(), context)) for p in a.auxlearn_primary_tasks()][0]\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_readme_names_every_setting():
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    for params in (FerParams, HeadPoseParams, GenderParams):
        section = readme.partition(f"## `{NAMES[params]}`")[2].partition("\n## ")[0]
        for field in attrs.fields(params):
            assert f"`{field.name}`" in section, field.name
