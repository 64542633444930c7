"""Nearest neighbours against a plain implementation of the paper's formula, by hand, by laws, and in whole runs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import auxlearn
from auxlearn.cli.main import main
from auxlearn.data import Batch
from auxlearn.errors import DataError, SpecError
from auxlearn.evaluation import Bank, Neighbours, knn, remember, score
from auxlearn.learning import Feature, Features
from auxlearn.learning.identity import Identity
from auxlearn.learning.preprocess import Preprocess
from auxlearn.spec.models import Knn
from auxlearn.testing import plugin
from auxlearn.testing.fakes import TinyBackbone, tiny_batch


def cloud(rows: int, width: int = 5, *, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, width, generator=generator, dtype=torch.float64), dim=1)


def classes_of(rows: int, classes: int = 4, *, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, classes, (rows,), generator=torch.Generator().manual_seed(100 + seed))


def plain(bank: np.ndarray, labels: np.ndarray, query: np.ndarray, k: int, temperature: float) -> dict[int, float]:
    """The formula of InstDisc, section 3.4, with loops."""
    similar = [float(np.dot(one, query)) for one in bank]
    votes: Counter[int] = Counter()
    for index in sorted(range(len(bank)), key=lambda i: -similar[i])[:k]:
        votes[int(labels[index])] += np.exp(similar[index] / temperature)
    return dict(votes)


def predicted(bank: np.ndarray, labels: np.ndarray, queries: np.ndarray, k: int, temperature: float) -> np.ndarray:
    votes = [plain(bank, labels, query, k, temperature) for query in queries]
    return np.array([max(sorted(one), key=lambda c: one[c]) for one in votes])


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (5, 0.07), (20, 1.0), (37, 0.2), (100, 0.07)])
def test_votes_are_the_formula(k: int, temperature: float) -> None:
    bank, labels, queries = cloud(37), classes_of(37), cloud(23, seed=1)
    found = Neighbours("kind", bank, labels, classes=4, k=k, temperature=temperature).votes(queries)
    for row, query in zip(found, queries.numpy(), strict=True):
        wanted = plain(bank.numpy(), labels.numpy(), query, k, temperature)
        shares = torch.tensor([wanted.get(c, 0.0) for c in range(4)], dtype=torch.float64)
        torch.testing.assert_close(row / row.sum(), shares / shares.sum())


def test_by_hand() -> None:
    """Similarities 0.6, 0.8, 0 of classes 0, 1, 1: with two neighbours the nearer wins; with three it still does."""
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-0.8, 0.6]], dtype=torch.float64)
    query = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    labels = torch.tensor([0, 1, 1])
    two = Neighbours("kind", bank, labels, classes=2, k=2, temperature=0.5).votes(query)[0]
    assert two[1] / two[0] == pytest.approx(np.exp((0.8 - 0.6) / 0.5))
    three = Neighbours("kind", bank, labels, classes=2, k=3, temperature=0.5).votes(query)[0]
    assert three[1] / three[0] == pytest.approx((np.exp(0.8 / 0.5) + np.exp(0.0)) / np.exp(0.6 / 0.5))


def test_those_that_are_equally_near_share_the_last_places() -> None:
    """One neighbour at 1; of three at 0, classes 0, 1, 1, one place is left: a third of a vote each."""
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, 1.0]])
    labels = torch.tensor([2, 0, 1, 1])
    votes = Neighbours("kind", bank, labels, classes=3, k=2, temperature=1.0).votes(torch.tensor([[1.0, 0.0]]))[0]
    far = np.exp(-1.0) / 3
    torch.testing.assert_close(votes, torch.tensor([far, 2 * far, 1.0], dtype=torch.float32))


@given(st.integers(0, 10_000), st.integers(1, 12), st.permutations(range(12)))
def test_the_order_of_the_bank_does_not_matter(seed: int, k: int, order: list[int]) -> None:
    # Small whole numbers, so that many are equally near.
    generator = torch.Generator().manual_seed(seed)
    bank = torch.randint(-1, 2, (12, 3), generator=generator).double()
    queries = torch.randint(-1, 2, (6, 3), generator=generator).double()
    labels = torch.randint(0, 3, (12,), generator=generator)
    settings: dict[str, Any] = {"classes": 3, "k": k, "temperature": 0.5}
    one = Neighbours("kind", bank, labels, **settings).votes(queries)
    other = Neighbours("kind", bank[order], labels[order], **settings).votes(queries)
    torch.testing.assert_close(one, other)


@given(st.integers(0, 10_000), st.integers(1, 8), st.permutations(range(3)))
def test_other_names_of_the_classes_give_other_names_of_the_votes(seed: int, k: int, names: list[int]) -> None:
    bank, labels, queries = cloud(10, seed=seed), classes_of(10, 3, seed=seed), cloud(4, seed=seed + 1)
    settings: dict[str, Any] = {"classes": 3, "k": k, "temperature": 0.1}
    one = Neighbours("kind", bank, labels, **settings).votes(queries)
    other = Neighbours("kind", bank, torch.tensor(names)[labels], **settings).votes(queries)
    assert torch.equal(one, other[:, names])


@given(st.floats(1e-4, 100.0), st.integers(1, 30))
def test_no_temperature_overflows(temperature: float, k: int) -> None:
    near = Neighbours("kind", cloud(20).float(), classes_of(20), classes=4, k=k, temperature=temperature)
    votes = near.votes(cloud(9, seed=3).float())
    assert bool(torch.isfinite(votes).all())
    assert bool((votes.sum(1) > 0).all())


def test_many_queries_go_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    near = Neighbours("kind", cloud(30), classes_of(30), classes=4, k=5, temperature=0.1)
    whole = near.votes(cloud(50, seed=2))
    monkeypatch.setattr(knn, "_CELLS", 100)
    torch.testing.assert_close(near.votes(cloud(50, seed=2)), whole)


def batches(rows: int, *, seed: int = 0, unlabelled: bool = False) -> list[Batch]:
    batch = tiny_batch(rows, seed=seed)
    if unlabelled:
        present = {"targets/kind": torch.arange(rows) % 3 > 0}
        batch = Batch(inputs=batch.inputs, targets=batch.targets, present=present, ids=batch.ids)
    return [batch.take(slice(start, start + 7)) for start in range(0, rows, 7)]


def features(backbone: TinyBackbone, rows: list[Batch]) -> np.ndarray:
    with torch.no_grad():
        found = [backbone.eval()({"image": b.image.float() / 255}).only.pooled for b in rows]
    return F.normalize(torch.cat(found), dim=1).numpy()


@pytest.mark.parametrize("unlabelled", [False, True])
def test_the_score_of_a_backbone_is_that_of_the_formula(unlabelled: bool) -> None:
    torch.manual_seed(0)
    backbone, augmentation = TinyBackbone(), Identity(Preprocess(size=8))
    known, asked = batches(40, unlabelled=unlabelled), batches(30, seed=1, unlabelled=unlabelled)
    banks = {"kind": Bank(keys=Knn(k=7), classes=2, rows=tuple(range(0, 40, 2)))}
    backbone.train()
    near = remember(backbone, augmentation, known, banks)
    found = score(backbone, {}, augmentation, asked, neighbours=near)
    assert backbone.training
    labels, truth = (torch.cat([b.targets["kind"] for b in part]).numpy() for part in (known, asked))
    there, counted = (torch.cat([b.has("kind") for b in part]).numpy() for part in (known, asked))
    there = there & (np.arange(40) % 2 == 0)
    wanted = predicted(features(backbone, known)[there], labels[there], features(backbone, asked)[counted], 7, 0.07)
    right = wanted == truth[counted]
    recalls = [right[truth[counted] == c].mean() for c in np.unique(truth[counted])]
    assert found == {
        "knn/kind/accuracy": pytest.approx(right.mean()),
        "knn/kind/balanced_accuracy": pytest.approx(np.mean(recalls)),
    }


def test_a_row_is_no_neighbour_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    backbone, augmentation, known = TinyBackbone(), Identity(Preprocess(size=8)), batches(40, unlabelled=True)
    banks = {"kind": Bank(keys=Knn(k=5), classes=2, rows=tuple(range(0, 40, 2)))}
    labels = torch.cat([b.targets["kind"] for b in known]).numpy()
    there = torch.cat([b.has("kind") for b in known]).numpy()
    found, bank = features(backbone, known), there & (np.arange(40) % 2 == 0)
    right = []
    for row in np.flatnonzero(there):
        others = bank & (np.arange(40) != row)
        right.append(predicted(found[others], labels[others], found[[row]], 5, 0.07)[0] == labels[row])
    near = remember(backbone, augmentation, known, banks, among=True)
    assert score(backbone, {}, augmentation, known, neighbours=near)["knn/kind/accuracy"] == pytest.approx(
        np.mean(right)
    )
    monkeypatch.setattr(knn, "_CELLS", 60)
    again = score(backbone, {}, augmentation, known, neighbours=near)
    assert again["knn/kind/accuracy"] == pytest.approx(np.mean(right))
    one = {"kind": Bank(keys=Knn(k=1), classes=2, rows=(int(np.flatnonzero(bank)[0]),))}
    with pytest.raises(DataError, match="no other training row has a label"):
        remember(backbone, augmentation, known, one, among=True)


def test_the_training_rows_are_scored_without_themselves_and_as_the_spec_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"evaluate": {"knn": {"kind": {"k": 1, "rows": 30}}}, "train": {"steps": 1, "batch_size": 12}}
    result = auxlearn.run(spec(**settings), out=tmp_path / "r", plugins=[plugin])
    seen = []
    votes = Neighbours.votes
    monkeypatch.setattr(
        Neighbours,
        "votes",
        lambda self, queries, ids: seen.append((self.k, len(self.ids))) or votes(self, queries, ids),
    )
    from auxlearn.registry import discover

    monkeypatch.setattr("auxlearn.cli.main._registry", lambda block: lambda: discover([plugin]))
    assert main(["eval", str(result.path), "--split", "train", "--knn", "kind", "--json"]) == 0
    assert set(seen) == {(1, 30)}
    assert 0 < json.loads(capsys.readouterr().out)["scores"]["knn/kind/accuracy"] <= 1


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_runs_of_true_precisions_are_scored_and_drawn(precision: str, tmp_path: Path) -> None:
    train = {"steps": 2, "batch_size": 12, "precision": precision}
    given = spec(primary={"kind": {"type": "tiny"}}, train=train, backbone={"type": "tiny", "norm": False})
    result = auxlearn.run(given, out=tmp_path / "r", plugins=[plugin])
    assert set(result.test) >= {"kind/loss", "knn/kind/accuracy"}
    loaded = auxlearn.load_run(tmp_path / "r", plugins=[plugin])
    assert loaded.score("test")["kind/loss"] == pytest.approx(result.test["kind/loss"], rel=0.02)


def test_several_modalities_stand_side_by_side() -> None:
    parts = {"image": Feature(pooled=torch.tensor([[3.0]])), "sound": Feature(pooled=torch.tensor([[4.0]]))}
    assert knn._normalised(Features(parts)).tolist() == [pytest.approx([0.6, 0.8])]


def test_a_bank_without_labels_is_an_error() -> None:
    with pytest.raises(DataError, match="no training row has a label"):
        Neighbours("kind", torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), classes=2, k=1, temperature=1.0)


def spec(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "auxlearn": 1,
        "name": "tiny",
        "data": {"type": "tiny"},
        "backbone": {"type": "tiny"},
        "pretext": {"flip": {"type": "tiny", "view": "own"}},
        "train": {"epochs": 2, "batch_size": 12},
        "evaluate": {"knn": {"kind": {"k": 5, "rows": 30}}},
    }
    return base | changes


def test_a_run_without_any_primary_task_is_scored_and_selected_by_neighbours(tmp_path: Path) -> None:
    result = auxlearn.run(spec(), out=tmp_path / "r", plugins=[plugin])
    lines = [line for line in result.history if line["kind"] == "val"]
    assert [set(line) for line in lines] == [
        {"kind", "step", "epoch", "knn/kind/accuracy", "knn/kind/balanced_accuracy"}
    ] * 2
    assert result.best["metric"] == "knn/kind/accuracy"
    assert result.best["value"] == max(line["knn/kind/accuracy"] for line in lines)
    assert set(result.test) == {"knn/kind/accuracy", "knn/kind/balanced_accuracy"}
    assert result.test["knn/kind/accuracy"] > 0.8
    loaded = auxlearn.load_run(tmp_path / "r", plugins=[plugin])
    assert loaded.score("test") == result.test


def test_neighbours_change_nothing_in_training(tmp_path: Path) -> None:
    one = auxlearn.run(spec(), out=tmp_path / "a", plugins=[plugin])
    other = auxlearn.run(spec(evaluate={}), out=tmp_path / "b", plugins=[plugin])
    losses = [[line for line in r.history if line["kind"] == "train"] for r in (one, other)]
    assert losses[0] == losses[1]


def test_it_can_be_monitored_beside_a_primary_task_and_asked_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate = {"knn": {"kind": {}}, "monitor": {"metric": "knn/kind/balanced_accuracy"}}
    primary = {"kind": {"type": "tiny"}}
    result = auxlearn.run(spec(primary=primary, evaluate=evaluate), out=tmp_path / "a", plugins=[plugin])
    assert result.best["metric"] == "knn/kind/balanced_accuracy"
    auxlearn.run(spec(primary=primary, evaluate={}), out=tmp_path / "b", plugins=[plugin])
    from auxlearn.registry import discover

    monkeypatch.setattr("auxlearn.cli.main._registry", lambda block: lambda: discover([plugin]))
    assert main(["eval", str(tmp_path / "b"), "--which", str(result.best["step"]), "--knn", "kind", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert {name: value for name, value in scores.items() if name.startswith("knn/")} == {
        name: value for name, value in result.test.items() if name.startswith("knn/")
    }
    assert main(["eval", str(tmp_path / "b"), "--knn", "kind"]) == 0
    assert "knn/kind" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("evaluate", "where"),
    [
        ({"knn": {"kidn": {}}}, "/evaluate/knn/kidn"),
        ({"knn": {"kind": {"k": 0}}}, "/evaluate/knn/kind/k"),
        ({"knn": {"kind": {}}, "monitor": {"metric": "knn/kidn/accuracy"}}, "/evaluate/monitor/metric"),
        ({"knn": {"kind": {}}, "monitor": {"metric": "knn/kind/acuracy"}}, "/evaluate/monitor/metric"),
        ({"monitor": {"metric": "knn/kind/accuracy"}}, "/evaluate/monitor/metric"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(evaluate: dict[str, Any], where: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        auxlearn.run(spec(evaluate=evaluate), out=tmp_path / "r", plugins=[plugin])
    assert [problem.where for problem in caught.value.problems] == [where]
    assert not (tmp_path / "r").exists()


def test_a_probe_is_monitored_before_neighbours_and_after_a_task_that_learns(tmp_path: Path) -> None:
    probe = {"probe": {"type": "tiny", "probe": True}}
    result = auxlearn.run(spec(primary=probe), out=tmp_path / "a", plugins=[plugin])
    assert result.best["metric"] == "probe/accuracy"
    both = auxlearn.run(spec(primary={**probe, "kind": {"type": "tiny"}}), out=tmp_path / "b", plugins=[plugin])
    assert both.best["metric"] == "kind/accuracy"
