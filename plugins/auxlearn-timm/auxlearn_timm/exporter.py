"""`TimmExporter`: the state dict of the plain timm model, for everyone who has timm and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import timm.models
import torch
from torch import Tensor, nn

from auxlearn.errors import ExportError, Problem, escape
from auxlearn.results import Exporter, ExportJob, Opened, save_weights
from auxlearn_timm import TimmParams
from auxlearn_timm.backbone import TimmBackbone
from auxlearn_timm.creation import network_options

__all__ = ["TimmExporter"]

_FILE = "model.safetensors"
_MOST_NAMES = 3


class TimmExporter(Exporter):
    """`model.safetensors` for `timm.create_model(..., checkpoint_path=...)`.

    Of a whole model it holds the backbone and the linear head of one primary task, under the name of timm's own
    classifier; of a backbone alone, the model with `num_classes=0`. The arguments of `create_model` stand in
    `preprocess.json` under `load`, and mean and std, which timm's models leave to their user, under `inputs`.
    """

    # The trained network runs on in pieces, the plain one as a whole.
    tolerance = 1e-5
    normalises = False

    def write(self, job: ExportJob, folder: Path) -> Mapping[str, Any]:
        """Write the weights under timm's names.

        Raises:
            ExportError: If the backbone is no timm model, or the task has more than a linear head.
        """
        backbone = _backbone(job)
        weights = dict(backbone.network.state_dict())
        arguments = _arguments(job, backbone)
        if job.part == "model":
            name, head = _head(job)
            arguments["num_classes"] = head.out_features
            weights |= _classifier(arguments, head, weights, name)
        save_weights(weights, folder / _FILE)
        task = _head(job)[0] if job.part == "model" else None
        return {"timm": timm.__version__, "create_model": arguments, "task": task}

    def open(self, folder: Path, description: Mapping[str, Any]) -> Opened:
        """Make the plain model from the file."""
        load = description["load"]
        network = timm.create_model(**load["create_model"], checkpoint_path=str(folder / _FILE)).eval()
        name, image = next(iter(description["inputs"].items()))
        scale, shift = _normalisation(image["mean"], image["std"])
        output = "features" if load["task"] is None else f"{load['task']}.logits"

        def run(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {output: network(torch.addcmul(shift, inputs[name].to(scale.dtype), scale))}

        return Opened(run=run, weights=timm.models.load_state_dict(str(folder / _FILE)))

    @torch.no_grad()
    def expected(self, job: ExportJob, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the logits of the task, or the feature of the backbone."""
        pooled = _backbone(job)(inputs).only.pooled
        if job.part == "backbone":
            return {"features": pooled}
        name, head = _head(job)
        return {f"{name}.logits": head(pooled)}


def _backbone(job: ExportJob) -> TimmBackbone:
    backbone = job.model.backbone
    if not isinstance(backbone, TimmBackbone):
        what = f"the format timm is for timm's models, but the backbone is a {type(backbone).__name__}"
        raise ExportError(Problem(what=what, fix="another format, e.g. state_dict", exit_code=9))
    return backbone


def _head(job: ExportJob) -> tuple[str, nn.Linear]:
    """Return the task that becomes timm's classifier, and its head."""
    tasks = dict(job.model.tasks())
    if not tasks:
        raise ExportError(Problem(what="there is no primary task", fix="--part backbone", exit_code=9))
    linear = [name for name, task in tasks.items() if task.linear() is not None]
    name = job.task or (linear[0] if len(linear) == 1 else None)
    if name is None and linear:
        what = "a timm model has one classifier, but several primary tasks have a linear head"
        raise ExportError(Problem(what=what, allowed=", ".join(linear), fix="--task NAME", exit_code=9))
    head = tasks[name].linear() if name is not None else None
    if name is None or head is None:
        what = f"the head of {name or ', '.join(tasks)} is not one linear layer, as a timm model has"
        raise ExportError(Problem(what=what, fix="--part backbone, or the format state_dict", exit_code=9))
    return name, head


def _arguments(job: ExportJob, backbone: TimmBackbone) -> dict[str, Any]:
    """Return the arguments with which timm makes the plain model, without those that matter in training only."""
    model = str(job.spec["backbone"]["model"])
    options = network_options(TimmParams(model=model), job.inputs[backbone.modality].shape)
    return {"model_name": model, **options}


def _classifier(
    arguments: Mapping[str, Any], head: nn.Linear, weights: Mapping[str, Tensor], task: str
) -> dict[str, Tensor]:
    """Return `head` under the names that the plain model's classifier has.

    Models with several classifiers (distilled ones average two) get it in each, which says the same.
    """
    with torch.device("meta"):
        plain = timm.create_model(**arguments).state_dict()
    missing = [name for name in plain if name not in weights]
    named = {name: head.weight if name.endswith(".weight") else head.bias for name in missing}
    fits = all(
        tensor is not None and name.rpartition(".")[2] in ("weight", "bias") and tensor.numel() == plain[name].numel()
        for name, tensor in named.items()
    )
    if not named or not fits or set(weights) - set(plain):
        what = (
            f"{escape(arguments['model_name'])} has no plain linear classifier that the head of {task} fits: "
            f"{', '.join(missing[:_MOST_NAMES]) or 'it has none'}"
        )
        raise ExportError(Problem(what=what, fix="--part backbone, or the format state_dict", exit_code=9))
    # Some models write their classifier as a 1 x 1 convolution.
    return {name: tensor.detach().reshape(plain[name].shape) for name, tensor in named.items()}


def _normalisation(mean: list[float], std: list[float]) -> tuple[Tensor, Tensor]:
    """Return factor and summand that normalise images, as the backbone computes them."""
    spread = torch.tensor(std, dtype=torch.float64)
    scale, shift = 1 / spread, -torch.tensor(mean, dtype=torch.float64) / spread
    return scale.float().view(1, -1, 1, 1), shift.float().view(1, -1, 1, 1)
