"""The presets: each is a whole spec but for the data, learns, and says what the paper or its authors' code says."""

import json
import math

import pytest
import torch

import auxlearn
import auxlearn_hmtl
from auxlearn.cli.main import main
from auxlearn.spec import load_spec
from auxlearn_timm.optimizers import build_optimizer

NAMES = [provider.name for provider in auxlearn_hmtl.auxlearn_presets()]
SMALL = ["data.size=null", "augment.size=36", "backbone.type=timm", "backbone.model=test_resnet", "train.batch_size=8"]


def load(name):
    return load_spec({"auxlearn": 1, "preset": name, "data": {"type": "synthfaces"}})


@pytest.mark.parametrize("name", NAMES)
def test_only_the_data_is_missing(name):
    resolved = load(name).resolved
    assert "preset" not in resolved
    assert load_spec(resolved).resolved == resolved


def test_the_papers_puzzling_is_one_pass_on_efficientnet():
    spec = load("hmtl-puzzling")
    assert spec.backbone.params.model == "efficientnet_b0"
    assert (spec.pretext["puzzle"].params.grid, spec.pretext["puzzle"].keys.view) == (3, "shared")
    assert spec.pretext["puzzle"].keys.supervise is True


def test_pose_is_learned_from_whole_faces_only():
    keys = load("hmtl-pose-puzzling").pretext["puzzle"].keys
    assert (keys.view, keys.supervise) == ("own", False)


def test_the_authors_numbers():
    spec = load("hmtl-puzzling-code")
    puzzle = spec.pretext["puzzle"]
    assert (puzzle.params.grid, puzzle.params.dropout, puzzle.params.reduction) == (3, 0.2, "sum")
    assert (puzzle.keys.view, puzzle.keys.weight) == ("shared", 1.0)
    assert (spec.backbone.params.model, spec.backbone.params.pretrained) == ("resnet50", False)
    assert (spec.optimizer.params.name, spec.optimizer.params.eps) == ("radabelief", 1e-14)
    assert (spec.optimizer.keys.lr, spec.optimizer.keys.weight_decay) == (1e-3, 0)
    assert spec.schedule.params.milestones == (15, 40)
    assert (spec.train.epochs, spec.train.batch_size) == (80, 32)
    assert (spec.data.keys.size, spec.augment.keys.size) == (350, 224)
    # Rows of AffectNet's training set by class, and the code's weights for them.
    rows = (74874, 134415, 25459, 14090, 6378, 3803, 24882, 3750)
    weights = (1.8, 1, 5.28, 9.54, 21.08, 35.34, 5.4, 35.85)
    mean = sum(n * w for n, w in zip(rows, weights, strict=True)) / sum(rows)
    assert spec.primary["emotion"].keys.weight == pytest.approx(mean, abs=0.005)


def test_the_numbers_of_the_later_code():
    spec = load("hmtl-puzzling-siamese-code")
    puzzle = spec.pretext["puzzle"]
    assert puzzle.params.sizes == ((113, 127), 112, (64, 110))
    assert (puzzle.keys.weight, puzzle.keys.supervise, puzzle.params.dropout) == (0.3, True, 0.3)
    assert (spec.train.batch_size, spec.train.epochs, spec.schedule.keys.warmup_epochs) == (128, 200, 3)
    assert (spec.balance.params.over, spec.optimizer.params.lookahead) == ("views", True)
    crop = spec.augment.params
    assert (spec.augment.keys.size, crop.eval_crop) == (112, 0.85)
    assert (crop.scale_min**0.5 * 200, crop.scale_max**0.5 * 200) == pytest.approx((150, 199), abs=0.1)


def test_the_numbers_of_the_second_repository():
    spec = load("hmtl-barlow-twins-code")
    assert (spec.backbone.params.model, spec.augment.keys.size) == ("mobilenetv2_100", 112)
    barlow = spec.pretext["barlow"]
    projector = (barlow.params.layers, barlow.params.hidden, barlow.params.out, barlow.params.norm)
    assert (barlow.params.redundancy, *projector) == (5e-3, 1, 1024, 512, True)
    assert (barlow.keys.weight, barlow.keys.supervise, spec.primary["emotion"].keys.weight) == (1, True, 2)
    assert (spec.optimizer.keys.lr, spec.schedule.params.milestones) == (1e-3, (20, 40))
    assert (spec.train.batch_size, spec.train.epochs) == (128, 200)
    crop = spec.augment.params
    assert (crop.scale_min**0.5 * 350, crop.scale_max**0.5 * 350) == pytest.approx((200, 299), abs=0.1)
    assert (crop.flip, crop.jitter, crop.grayscale, crop.blur) == (0, 0, 0, 0)


def test_the_optimizer_is_that_of_the_code():
    """Ten steps against the formulas of adabelief-tf 0.2, whose first five have no denominator yet."""
    spec = load("hmtl-puzzling-code")
    weights = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = build_optimizer(spec.optimizer.params, [{"params": [weights], "lr": 1e-3, "weight_decay": 0.0}])
    found, m, v = weights.detach().clone(), torch.zeros(2), torch.zeros(2)
    most = 2 / (1 - 0.999) - 1
    for step, gradient in enumerate(torch.randn(10, 2, dtype=torch.float64), 1):
        weights.grad = gradient.clone()
        optimizer.step()
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * (gradient - m) ** 2 + 1e-14
        length = most - 2 * step * 0.999**step / (1 - 0.999**step)
        update = m / (1 - 0.9**step)
        if length >= 5:
            factor = (length - 4) / (most - 4) * (length - 2) / (most - 2) * most / length
            update = math.sqrt(factor) * update / (torch.sqrt(v / (1 - 0.999**step)) + 1e-14)
        found = found - 1e-3 * update
        torch.testing.assert_close(weights.detach(), found, rtol=1e-9, atol=0)


def test_the_command_line_shows_what_a_preset_stands_for(capsys):
    assert main(["plugins", "show", "hmtl-puzzling"]) == 0
    text = capsys.readouterr().out
    shown = json.loads(text[text.index("{") :])
    assert main(["plugins", "show", "hmtl-puzzling", "--json"]) == 0
    (provider,) = json.loads(capsys.readouterr().out)["providers"]
    assert provider["spec"] == shown
    assert shown["pretext"]["puzzle"]["type"] == "puzzling"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_trains(name, tmp_path):
    spec = {"auxlearn": 1, "preset": name, "data": {"type": "synthfaces", "fraction": 0.02}}
    small = [*SMALL, "train.epochs=null", "train.steps=2", "schedule.warmup_epochs=0", "train.accelerator=cpu"]
    result = auxlearn.run(spec, small, out=tmp_path / "run")
    assert result.test
    assert {line["kind"] for line in result.history} >= {"train", "test"}
