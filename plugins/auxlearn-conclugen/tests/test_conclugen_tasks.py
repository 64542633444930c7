"""The tasks: clusters, queues and views over steps, gradients, precision, and what they never do."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from auxlearn import Arrangement, Learner, Moment, Trainer
from auxlearn.data import Batch
from auxlearn.learning import Draws, Feature, Features, FeatureShape, Shared, StepContext
from auxlearn_conclugen import (
    FeatureSimCLR,
    GatedEmbedding,
    GatedMultimodal,
    MultimodalClustering,
    MultimodalContrastive,
    MultimodalReconstruction,
    Projection,
    clustering,
    corrupt,
    kmeans,
)
from auxlearn_joint_embedding import contrastive_logits

SHAPES = {
    "video": FeatureShape(pooled=8, source=5, inputs=("video_2d", "video_3d")),
    "audio": FeatureShape(pooled=8, source=4),
}
MODALITIES = {name: shape.inputs or (name,) for name, shape in SHAPES.items()}
WIDTHS = {"video_2d": 3, "video_3d": 2, "audio": 4}
KINDS = ("contrast", "cluster", "reconstruct", "simclr")


def task_of(kind, **options):
    torch.manual_seed(0)
    if kind == "contrast":
        return MultimodalContrastive(Projection(8, out=4, hidden=6), MODALITIES, **options)
    if kind == "cluster":
        options = {"clusters": 3, "queue": 10, **options}
        return MultimodalClustering(Projection(8, out=4, hidden=6), MODALITIES, width=4, **options)
    if kind == "reconstruct":
        return MultimodalReconstruction(SHAPES, hidden=6, **{"targets": "both", **options})
    return FeatureSimCLR(SHAPES, hidden=6, width=4, **options)


def batch_of(rows=8, *, seed=0, copies=None, **present):
    g = torch.Generator().manual_seed(seed)
    shape = (rows,) if copies is None else (rows, copies)
    inputs = {name: torch.randn(*shape, d, generator=g) for name, d in WIDTHS.items()}
    masks = {f"inputs/{name}": mask for name, mask in present.items()}
    return Batch(inputs=inputs, ids=torch.arange(rows), present=masks)


def draws(**changes):
    return Draws(**{"seed": 0, "name": "task", "step": 0, **changes})


def features_of(rows=8, *, seed=0, leaf=False, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    return Features(
        {
            name: Feature(
                pooled=torch.randn(rows, s.pooled, generator=g).to(dtype).requires_grad_(leaf),
                source=torch.randn(rows, s.source, generator=g).to(dtype).requires_grad_(leaf),
            )
            for name, s in SHAPES.items()
        }
    )


def ask(task, rows=8, *, seed=0, step=0, batch=None, **changes):
    """Ask the task about random features."""
    views = task.views(batch or batch_of(rows), draws(step=step))
    features = tuple(features_of(rows, seed=seed + i, **changes) for i in range(len(views)))
    return task.loss(features, views, StepContext(step=step, draws=draws(step=step)))


def centroids_in(carry):
    """Carried in parts, one for each row; there are three."""
    return carry["centroids"].flatten(0, 1)[-3:]


def backbone():
    return GatedMultimodal({name: GatedEmbedding(s.source, 8) for name, s in SHAPES.items()}, SHAPES)


# --- what all tasks have in common


@pytest.mark.parametrize("kind", KINDS)
def test_a_joined_modality_is_there_if_all_its_inputs_are(kind):
    masks = {"video_2d": torch.tensor([True, True, False, True]), "video_3d": torch.tensor([True, False, True, True])}
    for view in task_of(kind).views(batch_of(4, **masks), draws()):
        assert {n: a.tolist() for n, a in view.answers.items()} == {"present/video": [True, False, False, True]}
    assert task_of(kind).views(batch_of(4), draws())[0].answers == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_without_any_pair_has_a_zero_loss_with_a_graph(kind):
    task, nobody = task_of(kind), torch.zeros(8, dtype=torch.bool)
    batch = batch_of(8, audio=nobody, video_2d=nobody)
    views = task.views(batch, draws())
    features = tuple(features_of(leaf=True) for _ in views)
    result = task.loss(features, views, StepContext())
    assert int(task.count(views)) == 0
    assert result.loss.item() == 0
    assert all(metric.isfinite() for metric in result.metrics.values())
    result.loss.backward()
    assert all(part.pooled.grad is None or (part.pooled.grad == 0).all() for one in features for part in one.values())


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_representations_and_the_heads_but_no_target(kind):
    task = task_of(kind)
    views = task.views(batch_of(), draws())
    features = tuple(features_of(leaf=True, seed=i) for i in range(len(views)))
    task.loss(features, views, StepContext()).loss.backward()
    for one in features:
        for part in one.values():
            assert part.pooled.grad.abs().sum() > 0
            assert part.source.grad is None
    assert all(p.grad.abs().sum() > 0 for p in task.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_autocast_loses_only_what_the_heads_lose(kind):
    exact = ask(task_of(kind), 64, batch=batch_of(64)).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = ask(task_of(kind), 64, batch=batch_of(64)).loss
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, rtol=0.1 if kind == "cluster" else 0.03, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_in_half_precision_have_losses_in_single(kind):
    task = task_of(kind).bfloat16()
    result = ask(task, dtype=torch.bfloat16)
    assert result.loss.dtype == torch.float32
    assert result.loss.isfinite()
    task.after_step(result.carry, StepContext())


@pytest.mark.parametrize("kind", KINDS)
def test_float64_stays_float64(kind):
    task = task_of(kind).double()
    result = ask(task, dtype=torch.float64)
    assert result.loss.dtype == torch.float64
    task.after_step(result.carry, StepContext())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("absent", [False, True])
def test_nothing_is_read_back_from_the_device(kind, absent):
    """Fake tensors raise on every read of a value by the host."""
    with FakeTensorMode(), torch.device("cuda"):
        task = task_of(kind)
        masks = {"audio": torch.empty(8, dtype=torch.bool)} if absent else {}
        inputs = {name: torch.empty(8, d) for name, d in WIDTHS.items()}
        batch = Batch(inputs=inputs, ids=torch.arange(8), present={f"inputs/{n}": m for n, m in masks.items()})
        views = task.views(batch, draws(device="cuda"))
        task.count(views)
        features = Features(
            {n: Feature(pooled=torch.empty(8, 8), source=torch.empty(8, s.source)) for n, s in SHAPES.items()}
        )
        for step in range(2):
            result = task.loss((features,) * len(views), views, StepContext(step=step, draws=draws(device="cuda")))
            task.after_step({name: one.detach() for name, one in result.carry.items()}, StepContext())
    assert result.loss.device.type == "cuda"


@pytest.mark.parametrize("kind", KINDS)
def test_can_be_learned(kind):
    """Both modalities are noisy views of the same four numbers, of four kinds."""
    torch.manual_seed(0)
    learner = Learner(
        backbone(),
        pretext={"task": task_of(kind)},
        arrange={"task": Arrangement(view="own" if kind == "simclr" else "clean")},
    )
    trainer = Trainer(learner, torch.optim.AdamW(learner.parameters(), lr=0.01))
    mixing = {name: torch.randn(4, d) for name, d in WIDTHS.items()}
    losses = []
    for _ in range(60):
        hidden = 2 * torch.eye(4)[torch.randint(4, (32,))] + 0.3 * torch.randn(32, 4)
        # Two copies of each row, which SimCLR takes for its views.
        inputs = {n: (hidden @ m).unsqueeze(1) + 0.05 * torch.randn(32, 2, m.shape[1]) for n, m in mixing.items()}
        losses.append(trainer.step(Batch(inputs=inputs, ids=torch.arange(32))).total.item())
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_three_losses_on_the_clean_view_are_one_pass_and_share_a_projection():
    torch.manual_seed(0)
    shared = Shared("projection", Projection(8, out=4, hidden=6), {})
    tasks = {
        "contrast": MultimodalContrastive(shared, MODALITIES),
        "cluster": MultimodalClustering(shared, MODALITIES, width=4, clusters=3),
        "reconstruct": MultimodalReconstruction(SHAPES, hidden=6),
    }
    clean = dict.fromkeys(tasks, Arrangement(view="clean"))
    learner = Learner(backbone(), pretext=tasks, arrange=clean, shared={"projection": shared})
    result = learner.step(batch_of(), Moment(step=0))
    assert result.passes == ("clean",)
    assert sum("projection" in name for name in learner.state_dict()) == len(shared.module.state_dict())
    assert all(name.startswith("shared.projection.") for name in learner.state_dict() if "projection" in name)
    result.total.backward()
    assert all(p.grad is not None for p in learner.parameters())


# --- clustering over steps


def test_the_centroids_are_those_of_kmeans_on_queue_and_batch():
    task = task_of("cluster")
    first = ask(task, step=0)
    assert (task.centroids == 0).all()
    task.after_step(first.carry, StepContext())
    assert torch.equal(task.centroids, centroids_in(first.carry))
    assert torch.equal(task.queue.ordered(), first.carry["rows"][:, :-1])
    second = ask(task, seed=1, step=1)
    rows = torch.cat([first.carry["rows"], second.carry["rows"]])[:, :-1]
    wanted = kmeans(rows, 3, draws(step=1), start=task.centroids)
    torch.testing.assert_close(centroids_in(second.carry), wanted.centroids)
    task.after_step(second.carry, StepContext())
    assert torch.equal(task.queue.ordered(), rows[-10:])


def test_the_fused_embedding_is_the_mean_over_what_a_row_has():
    masks = {"audio": torch.tensor([True, False, True, False]), "video_2d": torch.tensor([True, True, False, False])}
    task = task_of("cluster", normalize=False)
    features = features_of(4)
    views = task.views(batch_of(4, **masks), draws())
    carried = task.loss((features,), views, StepContext()).carry["rows"]
    video, audio = (task.head(task.projection(features[name].pooled)) for name in ("video", "audio"))
    wanted = torch.stack([(video[0] + audio[0]) / 2, video[1], audio[2], torch.zeros(3)])
    torch.testing.assert_close(carried[:, :-1], wanted.detach())
    assert carried[:, -1].tolist() == [1, 1, 1, 0]
    task.after_step({"rows": carried}, StepContext())
    torch.testing.assert_close(task.queue.ordered(), wanted[:3].detach())


@pytest.mark.parametrize("mode", ["individual", "joint"])
def test_rows_that_lack_everything_change_nothing(mode):
    given = torch.tensor([True, True, False, True, True, True, False, True])
    task, other = task_of("cluster", mode=mode), task_of("cluster", mode=mode)
    features = features_of(8)
    views = task.views(batch_of(8, audio=given, video_2d=given), draws())
    some = other.views(batch_of(6), draws())
    found = task.loss((features,), views, StepContext())
    wanted = other.loss((features.take(given),), some, StepContext())
    assert int(task.count(views)) == int(other.count(some))
    # Other seeds are drawn for other rows: the centroids may have another order.
    start = wanted.carry["centroids"]
    for one in (task, other):
        one.after_step({"rows": torch.zeros(0, 4), "centroids": start}, StepContext())
    found, wanted = (
        one.loss((f,), v, StepContext()) for one, f, v in ((task, features, views), (other, features.take(given), some))
    )
    torch.testing.assert_close(found.loss, wanted.loss)
    torch.testing.assert_close(centroids_in(found.carry), centroids_in(wanted.carry))
    torch.testing.assert_close(found.metrics, wanted.metrics)


def test_between_refits_rows_are_only_assigned(monkeypatch):
    calls = []
    monkeypatch.setattr(clustering, "kmeans", lambda *a, **k: calls.append(1) or kmeans(*a, **k))
    task = task_of("cluster", refit_every=3)
    refits = []
    for step in range(4, 11):
        result = ask(task, step=step, seed=step)
        refits.append("centroids" in result.carry)
        task.after_step(result.carry, StepContext())
    # The first, as there are no centroids yet, and those that 3 divides.
    assert refits == [True, False, True, False, False, True, False]
    assert len(calls) == 3


def test_a_step_that_is_left_out_leaves_no_trace():
    task = task_of("cluster", refit_every=5)
    before = {name: one.clone() for name, one in task.state_dict().items()}
    ask(task, step=1)  # and no `after_step`
    assert all(torch.equal(one, before[name]) for name, one in task.state_dict().items())
    assert "centroids" in ask(task, step=2).carry


def test_the_state_knows_whether_there_are_centroids():
    task, other = task_of("cluster", refit_every=5), task_of("cluster", refit_every=5)
    other.load_state_dict(task.state_dict())
    assert "centroids" in ask(other, step=1).carry
    task.after_step(ask(task, step=0).carry, StepContext())
    other.load_state_dict(task.state_dict())
    assert "centroids" not in ask(other, step=1).carry
    torch.testing.assert_close(ask(other, step=1).loss, ask(task, step=1).loss, rtol=0, atol=0)


def test_the_whole_state_is_persistent():
    task = task_of("cluster")
    assert {n for n, _ in task.named_buffers()} <= set(task.state_dict())
    assert {"queue.rows", "queue.pointer", "queue.length", "centroids", "fitted"} <= set(task.state_dict())


def test_centroids_get_no_gradient_and_the_labels_are_the_nearest():
    task = task_of("cluster", temperature=0.01)
    result = ask(task)
    assert not result.carry["centroids"].requires_grad
    rows = result.carry["rows"][:, :-1]
    labels = (F.normalize(rows, dim=1) @ F.normalize(centroids_in(result.carry), dim=1).T).argmax(1)
    assert result.metrics["largest"].item() == pytest.approx(labels.bincount().max().item() / 8)


def test_micro_batches_keep_the_centroids_of_the_last():
    task = task_of("cluster")
    parts = [ask(task, seed=i).carry for i in range(2)]
    task.after_step({name: torch.cat([part[name] for part in parts]) for name in parts[0]}, StepContext())
    assert torch.equal(task.centroids, centroids_in(parts[1]))
    assert torch.equal(task.queue.ordered(), torch.cat([part["rows"] for part in parts])[-10:, :-1])


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8])
def test_any_number_of_rows_carries_the_centroids(rows):
    task = task_of("cluster")
    carry = ask(task, rows, batch=batch_of(rows)).carry
    assert all(len(tensor) == rows for tensor in carry.values())
    task.after_step({name: torch.cat([tensor, tensor]) for name, tensor in carry.items()}, StepContext())
    assert (torch.linalg.vector_norm(task.centroids, dim=1) > 0.99).all()
    assert len({tuple(one) for one in task.centroids.tolist()}) >= min(rows, 3)


def learner_of(tasks, **arrange):
    torch.manual_seed(0)
    how = {name: Arrangement(view="clean", **arrange.get(name, {})) for name in tasks}
    return Learner(backbone(), pretext={name: task_of(name) for name in tasks}, arrange=how)


def test_before_its_start_nothing_is_clustered_and_others_keep_their_scale(monkeypatch):
    calls = []
    monkeypatch.setattr(clustering, "kmeans", lambda *a, **k: calls.append(1) or kmeans(*a, **k))
    both = learner_of(("contrast", "cluster"), cluster={"start_epoch": 2})
    alone = learner_of(("contrast",))
    for epoch in (0.0, 1.5):
        found, wanted = (one.step(batch_of(), Moment(step=3, epoch=epoch)) for one in (both, alone))
        assert [key.task for key in found.losses] == ["contrast"]
        assert torch.equal(found.total, wanted.total)
    assert not calls
    later = both.step(batch_of(), Moment(step=9, epoch=2.0))
    assert len(calls) == 1
    contrast, cluster = later.losses.values()
    assert torch.equal(contrast, next(iter(alone.step(batch_of(), Moment(step=9, epoch=2.0)).losses.values())))
    torch.testing.assert_close(later.total.detach(), contrast + cluster)


# --- SimCLR on features


def test_the_loss_of_simclr_is_that_of_the_paper():
    task = task_of("simclr", temperature=0.5)
    views = task.views(batch_of(), draws())
    features = tuple(features_of(seed=i) for i in range(2))
    wanted = 0.0
    for name in SHAPES:
        logits, targets = contrastive_logits(*(task.heads[name](f[name].pooled) for f in features), temperature=0.5)
        wanted += F.cross_entropy(logits, targets)
    found = task.loss(features, views, StepContext())
    torch.testing.assert_close(found.loss / task.count(views), wanted)
    same = tuple(
        Features({n: Feature(pooled=torch.ones(8, 8), source=p.source) for n, p in f.items()}) for f in features
    )
    chance = task.loss(same, views, StepContext()).loss / task.count(views)
    assert chance.item() == pytest.approx(2 * math.log(15), rel=1e-5)


def test_two_copies_are_the_views():
    first, second = task_of("simclr").views(batch_of(copies=3), draws())
    given = batch_of(copies=3).inputs
    assert all(torch.equal(first.inputs[n], given[n][:, 0]) for n in WIDTHS)
    assert all(torch.equal(second.inputs[n], given[n][:, 1]) for n in WIDTHS)


def test_of_one_copy_the_second_view_is_corrupted():
    batch = batch_of(64)
    for copies in (batch, Batch(inputs={n: x.unsqueeze(1) for n, x in batch.inputs.items()}, ids=batch.ids)):
        first, second = task_of("simclr", corruption=0.5).views(copies, draws())
        assert all(torch.equal(first.inputs[n], batch.inputs[n]) for n in WIDTHS)
        changed = (second.inputs["audio"] != batch.inputs["audio"]).sum(1)
        assert changed.max() == 2  # of four
        assert changed.float().mean() > 1.8  # a component may be taken from the row itself


def test_corruption_takes_components_of_other_rows_in_their_place():
    vectors = torch.arange(20 * 3).reshape(20, 3).float()
    given = torch.arange(20) < 5
    changed = corrupt(vectors, 1.0, draws(), given)
    assert torch.equal(changed % 3, vectors % 3)
    assert (changed < 15).all()
    assert len(changed[:, 0].unique()) > 2
    assert torch.equal(corrupt(vectors, 0.1, draws()), vectors)
    assert torch.equal(corrupt(vectors, 1.0, draws(), given), changed)
    nobody = corrupt(vectors, 1.0, draws(), torch.zeros(20, dtype=torch.bool))
    assert nobody.isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultimodalContrastive(nn.Identity(), {"audio": ("audio",)}), "at least two, found \\['audio'\\]"),
        (lambda: task_of("contrast", temperature=0.0), "above 0, found 0.0"),
        (lambda: task_of("cluster", clusters=1), "at least 2, found 1"),
        (lambda: task_of("simclr", corruption=0.0), "above 0 and at most 1, found 0.0"),
        (lambda: task_of("simclr", temperature=-1.0), "above 0, found -1.0"),
        (lambda: MultimodalReconstruction({"a": FeatureShape(pooled=2)}), "found none for \\['a'\\]"),
        (lambda: MultimodalReconstruction({"a": FeatureShape(pooled=2, source=1)}, targets="cross"), "single modality"),
    ],
)
def test_says_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()
