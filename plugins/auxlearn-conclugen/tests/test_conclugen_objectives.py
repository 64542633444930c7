"""The margin softmax: golden values of the authors' code, cases by hand, loops from the equation, and its laws."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from auxlearn.data import Batch
from auxlearn.learning import Draws, Feature, Features, FeatureShape, StepContext
from auxlearn_conclugen import (
    MultimodalClustering,
    MultimodalContrastive,
    MultimodalReconstruction,
    Projection,
    margin_softmax,
)

MARGIN = 1e-3  # of the authors' code
STEP = StepContext()
NAMES = ("video", "audio", "text")


def both_directions(similarity, **options):
    rows = torch.arange(len(similarity))
    return sum(margin_softmax(one, rows, **options).mean() for one in (similarity, similarity.T))


def views_of(task, rows, **present):
    inputs = {name: torch.zeros(rows, 1) for name in task.modalities}
    masks = {f"inputs/{name}": mask for name, mask in present.items()}
    batch = Batch(inputs=inputs, ids=torch.arange(rows), present=masks)
    return task.views(batch, Draws(seed=0, name="task", step=0))


def features_of(representations, sources=None):
    sources = sources or dict.fromkeys(representations)
    return Features({name: Feature(pooled=one, source=sources[name]) for name, one in representations.items()})


def mean_loss(task, features, views, step=STEP):
    result = task.loss((features,), views, step)
    return result.loss / task.count(views)


def contrast(names=NAMES, **options):
    return MultimodalContrastive(nn.Identity(), {name: (name,) for name in names}, **options)


# --- golden values, run against the authors' functions


def test_golden_values_of_the_contrastive_loss():
    assert both_directions(torch.eye(4), margin=MARGIN).item() == pytest.approx(1.4883863, abs=5e-8)
    assert both_directions(torch.zeros(4, 4), margin=MARGIN).item() == pytest.approx(2.7740891, abs=2e-7)
    a = torch.arange(12.0).reshape(3, 4) / 10
    summed = both_directions(a[:, :3], margin=MARGIN) + both_directions(a[:, 1:], margin=MARGIN)
    assert summed.item() == pytest.approx(4.5090542, abs=5e-7)


def test_golden_value_of_the_clustering_loss():
    h = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    found = margin_softmax(h @ torch.eye(2).T, torch.tensor([0, 1, 0]), margin=MARGIN).mean()
    assert found.item() == pytest.approx(0.1892084, abs=5e-8)


def test_the_task_has_the_golden_value_of_orthogonal_projections():
    """Identical unit projections of four rows have the similarities eye(4)."""
    task = contrast(("video", "audio"), temperature=1.0, margin=MARGIN)
    features = features_of({"video": torch.eye(4), "audio": 3 * torch.eye(4)})
    assert mean_loss(task, features, views_of(task, 4)).item() == pytest.approx(1.4883863, abs=5e-7)


# --- by hand


def test_contrast_by_hand():
    """Two rows; the audio of both is that of row 0, so row 1 is right with chance 1/2 only."""
    task = contrast(("video", "audio"), temperature=0.5)
    features = features_of({"video": torch.eye(2), "audio": torch.tensor([[1.0, 0.0], [1.0, 0.0]])})
    result = task.loss((features,), views_of(task, 2), STEP)
    # video to audio: similarities (1, 1) and (0, 0); audio to video: (1, 0) and (1, 0), over 0.5
    expected = [math.log(2), math.log(2), math.log(math.e**2 + 1) - 2, math.log(math.e**2 + 1)]
    assert result.loss.item() == pytest.approx(sum(expected), rel=1e-6)
    assert result.metrics["retrieval_accuracy"].item() == pytest.approx(0.5)


def test_reconstruction_by_hand():
    """Decoders that say 1 everywhere: squared errors 1 and 4 of video, 9 of audio."""
    task = MultimodalReconstruction(
        {"video": FeatureShape(pooled=2, source=2), "audio": FeatureShape(pooled=2, source=1)}, hidden=3
    )
    for name, parameter in task.named_parameters():
        nn.init.constant_(parameter, float(name.endswith("2.bias")))
    features = features_of(
        {"video": torch.rand(1, 2), "audio": torch.rand(1, 2)},
        {"video": torch.tensor([[2.0, -1.0]]), "audio": torch.tensor([[4.0]])},
    )
    result = task.loss((features,), views_of(task, 1), STEP)
    assert (result.loss / task.count(views_of(task, 1))).item() == pytest.approx((1 + 4) / 2 + 9)
    assert {n: m.item() for n, m in result.metrics.items()} == pytest.approx({"mse_video": 2.5, "mse_audio": 9.0})


# --- from the equations, in loops


def softmax_by_loops(similarity, targets, margin, temperature):
    terms = []
    for row, target in zip(similarity, targets, strict=True):
        logits = [(s - margin * (j == target)) / temperature for j, s in enumerate(row)]
        terms.append(-math.log(math.exp(logits[target]) / sum(map(math.exp, logits))))
    return terms


def contrast_by_loops(projected, present, margin, temperature):
    """The sum over pairs of the mean over rows that have both, weighed as observed (row, pair)."""
    total, seen = 0.0, 0
    names = list(projected)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    for a, b in pairs:
        rows = [i for i in range(len(present[a])) if present[a][i] and present[b][i]]
        unit = [[v / np.linalg.norm(v) for v in projected[n][rows]] for n in (a, b)]
        for one, other in (unit, unit[::-1]):
            similarity = [[float(p @ q) for q in other] for p in one]
            total += sum(softmax_by_loops(similarity, range(len(rows)), margin, temperature))
        seen += len(rows)
    return total * len(pairs) / max(seen, 1), seen


@st.composite
def scenes(draw, least=1, modalities=None):
    rows, width = draw(st.integers(least, 6)), draw(st.integers(2, 5))
    names = NAMES[: modalities or draw(st.integers(2, 3))]
    seeded = torch.Generator().manual_seed(draw(st.integers(0, 9999)))
    values = {n: torch.randn(rows, width, dtype=torch.float64, generator=seeded) for n in names}
    present = {n: torch.rand(rows, generator=seeded) < draw(st.sampled_from([0.5, 0.8, 1.1])) for n in names}
    return values, present


@given(scenes(), st.floats(0.05, 2), st.sampled_from([0.0, MARGIN, 0.3]))
@settings(deadline=None, max_examples=25)
def test_contrast_is_that_of_the_equation(scene, temperature, margin):
    values, present = scene
    task = contrast(tuple(values), temperature=temperature, margin=margin)
    views = views_of(task, len(values["video"]), **present)
    expected, seen = contrast_by_loops({n: v.numpy() for n, v in values.items()}, present, margin, temperature)
    assert int(task.count(views)) == seen
    if seen:
        assert mean_loss(task, features_of(values), views).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(scenes(), st.sampled_from(["own", "cross", "both"]), st.booleans())
@settings(deadline=None, max_examples=20)
def test_reconstruction_is_that_of_the_equation(scene, targets, final_relu):
    values, present = scene
    names = list(values)
    shapes = {n: FeatureShape(pooled=v.shape[1], source=3 + i) for i, (n, v) in enumerate(values.items())}
    task = MultimodalReconstruction(shapes, targets=targets, hidden=4, final_relu=final_relu).double()
    rows = len(values["video"])
    sources = {n: torch.randn(rows, shape.source, dtype=torch.float64) for n, shape in shapes.items()}
    total, seen, terms = 0.0, 0, 0
    for a in names:
        for b in names:
            if (a == b and targets == "cross") or (a != b and targets == "own"):
                continue
            terms += 1
            first, last = task.decoders[a if a == b else f"{a}_to_{b}"][:3:2]
            for i in range(rows):
                if present[a][i] and present[b][i]:
                    hidden = np.maximum(0, first.weight.detach().numpy() @ values[a][i].numpy() + first.bias.tolist())
                    told = last.weight.detach().numpy() @ hidden + last.bias.tolist()
                    told = np.maximum(0, told) if final_relu else told
                    total += float(((told - sources[b][i].numpy()) ** 2).mean())
                    seen += 1
    views = views_of(task, rows, **present)
    assert int(task.count(views)) == seen
    result = task.loss((features_of(values, sources),), views, STEP)
    assert result.loss.item() == pytest.approx(total * terms, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("mode", ["individual", "joint"])
@pytest.mark.parametrize("normalize", [True, False])
@given(scene=scenes(least=4))
@settings(deadline=None, max_examples=15)
def test_clustering_is_that_of_the_equation_for_given_centroids(scene, mode, normalize):
    """Centroids are kept from before, so the labels follow from the fused embeddings alone."""
    values, present = scene
    options = {"mode": mode, "normalize": normalize, "temperature": 0.3, "margin": 0.05, "refit_every": 2}
    width = values["video"].shape[1]
    task = MultimodalClustering(nn.Identity(), {n: (n,) for n in values}, width=width, clusters=3, **options).double()
    task.centroids.copy_(F.normalize(torch.randn(3, 3, dtype=torch.float64), dim=1))
    task.fitted.fill_(True)
    task.load_state_dict(task.state_dict())
    views = views_of(task, len(values["video"]), **present)
    unit = (lambda v: v / np.linalg.norm(v)) if normalize else (lambda v: v)
    mu, weight = task.centroids.numpy(), task.head.weight.detach().numpy()
    total, seen = 0.0, 0
    for i in range(len(values["video"])):
        have = [n for n in values if present[n][i]]
        if not have:
            continue
        h = [unit(weight @ unit(values[n][i].numpy())) for n in have]
        fused = unit(np.mean(h, 0))
        label = int(np.argmax([fused @ c / np.linalg.norm(c) for c in mu]))
        for one in h if mode == "individual" else [fused]:
            total += softmax_by_loops([[float(one @ c) for c in mu]], [label], 0.05, 0.3)[0]
            seen += 1
    result = task.loss((features_of(values),), views, StepContext(step=1))
    assert int(task.count(views)) == seen
    factor = len(values) if mode == "individual" else 1
    assert result.loss.item() == pytest.approx(total * factor, rel=1e-9, abs=1e-12)
    assert "centroids" not in result.carry


# --- laws


@given(scenes(), st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_neither_the_order_of_the_rows_nor_of_the_modalities_matters(scene, seed):
    values, present = scene
    order = torch.randperm(len(values["video"]), generator=torch.Generator().manual_seed(seed))
    task, turned = contrast(tuple(values)), contrast(tuple(reversed(values)))
    rows = len(order)
    views = views_of(task, rows, **present)
    shuffled = views_of(task, rows, **{n: p[order] for n, p in present.items()})
    found = task.loss((features_of(values),), views, STEP)
    again = task.loss((features_of({n: v[order] for n, v in values.items()}),), shuffled, STEP)
    swapped = turned.loss((features_of(values),), views_of(turned, rows, **present), STEP)
    torch.testing.assert_close(again.loss, found.loss)
    torch.testing.assert_close(swapped.loss, found.loss)
    torch.testing.assert_close(again.metrics, found.metrics)


@given(scenes(least=2, modalities=2))
@settings(deadline=None, max_examples=20)
def test_rows_that_lack_a_modality_are_as_if_they_were_not_there(scene):
    values, present = scene
    both = present["video"] & present["audio"]
    task = contrast(tuple(values))
    some = {n: v[both] for n, v in values.items()}
    views = views_of(task, len(both), **present)
    filled = {n: v.where(present[n].unsqueeze(1), torch.full_like(v, 1e3)) for n, v in values.items()}
    if both.any():
        wanted = task.loss((features_of(some),), views_of(task, int(both.sum())), STEP)
        found = task.loss((features_of(filled),), views, STEP)
        torch.testing.assert_close(found.loss, wanted.loss)
        torch.testing.assert_close(found.metrics, wanted.metrics)


def test_infonce_is_the_cross_entropy_of_cosines():
    video, audio = torch.randn(5, 4), torch.randn(5, 4)
    logits = F.cosine_similarity(video.unsqueeze(1), audio.unsqueeze(0), dim=2) / 0.1
    rows = torch.arange(5)
    expected = F.cross_entropy(logits, rows) + F.cross_entropy(logits.T, rows)
    task = contrast(("video", "audio"))
    torch.testing.assert_close(
        mean_loss(task, features_of({"video": video, "audio": audio}), views_of(task, 5)), expected
    )


def test_knowing_nothing_costs_two_logarithms_a_pair():
    task = contrast()
    same = features_of(dict.fromkeys(NAMES, torch.ones(7, 3)))
    assert mean_loss(task, same, views_of(task, 7)).item() == pytest.approx(3 * 2 * math.log(7), rel=1e-5)


def test_the_softmax_of_the_code_can_hardly_fall():
    """Why the default has a temperature: perfect and no knowledge, with 4096 rows in one direction."""
    rows = torch.arange(4096)
    least, most = (
        margin_softmax(s, rows, margin=MARGIN).mean().item() for s in (torch.eye(4096), torch.zeros(4096, 4096))
    )
    assert (least, most) == pytest.approx((7.319, 8.319), abs=1e-3)


def test_gradients():
    values = {n: torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for n in ("video", "audio")}
    task = contrast(tuple(values), margin=0.1)
    for mask in ({}, {"audio": torch.tensor([True, False, True])}):
        views = views_of(task, 3, **mask)
        assert torch.autograd.gradcheck(
            lambda v, a, w=views: task.loss((features_of({"video": v, "audio": a}),), w, STEP).loss,
            tuple(values.values()),
        )


def test_dead_rows_of_a_relu_give_finite_gradients():
    task = MultimodalContrastive(Projection(4, out=3, hidden=2, final_relu=True), {n: (n,) for n in NAMES})
    values = {n: torch.zeros(3, 4, requires_grad=True) for n in NAMES}
    nn.init.constant_(task.projection[-2].bias, -1.0)
    task.loss((features_of(values),), views_of(task, 3), STEP).loss.backward()
    assert all(v.grad.isfinite().all() for v in values.values())
