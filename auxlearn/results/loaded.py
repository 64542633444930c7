"""`LoadedRun`: a run of earlier, for use: its model, its predictions, its scores, its exports."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

from auxlearn.data import DataSource, Prepared
from auxlearn.errors import CheckpointError, DataError, Problem
from auxlearn.evaluation import main_scores, remember, score
from auxlearn.learning.identity import Identity
from auxlearn.learning.learner import weights_in_channels_last
from auxlearn.registry import Registry, discover
from auxlearn.results.answers import Answer
from auxlearn.results.export import export
from auxlearn.results.exporter import Part
from auxlearn.results.model import TrainedModel
from auxlearn.results.predictor import Images
from auxlearn.results.rebuilding import build_model, kept_sections, load_weights
from auxlearn.results.rows import require_split
from auxlearn.spec import load_spec
from auxlearn.spec.models import Knn, Spec
from auxlearn.training.build import DataShape
from auxlearn.training.failing import naming_plugins
from auxlearn.training.folder import RunFolder
from auxlearn.training.initial import find_checkpoint
from auxlearn.training.state import averaged_weights, kept_weights

__all__ = ["LoadedRun"]


@attrs.define(eq=False, kw_only=True, slots=False)
class LoadedRun:
    """A run folder, opened at one of its checkpoints. `LoadedRun.open` makes it.

    The data and the plugins of pretext tasks need not be there. Where training kept a moving average of the
    weights, the average is what is loaded, as it is what was scored.

    Attributes:
        path: The run folder.
        spec: The resolved spec, as JSON.
        step: The step of the weights.
        averaged: Whether the weights are the moving average.
        selection: The best scoring as the checkpoint knew it: `step` and `value`.
        data: What was known about the data.
        model: The trained model, on the CPU.
        registry: The plugins that were found.
    """

    path: Path
    spec: Mapping[str, Any]
    step: int
    averaged: bool
    selection: Mapping[str, Any]
    data: DataShape
    model: TrainedModel
    registry: Registry

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        which: str | int = "best",
        plugins: Sequence[ModuleType] = (),
        registry: Registry | None = None,
    ) -> LoadedRun:
        """Open a run.

        Args:
            path: The run folder, or one of its checkpoints.
            which: `"best"`, `"last"`, or the step of a checkpoint.
            plugins: Modules with hooks, besides the installed plugins.
            registry: What exists, instead of what discovery finds.

        Raises:
            CheckpointError: If it is no run, or the checkpoint is missing or damaged.
            PluginError: If the plugin of the backbone, of a primary task or of the augmentation is missing.
        """
        checkpoints, step = find_checkpoint(path, str(which))
        folder = RunFolder(checkpoints.folder.parent)
        snapshot = checkpoints.load(step)
        found = registry or discover(plugins)
        spec, data = folder.read("resolved.json"), _recorded_shape(folder)
        model = build_model(spec, data, found)
        load_weights(model, kept_weights(snapshot.model), str(checkpoints.path(step)))
        return cls(
            path=folder.path,
            spec=spec,
            step=step,
            averaged=bool(averaged_weights(snapshot.model)),
            selection=snapshot.state["extra"]["selection"],
            data=data,
            model=model,
            registry=found,
        )

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """Every line of `metrics.jsonl`."""
        try:
            lines = (self.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            return [json.loads(line) for line in lines]
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            where = str(self.path / "metrics.jsonl")
            raise CheckpointError(Problem(where=where, what=f"cannot be read: {error}")) from None

    def predict(self, images: Images) -> list[dict[str, Answer]]:
        """Return what each task says about each image, as `TrainedModel.predict` does."""
        return self.model.predict(images)

    def export(
        self,
        format: str,  # noqa: A002 (the word of the command line)
        part: Part = "model",
        out: str | Path | None = None,
        *,
        task: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write the model as a file of `format`, check it, and return its folder; see `auxlearn.results.export`."""
        with naming_plugins(self.model.choices):
            return export(self, format, part, out, task=task, options=options)

    def facts(self) -> dict[str, Any]:
        """Return as JSON where the weights come from, and how they scored on `val`."""
        lines = (line for line in reversed(self.history) if line["kind"] == "val" and line["step"] == self.step)
        scored = main_scores(next(lines, {}))
        chosen = RunFolder(self.path).read("status.json", missing={}).get("selected", {})
        return {
            "name": self.spec["name"],
            "seed": self.spec["seed"],
            "step": self.step,
            "weights": "moving average" if self.averaged else "as trained",
            "selected": self.step == self.selection["step"],
            "metric": chosen.get("metric"),
            "val": {name: value for name, value in scored.items() if "/" in name},
        }

    def score(self, split: str = "test", *, knn: Mapping[str, Knn] | None = None) -> dict[str, Any]:
        """Return the metrics of each task on `split`, computed anew as training computes them.

        Args:
            split: The split.
            knn: Class targets to score by nearest neighbours among the training rows, besides those of the spec. On
                `train` a row is no neighbour of its own.

        Raises:
            DataError: If the data is not there, or has no such split.
        """
        from auxlearn.training.session import fabric_of, make_feed

        if not self.spec["primary"] and not knn and not self.spec["evaluate"]["knn"]:
            what = "the run has no primary task that could be scored"
            raise DataError(Problem(where=str(self.path), what=what, fix="score its features by nearest neighbours"))
        spec, data = self._prepared()
        require_split(data.source, split)
        fabric = fabric_of(spec)
        feed = make_feed(spec, data, fabric)
        banks, size = feed.banks({**spec.evaluate.knn, **(knn or {})}), spec.evaluate.batch_size
        model = copy.deepcopy(self.model).to(fabric.device)
        if spec.train.channels_last:
            weights_in_channels_last(model)
        augmentation = Identity(model.preprocess)
        how: dict[str, Any] = {"device": fabric.device, "precision": fabric.autocast}
        near = None
        with naming_plugins(spec.choices):
            if banks:
                bank = feed.remembered(banks, size)
                near = remember(model.backbone, augmentation, bank, banks, among=split == "train", **how)
            rows = feed.evaluation(split, size)
            return score(model.backbone, dict(model.tasks()), augmentation, rows, neighbours=near, **how)

    def data_source(self) -> DataSource:
        """Return the rows that the run was trained and scored on, in its splits.

        Raises:
            DataError: If the data is not there.
        """
        return self._prepared()[1].source

    def _prepared(self) -> tuple[Spec, Prepared]:
        """Return what says how to score, and the data of the run."""
        from auxlearn.training.session import prepare_data

        spec = load_spec(_scorable(self.spec), registry=self.registry)
        spec = attrs.evolve(spec, root=RunFolder(self.path).read("manifest.json")["root"])
        return spec, prepare_data(spec)


def _scorable(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a resolved spec that says what to score, for one process."""
    data = {**spec["data"], "unlabelled": None}
    kept = {**kept_sections(spec), "data": data, "evaluate": spec["evaluate"]}
    # A spec trains something; without its pretext tasks, one whose primary tasks only watch would not.
    kept["primary"] = {name: {**one, "probe": False, "weight": 1.0} for name, one in spec["primary"].items()}
    if not spec["primary"]:  # a spec has some task
        kept["pretext"] = spec["pretext"]
    return {**kept, "train": {**spec["train"], "devices": 1, "nodes": 1, "strategy": "auto", "accumulate": 1}}


def _recorded_shape(folder: RunFolder) -> DataShape:
    try:
        return DataShape.from_json(folder.read("manifest.json")["data"]["shape"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        where = str(folder.path / "manifest.json")
        raise CheckpointError(Problem(where=where, what=f"lacks the shape of the data: {error!r}")) from None
