from __future__ import annotations

import math

import pytest
import torch

from auxlearn.data import TargetInfo
from auxlearn.results.answers import answers, task_facts
from auxlearn.testing.fakes import TinyPrimary


def test_several_labels_are_those_above_one_half():
    facts = {"traits": {"kind": "multilabel", "classes": ["hat", "beard", "scarf"]}}
    outputs = {"traits.probabilities": torch.tensor([[0.75, 0.25, 0.5]])}
    [found] = answers(facts, outputs)
    assert found == {
        "traits": {"classes": ["hat", "scarf"], "probabilities": {"hat": 0.75, "beard": 0.25, "scarf": 0.5}}
    }
    facts["traits"]["threshold"] = 0.6
    assert answers(facts, outputs)[0]["traits"]["classes"] == ["hat"]


def test_numbers_have_their_unit_and_the_names_of_their_components():
    facts = {
        "pose": {"kind": "continuous", "components": ["yaw", "pitch"], "unit": "degree"},
        "age": {"kind": "continuous", "unit": "year"},
    }
    outputs = {"pose.value": torch.tensor([[1.5, -2.0], [0.0, 4.0]]), "age.value": torch.tensor([30.0, 41.5])}
    assert answers(facts, outputs)[1] == {
        "pose": {"value": {"yaw": 0.0, "pitch": 4.0}, "unit": "degree"},
        "age": {"value": 41.5, "unit": "year"},
    }


@pytest.mark.parametrize(("kind", "chance"), [("class", 1 / (1 + math.e)), ("multilabel", 0.5)])
def test_logits_become_probabilities(kind, chance):
    [found] = answers({"t": {"kind": kind, "classes": ["a", "b"]}}, {"t.logits": torch.tensor([[0.0, 1.0]])})
    assert found["t"]["probabilities"]["a"] == pytest.approx(chance, abs=1e-6)


def test_classes_without_fitting_names_have_their_numbers():
    [found] = answers({"t": {"kind": "class", "classes": ["a", "b"]}}, {"t.probabilities": torch.eye(3)[1:2]})
    assert found["t"]["class"] == "1"


def test_what_a_task_describes_goes_before_what_is_known_of_its_target():
    class Some(TinyPrimary):
        def describe(self):
            return {"classes": ["x"]}

    targets = {"kind": TargetInfo(kind="class", names=("x", "y"))}
    assert task_facts(Some(), targets) == {"kind": "class", "classes": ["x"]}
    assert task_facts(TinyPrimary(), targets) == {"kind": "class", "classes": ["x", "y"]}
    assert task_facts(TinyPrimary(), {}) == {}
