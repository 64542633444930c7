"""head_pose: what it learns, counts, scores and moves."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from auxlearn.data import Batch, TargetInfo
from auxlearn.errors import SpecError
from auxlearn.learning import BuildContext, Feature, Features, FeatureShape, Motion, StepContext
from auxlearn.registry import CheckContext, DataFacts
from auxlearn.results.answers import answers, task_facts
from auxlearn_faces import HeadPoseParams, auxlearn_primary_tasks
from auxlearn_faces.choosing import Chosen
from auxlearn_faces.head_pose import HeadPose

SHAPES = {"image": FeatureShape(pooled=6)}
POSE = TargetInfo(kind="continuous", names=("yaw", "pitch", "roll"), shape=(3,), unit="degree")
ANGLE = TargetInfo(kind="continuous", unit="degree")
KINDS = [("6d", "geodesic"), ("euler", "geodesic"), ("euler", "l1"), ("euler", "l2"), ("euler", "smooth_l1")]
PRESENT = torch.tensor([True, False, True, True, False])


def context(**targets):
    return BuildContext(inputs={}, features=SHAPES, targets=targets)


def build(representation="6d", loss=None, **targets):
    params = HeadPoseParams(representation=representation, loss=loss)
    return HeadPose.build(params, context(**(targets or {"pose": POSE})))


def rows(angles, present=None, seed=0):
    pooled = torch.randn(len(angles), 6, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    given = {} if present is None else {"targets/pose": present}
    batch = Batch(inputs={}, targets={"pose": angles}, present=given, ids=torch.arange(len(angles)))
    return Features({"image": Feature(pooled=pooled)}), batch


def heads(count=5):
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(3)) * torch.tensor([40.0, 20, 15])


def scipys(angles):
    return Rotation.from_euler("ZYX", angles[:, [2, 0, 1]].double().numpy(), degrees=True)


@pytest.mark.parametrize(("representation", "loss"), KINDS)
@pytest.mark.parametrize("present", [None, PRESENT])
def test_loss_against_formulas(representation, loss, present):
    task, wanted = build(representation, loss), heads()
    features, batch = rows(wanted if present is None else wanted.masked_fill(~PRESENT[:, None], math.nan), present)
    found = {name: tensor.detach() for name, tensor in task.predict(features).items()}
    if loss == "geodesic":
        each = torch.tensor((Rotation.from_matrix(found["rotation"].double()).inv() * scipys(wanted)).magnitude())
    else:
        away = torch.stack([found[name] for name in ("yaw", "pitch", "roll")], 1) - wanted
        away = ((away + 180) % 360 - 180).deg2rad()
        beta = math.radians(5)
        smooth = torch.where(away.abs() < beta, away**2 / (2 * beta), away.abs() - beta / 2)
        each = {"l1": away.abs(), "l2": away**2, "smooth_l1": smooth}[loss].mean(1)
    counted = slice(None) if present is None else present
    result = task.loss(features, batch, StepContext())
    assert int(task.count(batch)) == len(each[counted])
    torch.testing.assert_close(result.loss.detach().double(), each[counted].double().sum(), rtol=1e-4, atol=1e-5)
    result.loss.backward()
    gradient = features.only.pooled.grad
    assert gradient.isfinite().all()
    assert present is None or not gradient[~present].any()
    assert gradient[counted].any()


def test_a_constant_head_learns_the_pose():
    """What the loss is for: from straight ahead to a head that looks far aside."""
    task = build()
    wanted = torch.tensor([[80.0, -30.0, 20.0]])
    features = Features({"image": Feature(pooled=torch.zeros(1, 6))})
    assert all(float(task.predict(features)[name].detach().abs()) < 1e-4 for name in ("yaw", "pitch", "roll"))
    _, batch = rows(wanted)
    optimizer = torch.optim.SGD(task.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        task.loss(features, batch, StepContext()).loss.backward()
        optimizer.step()
    found = torch.cat([task.predict(features)[name] for name in ("yaw", "pitch", "roll")])
    torch.testing.assert_close(found.detach(), wanted[0], atol=3.0, rtol=0)


@pytest.mark.parametrize(("representation", "loss"), KINDS)
def test_precision(representation, loss):
    """The head runs in float32 under autocast: a loss of a tenth of a degree is not lost to rounding."""
    task = build(representation, loss)
    features, _ = rows(heads())
    now = task.predict(features)
    near = torch.stack([now[name].detach() for name in ("yaw", "pitch", "roll")], 1) + 0.1
    _, batch = rows(near)
    exact = task.loss(features, batch, StepContext()).loss
    with torch.autocast("cpu", torch.bfloat16):
        rough = task.loss(features, batch, StepContext()).loss
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=1e-3, atol=0)
    rough.backward()
    assert features.only.pooled.grad.any()
    pooled = features.only.pooled.detach().double()
    double = task.double().loss(Features({"image": Feature(pooled=pooled)}), batch, StepContext()).loss
    assert double.dtype == torch.float64


def test_no_label_is_no_loss_but_a_graph():
    task = build()
    features, batch = rows(heads() * math.nan, torch.zeros(5, dtype=torch.bool))
    loss = task.loss(features, batch, StepContext()).loss
    assert loss == 0
    assert int(task.count(batch)) == 0
    loss.backward()
    assert torch.equal(task.head.weight.grad, torch.zeros_like(task.head.weight))
    metrics = task.metrics()
    task.update(metrics, features, batch)
    assert math.isnan(metrics["mae"].compute())


@pytest.mark.parametrize("representation", ["6d", "euler"])
def test_a_hidden_layer(representation):
    task = HeadPose.build(HeadPoseParams(representation=representation, hidden=7), context(pose=POSE))
    assert task.linear() is None
    features, batch = rows(heads())
    task.loss(features, batch, StepContext()).loss.backward()
    assert task.head[0].weight.grad.any()


def saying(angles):
    """Return features and an Euler head that says `angles`."""
    task = build("euler")
    torch.nn.init.zeros_(task.head.weight)
    torch.nn.init.eye_(task.head.weight[:, :3])
    return task, Features({"image": Feature(pooled=torch.cat([angles.deg2rad(), torch.zeros_like(angles)], 1))})


def test_scores_by_hand():
    found = torch.tensor([[10.0, 0, 0], [170, 0, 0], [0, 0, -175], [50, 50, 50]])
    wanted = torch.tensor([[13.0, -6, 0], [-10, 0, 0], [0, 0, 175], [0, 0, 0]])
    task, features = saying(found)
    present = torch.tensor([True, True, True, False])
    batch = Batch(inputs={}, targets={"pose": wanted}, present={"targets/pose": present}, ids=torch.arange(4))
    metrics = task.metrics()
    assert list(metrics) == ["mae", "mae_pitch", "mae_roll", "mae_yaw", "geodesic_error"]
    assert metrics["mae"].higher_is_better is False
    for part in (slice(0, 1), slice(1, 4)):
        task.update(metrics, features.take(part), batch.take(part))
    scores = {name: float(value) for name, value in metrics.compute().items()}
    # The second head is seen the wrong way round: its error is 180, where a rule with ±180 would say 0.
    assert scores["mae_yaw"] == pytest.approx((3 + 180 + 0) / 3, abs=1e-3)
    assert scores["mae_pitch"] == pytest.approx((6 + 0 + 0) / 3, abs=1e-3)
    assert scores["mae_roll"] == pytest.approx((0 + 0 + 10) / 3, abs=1e-3)
    assert scores["mae"] == pytest.approx((9 + 180 + 10) / 9, abs=1e-3)
    geodesic = (scipys(found[:3]).inv() * scipys(wanted[:3])).magnitude()
    assert scores["geodesic_error"] == pytest.approx(math.degrees(geodesic.mean()), abs=1e-3)


def test_a_prediction_that_is_no_number_is_no_score():
    task, features = saying(torch.tensor([[1.0, 2, 3], [math.nan, 0, 0]]))
    batch = Batch(inputs={}, targets={"pose": torch.zeros(2, 3)}, ids=torch.arange(2))
    metrics = task.metrics()
    task.update(metrics, features, batch)
    assert math.isnan(metrics.compute()["mae"])


def test_a_perfect_rotation_has_no_error_beyond_ninety_degrees():
    wanted = torch.tensor([[99.0, 10, -5]])
    task = build()
    torch.nn.init.zeros_(task.head.weight)
    columns = torch.tensor(scipys(wanted).as_matrix()[0, :, :2].T.reshape(-1), dtype=torch.float32)
    task.head.bias.data.copy_(columns)
    features, batch = rows(wanted)
    metrics = task.metrics()
    task.update(metrics, features, batch)
    assert all(float(value) < 1e-2 for value in metrics.compute().values())


def test_monitored_by_the_mean_error_downwards():
    from auxlearn.evaluation.selection import default_monitor

    monitor = default_monitor({"pose": build()})
    assert (monitor.metric, monitor.mode) == ("pose/mae", "min")


def test_targets_move_with_the_picture():
    flip = Motion(torch.tensor([[[-1.0, 0, 7], [0, 1, 0]]]).expand(2, 2, 3))
    pose = torch.tensor([[30.0, 10, -5], [0, 0, 20]])
    whole = TargetInfo(kind="continuous", names=("pitch", "yaw", "roll"), shape=(3,))
    for task, targets in (
        (build(), {"pose": pose, "age": torch.zeros(2)}),
        (build(pose=whole), {"pose": pose[:, [1, 0, 2]]}),
        (build(yaw=ANGLE, pitch=ANGLE, roll=ANGLE), dict(zip(("yaw", "pitch", "roll"), pose.T, strict=True))),
    ):
        assert task.needs_geometry
        moved = task.move_targets(targets, flip)
        assert set(moved) == set(targets)
        once = torch.stack([moved[n] for n in task.targets], 1) if len(task.targets) == 3 else moved["pose"]
        if task.chosen.places == (1, 0, 2):
            once = once[:, [1, 0, 2]]
        torch.testing.assert_close(once, pose * torch.tensor([-1.0, 1, -1]), atol=1e-4, rtol=0)
        assert "age" not in targets or moved["age"] is targets["age"]


def test_three_targets_are_one():
    task = build(yaw=ANGLE, pitch=ANGLE, roll=ANGLE)
    assert task.targets == ("yaw", "pitch", "roll")
    wanted = heads()
    features, whole = rows(wanted)
    present = {"targets/yaw": PRESENT, "targets/roll": PRESENT.flip(0)}
    parts = Batch(
        inputs={}, targets=dict(zip(task.targets, wanted.T, strict=True)), present=present, ids=torch.arange(5)
    )
    assert int(task.count(parts)) == int((PRESENT & PRESENT.flip(0)).sum())
    masked = Batch(
        inputs={}, targets=whole.targets, present={"targets/pose": PRESENT & PRESENT.flip(0)}, ids=torch.arange(5)
    )
    same = HeadPose(SHAPES, chosen=Chosen(("pose",), (0, 1, 2)))
    same.load_state_dict(task.state_dict())
    left = task.loss(features, parts, StepContext()).loss
    torch.testing.assert_close(left, same.loss(features, masked, StepContext()).loss)


def test_answers_have_names_and_the_matrix():
    task, features = saying(torch.tensor([[10.0, -20, 30]]))
    facts = task_facts(task, {"pose": POSE})
    outputs = {f"pose.{name}": tensor.detach() for name, tensor in task.predict(features).items()}
    (answer,) = answers({"pose": facts}, outputs)
    assert answer["pose"]["yaw"] == pytest.approx(10, abs=1e-3)
    assert answer["pose"]["unit"] == "degree"
    assert facts["convention"].startswith("300W-LP")
    wanted = torch.tensor(scipys(torch.tensor([[10.0, -20, 30]])).as_matrix()[0]).float()
    torch.testing.assert_close(torch.tensor(answer["pose"]["rotation"]), wanted)


@pytest.mark.parametrize("representation", ["6d", "euler"])
def test_export(representation):
    task = build(representation).eval()

    class Predict(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.task = task

        def forward(self, pooled):
            return self.task.predict(Features({"image": Feature(pooled=pooled)}))

    pooled = torch.randn(4, 6)
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(Predict(), (pooled,), dynamic_shapes=({0: batch},))
    other = torch.randn(3, 6)
    for name, tensor in program.module()(other).items():
        torch.testing.assert_close(tensor, Predict()(other)[name])


@pytest.mark.parametrize(
    ("settings", "targets", "message"),
    [
        ({}, {}, "/target: no target of the data has yaw, pitch, roll; its continuous targets: none"),
        ({"target": "poze"}, {"pose": POSE}, '/target: the data has no continuous target "poze"; .*mean "pose"'),
        ({"target": ("pose", "roll")}, {"pose": POSE}, "/target: 2 targets; allowed: one target with yaw"),
        ({"target": ("yaw", "pich", "roll")}, {"yaw": ANGLE, "pitch": ANGLE, "roll": ANGLE}, '/target/1: .*"pich"'),
        ({"target": "yaw"}, {"yaw": ANGLE}, r"/target: .* has shape \(\); allowed: \(3,\): yaw, pitch, roll"),
        (
            {"target": "at"},
            {"at": TargetInfo(kind="continuous", names=("x", "y", "z"), shape=(3,))},
            "the components of target .at. are x, y, z",
        ),
        (
            {},
            {"pose": TargetInfo(kind="continuous", names=("yaw", "pitch", "roll"), shape=(3,), unit="radian")},
            'has the unit "radian"; allowed: degree',
        ),
        ({}, {"a": POSE, "b": POSE}, "several targets have yaw, pitch, roll: a, b"),
    ],
)
def test_mistakes(settings, targets, message):
    with pytest.raises(SpecError, match=message):
        HeadPose.build(HeadPoseParams(**settings), context(**targets))


def test_check_without_torch():
    provider = next(p for p in auxlearn_primary_tasks() if p.name == "head_pose")
    assert provider.needs_geometry

    def check(data, **settings):
        return [str(problem) for problem in provider.check(HeadPoseParams(**settings), CheckContext(data=data))]

    facts = DataFacts(targets={"pose": (), "expression": ("a", "b")})
    assert check(facts) == []
    assert check(facts, target="expression")[0].startswith('/target: the data has no continuous target "expression"')
    assert check(None, loss="l1")[0].startswith('/loss: the loss "l1" compares angles')
    assert check(None, loss="l1", representation="euler") == []
