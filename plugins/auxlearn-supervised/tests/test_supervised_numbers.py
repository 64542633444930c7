"""Multi-label classification and regression: values against torch, partial labels, scores."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import torch
import torch.nn.functional as F

import auxlearn_supervised
from auxlearn.data import Batch, TargetInfo
from auxlearn.errors import SpecError
from auxlearn.learning import BuildContext, Feature, Features, FeatureShape, StepContext
from auxlearn.registry import CheckContext, DataFacts
from auxlearn.results.answers import answers, task_facts
from auxlearn_supervised import MultilabelParams, RegressionParams, auxlearn_primary_tasks
from auxlearn_supervised.multilabel import Multilabel
from auxlearn_supervised.regression import Regression
from auxlearn_supervised.scores import MeanAveragePrecision

SHAPES = {"image": FeatureShape(pooled=6)}
NAMES = ("hat", "scarf", "glasses")
PRESENT = torch.tensor([True, False, True, True, False, True, True, False])


def rows(target, values, present=None, dtype=torch.float32):
    pooled = torch.randn(len(values), 6, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
    given = {} if present is None else {f"targets/{target}": present}
    batch = Batch(inputs={}, targets={target: values}, present=given, ids=torch.arange(len(values)))
    return Features({"image": Feature(pooled=pooled)}), batch


def labels():
    return (torch.rand(8, 3, generator=torch.Generator().manual_seed(2)) < 0.4).float()


def labelled(present):
    return slice(None) if present is None else present


@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 1.0)])
@pytest.mark.parametrize("present", [None, PRESENT])
def test_multilabel_is_torchs_mean(weights, present):
    task = Multilabel(SHAPES, target="wears", names=NAMES, pos_weights=weights)
    wanted = labels()
    features, batch = rows(
        "wears", wanted if present is None else wanted.masked_fill(~PRESENT[:, None], torch.nan), present
    )
    found = task.loss(features, batch, StepContext()).loss / task.count(batch)
    expected = F.binary_cross_entropy_with_logits(
        task.head(features.only.pooled[labelled(present)]),
        wanted[labelled(present)],
        pos_weight=None if weights is None else torch.tensor(weights),
    )
    torch.testing.assert_close(found, expected)
    found.backward()
    assert features.only.pooled.grad.isfinite().all()
    assert present is None or not features.only.pooled.grad[~present].any()


@pytest.mark.parametrize("loss", ["l1", "l2", "smooth_l1"])
@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
@pytest.mark.parametrize("present", [None, PRESENT])
def test_regression_is_torchs_mean(loss, shape, present):
    info = TargetInfo(kind="continuous", shape=shape)
    task = Regression(SHAPES, target="where", info=info, loss=loss, beta=0.3)
    wanted = torch.randn(8, *shape)
    garbage = wanted.clone()
    if present is not None:
        garbage[~present] = torch.nan
    features, batch = rows("where", garbage, present)
    found = task.loss(features, batch, StepContext()).loss / task.count(batch)
    function = {"l1": F.l1_loss, "l2": F.mse_loss, "smooth_l1": lambda a, b: F.smooth_l1_loss(a, b, beta=0.3)}[loss]
    output = task.head(features.only.pooled[labelled(present)]).reshape(-1, *shape)
    torch.testing.assert_close(found, function(output, wanted[labelled(present)]))
    found.backward()
    assert features.only.pooled.grad.isfinite().all()
    assert present is None or not features.only.pooled.grad[~present].any()


def tasks():
    return [
        (Multilabel(SHAPES, target="t", names=NAMES, pos_weights=(1.0, 2.0, 3.0)), labels()),
        (Regression(SHAPES, target="t", info=TargetInfo(kind="continuous")), torch.randn(8)),
    ]


@pytest.mark.parametrize("which", [0, 1])
def test_no_label_is_no_loss_but_a_graph(which):
    task, wanted = tasks()[which]
    features, batch = rows("t", wanted * torch.nan, torch.zeros(8, dtype=torch.bool))
    loss = task.loss(features, batch, StepContext()).loss
    assert loss == 0
    assert int(task.count(batch)) == 0
    loss.backward()
    assert torch.equal(task.head.weight.grad, torch.zeros_like(task.head.weight))


@pytest.mark.parametrize("which", [0, 1])
def test_precision(which):
    task, wanted = tasks()[which]
    features, batch = rows("t", wanted)
    exact = task.loss(features, batch, StepContext()).loss
    with torch.autocast("cpu", torch.bfloat16):
        rough = task.loss(features, batch, StepContext()).loss
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=2e-2, atol=1e-2)
    features, batch = rows("t", wanted, dtype=torch.float64)
    assert task.double().loss(features, batch, StepContext()).loss.dtype == torch.float64


@pytest.mark.parametrize("which", [0, 1])
def test_head_state_and_description(which):
    task, wanted = tasks()[which]
    assert set(task.state_dict()) == {"head.weight", "head.bias"}
    assert task.linear() is task.head
    assert task.describe()["target"] == "t"
    features, batch = rows("t", wanted)
    assert isinstance(task.count(batch), int)
    assert all(len(value) == 8 for value in task.predict(features).values())


def test_multilabel_scores_by_hand():
    task = Multilabel(SHAPES, target="t", names=NAMES, threshold=0.6).eval()
    torch.nn.init.eye_(task.head.weight)
    torch.nn.init.zeros_(task.head.bias)
    probabilities = torch.tensor([[0.9, 0.2, 0.1], [0.7, 0.8, 0.1], [0.4, 0.7, 0.9], [0.5, 0.5, 0.5]])
    wanted = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 1]])
    present = torch.tensor([True, True, True, False])
    pooled = torch.cat([probabilities.logit(), torch.zeros(4, 3)], 1)
    batch = Batch(inputs={}, targets={"t": wanted}, present={"targets/t": present}, ids=torch.arange(4))
    metrics = task.metrics()
    assert next(iter(metrics)) == "average_precision"
    for part in (slice(0, 2), slice(2, 4)):
        task.update(metrics, Features({"image": Feature(pooled=pooled[part])}), batch.take(part))
    scores = metrics.compute()
    # hat: right at ranks 1 and 3 of 3: (1 + 2/3) / 2; scarf: right at rank 1; nobody wears glasses
    assert scores["average_precision"].item() == pytest.approx((5 / 6 + 1) / 2)
    # at 0.6, hat: 1 right, 1 wrong, 1 missed; scarf: 1 right, 1 wrong; glasses: 1 wrong
    assert scores["macro_f1"].item() == pytest.approx((0.5 + 2 / 3 + 0) / 3)
    assert scores["micro_f1"].item() == pytest.approx(4 / (4 + 3 + 1))


def test_average_precision_without_any_positive_row_is_unknown():
    score = MeanAveragePrecision(2)
    score.update(torch.rand(3, 2), torch.zeros(3, 2))
    assert score.compute().isnan()


def test_regression_scores_by_hand():
    task = Regression(SHAPES, target="t", info=TargetInfo(kind="continuous"), initial=2.0, concordance=True).eval()
    torch.nn.init.zeros_(task.head.weight)
    task.head.weight.data[0, 0] = 1
    pooled = torch.zeros(4, 6)
    pooled[:, 0] = torch.tensor([1.0, 2.0, 3.0, 9.0])
    batch = Batch(
        inputs={},
        targets={"t": torch.tensor([3.0, 5.0, 4.0, torch.nan])},
        present={"targets/t": torch.tensor([True, True, True, False])},
        ids=torch.arange(4),
    )
    metrics = task.metrics()
    assert list(metrics) == ["mae", "rmse", "ccc"]
    features = Features({"image": Feature(pooled=pooled)})
    for part in (slice(0, 2), slice(2, 3), slice(3, 4)):
        task.update(metrics, features.take(part), batch.take(part))
    found, wanted = torch.tensor([3.0, 4.0, 5.0]), torch.tensor([3.0, 5.0, 4.0])
    scores = metrics.compute()
    assert scores["mae"].item() == pytest.approx(2 / 3)
    assert scores["rmse"].item() == pytest.approx((2 / 3) ** 0.5)
    covariance = ((found - 4) * (wanted - 4)).mean()
    expected = 2 * covariance / (found.var(correction=0) + wanted.var(correction=0) + 0)
    assert scores["ccc"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert metrics["mae"].higher_is_better is False


def test_what_a_user_gets():
    pooled = torch.zeros(1, 6)
    pooled[0, :2] = torch.tensor([0.8, 0.4]).logit()
    features = Features({"image": Feature(pooled=pooled)})

    def ask(task, info):
        torch.nn.init.eye_(task.head.weight)
        torch.nn.init.zeros_(task.head.bias)
        outputs = {f"t.{name}": value for name, value in task.predict(features).items()}
        return answers({"t": task_facts(task, {"t": info})}, outputs)[0]["t"]

    info = TargetInfo(kind="multilabel", names=NAMES, shape=(3,))
    found = ask(Multilabel(SHAPES, target="t", names=NAMES, threshold=0.3), info)
    assert found["classes"] == ["hat", "scarf", "glasses"]
    assert ask(Multilabel(SHAPES, target="t", names=NAMES, threshold=0.6), info)["classes"] == ["hat"]
    info = TargetInfo(kind="continuous", unit="year")
    assert ask(Regression(SHAPES, target="t", info=info), info) == {
        "value": pytest.approx(1.386, rel=1e-3),
        "unit": "year",
    }
    info = TargetInfo(kind="continuous", shape=(2,), names=("valence", "arousal"))
    assert list(ask(Regression(SHAPES, target="t", info=info), info)["value"]) == ["valence", "arousal"]


def test_regression_of_several_components():
    info = TargetInfo(kind="continuous", shape=(2,), names=("valence", "arousal"))
    task = Regression(SHAPES, target="t", info=info, concordance=True)
    features, batch = rows("t", torch.randn(8, 2))
    metrics = task.metrics()
    task.update(metrics, features, batch)
    scores = metrics.compute()
    assert scores["mae"].ndim == 0
    assert scores["ccc"].shape == (2,)
    assert task.describe()["components"] == ["valence", "arousal"]


def test_a_constant_prediction_has_no_concordance():
    task = Regression(SHAPES, target="t", info=TargetInfo(kind="continuous"), initial=2.0, concordance=True).eval()
    torch.nn.init.zeros_(task.head.weight)
    features, batch = rows("t", torch.randn(8))
    metrics = task.metrics()
    task.update(metrics, features.take(slice(0, 1)), batch.take(slice(0, 1)))
    assert float(metrics.compute()["ccc"]) == 0
    task.update(metrics, features.take(slice(1, 8)), batch.take(slice(1, 8)))
    assert float(metrics.compute()["ccc"]) == pytest.approx(0, abs=1e-6)


def test_build():
    targets = {
        "wears": TargetInfo(kind="multilabel", names=NAMES, shape=(3,)),
        "tags": TargetInfo(kind="multilabel", shape=(2,)),
        "age": TargetInfo(kind="continuous", unit="year"),
        "kind": TargetInfo(kind="class", names=("a", "b")),
    }
    context = BuildContext(inputs={}, features=SHAPES, targets=targets)
    task = Multilabel.build(MultilabelParams(target="wears", pos_weights={"scarf": 4.0}, threshold=0.3), context)
    assert task._pos_weights.tolist() == [1, 4, 1]
    assert task.describe() == {"target": "wears", "classes": list(NAMES), "threshold": 0.3}
    assert Multilabel.build(MultilabelParams(target="tags"), context).names == ("0", "1")
    age = Regression.build(RegressionParams(initial=30.0), context)
    assert age.head.bias.tolist() == [30.0]
    assert age.describe()["unit"] == "year"
    with pytest.raises(SpecError, match="/target: the data has several: wears, tags"):
        Multilabel.build(MultilabelParams(), context)
    with pytest.raises(SpecError, match=r'/pos_weights/scarfs: .*did you mean "scarf"'):
        Multilabel.build(MultilabelParams(target="wears", pos_weights={"scarfs": 1.0}), context)
    with pytest.raises(SpecError, match='/target: "kind" is no continuous target; allowed: age'):
        Regression.build(RegressionParams(target="kind"), context)


@pytest.mark.parametrize(("name", "params"), [("multilabel", MultilabelParams), ("regression", RegressionParams)])
def test_check(name, params):
    provider = next(p for p in auxlearn_primary_tasks() if p.name == name)
    context = CheckContext(data=DataFacts(targets={"age": ()}))
    assert list(provider.check(params(), context)) == []
    assert list(provider.check(params(target="age"), context)) == []
    assert list(provider.check(params(target="ages"), CheckContext())) == []
    (problem,) = provider.check(params(target="ages"), context)
    assert (problem.where, problem.meant) == ("/target", "age")


def test_module_loads_no_torch():
    code = (
        "import sys, auxlearn_supervised as a\n"
        "from auxlearn.registry import CheckContext, DataFacts\n"
        "context = CheckContext(data=DataFacts(targets={'k': ('a', 'b')}))\n"
        "[list(p.check(p.params(), context)) for p in a.auxlearn_primary_tasks()]\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_readme_names_every_setting():
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    for name in auxlearn_supervised.__all__:
        for field in attrs.fields(getattr(auxlearn_supervised, name)):
            assert f"`{field.name}`" in readme, (name, field.name)


@pytest.mark.parametrize("which", [0, 1])
def test_a_hidden_layer_makes_the_head_non_linear(which):
    info = TargetInfo(kind="continuous")
    task = [
        Multilabel(SHAPES, target="t", names=NAMES, hidden=7),
        Regression(SHAPES, target="t", info=info, initial=3.0, hidden=7),
    ][which]
    assert task.linear() is None
    assert set(task.state_dict()) == {"head.0.weight", "head.0.bias", "head.2.weight", "head.2.bias"}
    features, batch = rows("t", labels() if which == 0 else torch.randn(8))
    hidden = (features.only.pooled @ task.head[0].weight.T + task.head[0].bias).clamp_min(0)
    output = hidden @ task.head[2].weight.T + task.head[2].bias
    (found,) = task.predict(features).values()
    torch.testing.assert_close(found, output.sigmoid() if which == 0 else output[:, 0])
    task.loss(features, batch, StepContext()).loss.backward()
    assert task.head[0].weight.grad.any()
    assert which == 0 or task.head[2].bias.item() == 3
