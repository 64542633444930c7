"""`TrainedModel`: what training was for, without the auxiliary parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor, nn

from auxlearn.data import InputShape
from auxlearn.errors import DataError, Problem
from auxlearn.learning import Backbone, Features, Preprocess, PrimaryTask
from auxlearn.learning.asking import ask_predict, featured
from auxlearn.learning.context import shared_by
from auxlearn.learning.features import in_dtype_of
from auxlearn.results.answers import Answer, task_facts
from auxlearn.results.predictor import Images, Predictor
from auxlearn.spec.models import Choice
from auxlearn.training.build import DataShape
from auxlearn.training.failing import naming_plugins

__all__ = ["Program", "TrainedModel", "read_inputs"]


class TrainedModel(nn.Module):
    """A backbone and its primary tasks, as an ordinary module in evaluation mode.

    Its state dict has `backbone.*` and `primary.<name>.*` (and `shared.<name>.*`, if primary tasks share a module),
    under the same names as during training.

    Args:
        backbone: The network.
        primary: The tasks by name.
        preprocess: What is done to images before the network, as in evaluation.
        data: What was known about the data: class names, units, the size of its images.
        choices: The components by section of the spec, to say which plugin fails.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import Preprocess
        >>> from auxlearn.results import TrainedModel
        >>> from auxlearn.testing.fakes import TinyBackbone, TinyPrimary
        >>> model = TrainedModel(TinyBackbone(), {"kind": TinyPrimary()}, Preprocess(size=8))
        >>> model(torch.zeros(4, 3, 20, 20, dtype=torch.uint8))["kind"]["probabilities"].shape
        torch.Size([4, 2])
    """

    def __init__(
        self,
        backbone: Backbone,
        primary: Mapping[str, PrimaryTask],
        preprocess: Preprocess,
        data: DataShape | None = None,
        *,
        choices: Mapping[str, Choice] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.primary = nn.ModuleDict(primary)
        self.shared = nn.ModuleDict({handle.name: handle.module for handle in shared_by(self.primary)})
        self.preprocess = preprocess
        self.data = data
        self.choices: Mapping[str, Choice] = choices or {}
        self.eval()

    @classmethod
    def of(cls, scored: nn.ModuleDict, preprocess: Preprocess, data: DataShape | None = None) -> TrainedModel:
        """Return the model made of what a trainer scores: its `backbone` and `primary`. The weights are not copied."""
        backbone, primary = cast(Backbone, scored["backbone"]), cast(nn.ModuleDict, scored["primary"])
        return cls(backbone, cast(Mapping[str, PrimaryTask], dict(primary.items())), preprocess, data)

    def forward(self, images: Tensor | Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Return the outputs of each task by name, rows first.

        Args:
            images: A batch [N, C, H, W], uint8 or in [0, 1], of any size; or the tensors of each modality by name.
        """
        features = self.features(images)
        return {name: dict(ask_predict(name, task, features)) for name, task in self.tasks()}

    def features(self, images: Tensor | Mapping[str, Tensor]) -> Features:
        """Return the features of `images`, which are as for `forward`."""
        inputs = {_only(self.input_names): images} if isinstance(images, Tensor) else images
        return featured(self.backbone, in_dtype_of(self.backbone, self.preprocess(inputs)))

    def predict(self, images: Images) -> list[dict[str, Answer]]:
        """Return what each task says about each image in words, e.g. `{"emotion": {"class": "happy", ...}}`.

        Args:
            images: A path, a Pillow image or a tensor, or a list of them; or a batch as a tensor [N, C, H, W]; or
                the tensors of several modalities by name. Faces should be cropped as those of the training data. A
                feature vector of NaN stands for a modality that the row lacks.

        Raises:
            DataError: If a file cannot be read as an image, or the model has no task.
            ValueError: If a tensor does not have the form of its modality.
        """
        return self.predictor().predict(images)

    def predictor(self, batch_size: int = 64) -> Predictor:
        """Return what `predict` uses, for image by image work.

        Raises:
            DataError: If the model has no task.
        """
        if self.data is None:
            raise ValueError("`data` should be given to a TrainedModel that predicts, found None.")
        if not self.primary:
            what = "there is no primary task, so nothing is predicted"
            raise DataError(Problem(what=what, fix="train one on the backbone (`init_from`), or export the backbone"))
        program, device = Program(self), self.device

        def run(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            with naming_plugins(self.choices):
                found: dict[str, Tensor] = program({name: tensor.to(device) for name, tensor in inputs.items()})
                return found

        return Predictor(
            run=run,
            preprocess=self.preprocess,
            inputs=read_inputs(self.backbone, self.data.inputs),
            tasks=self.facts(),
            batch_size=batch_size,
        )

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return as JSON what each task's outputs mean: kind, class names, unit."""
        targets = {} if self.data is None else self.data.targets
        return {name: task_facts(task, targets) for name, task in self.tasks()}

    def tasks(self) -> Iterator[tuple[str, PrimaryTask]]:
        """Yield the primary tasks with their names."""
        for name, task in self.primary.items():
            yield name, cast(PrimaryTask, task)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs that the backbone reads."""
        named = _named_inputs(self.backbone)
        return named if self.data is None else tuple(read_inputs(self.backbone, self.data.inputs))

    @property
    def device(self) -> torch.device:
        """Where the weights are; the CPU for a model without any."""
        return next((tensor.device for tensor in chain(self.parameters(), self.buffers())), torch.device("cpu"))


def read_inputs(backbone: Backbone, known: Mapping[str, InputShape]) -> dict[str, InputShape]:
    """Return those of the `known` inputs that the backbone reads; all of them, if it does not tell."""
    named = _named_inputs(backbone)
    return {name: one for name, one in known.items() if name in named or not set(named) <= known.keys()}


def _named_inputs(backbone: Backbone) -> tuple[str, ...]:
    """Return the names of the inputs that a backbone's features are made of, as it tells."""
    return tuple(dict.fromkeys(part for name, one in backbone.shapes.items() for part in one.inputs or (name,)))


def _only(names: tuple[str, ...]) -> str:
    if len(names) != 1:
        raise ValueError(f"Inputs should be given by name, found a tensor for {list(names)}.")
    return names[0]


class Program(nn.Module):
    """The tensor-to-tensor part of a model, in the form that is exported: prepared inputs in, named outputs out.

    Args:
        model: The model.
        part: `"model"` for the outputs of all tasks, by `<task>.<output>`; `"backbone"` for the pooled feature, as
            `features` (of several modalities: `features.<modality>`).
    """

    def __init__(self, model: TrainedModel, part: str = "model") -> None:
        super().__init__()
        self.backbone = model.backbone
        self.inputs = model.input_names
        if part == "model":
            self.primary, self.shared = model.primary, model.shared
        self.part = part
        self.eval()

    def forward(self, inputs: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the outputs for inputs as the backbone sees them: images in [0, 1] at their final size."""
        if isinstance(inputs, Tensor):
            inputs = {_only(self.inputs): inputs}
        features = featured(self.backbone, in_dtype_of(self.backbone, inputs))
        if self.part == "backbone":
            single = len(features) == 1
            return {"features" if single else f"features.{name}": part.pooled for name, part in features.items()}
        return {
            f"{name}.{output}": tensor
            for name, task in self.primary.items()
            for output, tensor in ask_predict(name, task, features).items()  # type: ignore[arg-type]
        }
