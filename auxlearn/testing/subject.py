"""`Subject`: a component under its trial, and `Bench`: one that was built, with all that it needs to work."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
from torch import nn

from auxlearn.data import Batch, DataContext, InputShape
from auxlearn.errors import AuxlearnError, Problem
from auxlearn.learning import Backbone, BuildContext, Draws, FeatureShape
from auxlearn.registry import CheckContext, DataFacts, Kind, Provider
from auxlearn.spec.structure import structure, unstructure
from auxlearn.testing.checking import Fault
from auxlearn.testing.stage import StageBackbone, stage_batch
from auxlearn.testing.trial import Trial

__all__ = ["BALANCED", "Bench", "Refused", "Subject"]

BALANCED = ("a", "b")  # the primary and the pretext task whose losses a balancer is given

_ROWS_OF_A_CLASS = 10


class Refused(Exception):  # noqa: N818 (a refusal in advance is right)
    """The component says in advance, with a clear message, that it cannot work under these conditions."""


class Bench(nn.Module):
    """A component that was built, the backbone that it works with, and the modules that it shares with others."""

    def __init__(
        self, component: Any, backbone: Backbone | None = None, shared: Mapping[str, nn.Module] | None = None
    ) -> None:
        super().__init__()
        self.component: Any = component
        self.backbone: Any = backbone
        self.shared = nn.ModuleDict(shared or {})

    @property
    def features(self) -> Mapping[str, FeatureShape]:
        """The form of the backbone's features."""
        return {} if self.backbone is None else self.backbone.shapes

    def own_parameters(self) -> dict[str, nn.Parameter]:
        """Return the trainable parameters of the component and of what it shares, by name."""
        every = self.named_parameters()
        return {name: p for name, p in every if p.requires_grad and not name.startswith("backbone.")}


@attrs.frozen(kw_only=True)
class Subject:
    """A component under its trial: what checks are asked of.

    Attributes:
        kind: What it is.
        provider: Its offer.
        trial: The conditions; the settings of `prepare` are among its `params`.
        kept: Data sources that were built, by their settings, since building one may take reading.
    """

    kind: Kind
    provider: Provider
    trial: Trial
    kept: dict[str, Bench] = attrs.field(factory=dict, eq=False, repr=False)

    @property
    def params(self) -> Any:
        """The settings as the provider's params class."""
        return structure(self.provider.params, dict(self.trial.params))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as JSON, with every default."""
        settings: dict[str, Any] = unstructure(self.params)
        return settings

    @property
    def inputs(self) -> dict[str, InputShape]:
        """The form of each modality where the component works."""
        raw = self.kind in ("augmentation", "data_source")
        return {name: one if raw else _augmented(one) for name, one in self.trial.inputs.items()}

    @property
    def size(self) -> int | None:
        """Side of the images in pixels, None without images."""
        return next((one.shape[-1] for one in self.inputs.values() if one.kind == "image"), None)

    def changed(self, **trial: Any) -> Subject:
        """Return the same under other conditions."""
        return attrs.evolve(self, trial=attrs.evolve(self.trial, **trial))

    def sized(self, height: int, width: int) -> Subject:
        """Return the same with images of another size."""
        inputs = {
            name: attrs.evolve(one, shape=(one.shape[0], height, width)) if one.kind == "image" else one
            for name, one in self.trial.inputs.items()
        }
        return self.changed(inputs=inputs)

    def problems(self) -> list[Problem]:
        """Return what the provider's own `check` finds wrong with the conditions."""
        if self.provider.check is None:
            return []
        named = {name: info.names if info.kind == "class" else () for name, info in self.trial.targets.items()}
        shapes = {name: one.shape for name, one in self.trial.inputs.items()}
        context = CheckContext(
            data=None if self.kind == "data_source" else DataFacts(inputs=shapes, targets=named, splits=("train",)),
            size=self.size,
            batch_size=self.trial.rows,
            view=self.provider.view if self.kind == "pretext_task" else None,
            rows=self.trial.rows if self.kind == "pretext_task" else None,
        )
        found: Any = self.provider.check(self.params, context)
        if isinstance(found, str) or not isinstance(found, Iterable):
            raise Fault(f"`check` should return Problems (an iterable), it returned {found!r:.60}")
        problems = list(found)
        wrong = next((one for one in problems if not isinstance(one, Problem)), None)
        if wrong is not None:
            raise Fault(f"`check` should give Problem objects, it gave {wrong!r:.60}")
        return problems

    def bench(self, *, seed: int = 0, anew: bool = True) -> Bench:
        """Build the component.

        Args:
            seed: Of its initialisation.
            anew: Build a data source even if there is one of the same settings.

        Raises:
            Refused: If it says in advance that it cannot work under these conditions.
        """
        key = json.dumps(self.settings, sort_keys=True)
        if not anew and key in self.kept:
            return self.kept[key]
        problems = self.problems()
        if problems:
            raise Refused("; ".join(map(str, problems)))
        backbone = self._backbone()
        context = self._context(backbone)
        try:
            with Draws(seed=seed, name="init", step=0).seeded():
                component = self.provider.build(self.params, context)
        except AuxlearnError as error:
            raise Refused(str(error)) from error
        if not isinstance(context, BuildContext):
            self.kept[key] = Bench(component)
            return self.kept[key]
        for copy in context.frozen_copies:
            copy.bind(_Frozen(backbone))
        return Bench(component, backbone, {name: handle.module for name, handle in context.shared_modules.items()})

    def batch(self, rows: int | None = None, *, seed: int = 0) -> Batch:
        """Return a batch that fits the conditions."""
        return stage_batch(
            self.inputs,
            self.trial.targets,
            rows=self.trial.rows if rows is None else rows,
            seed=seed,
            augmented=self.kind != "augmentation",
        )

    def _backbone(self) -> StageBackbone | None:
        if self.kind not in ("pretext_task", "primary_task"):
            return None
        with Draws(seed=0, name="backbone", step=0).seeded():
            return StageBackbone(self.inputs, reductions=self.trial.reductions)

    def _context(self, backbone: Backbone | None) -> Any:
        if self.kind == "data_source":
            return DataContext(size=self.size)
        counted = {name: info for name, info in self.trial.targets.items() if info.kind == "class"}
        return BuildContext(
            inputs=self.inputs,
            size=self.size,
            features={} if backbone is None else backbone.shapes,
            targets=self.trial.targets,
            class_counts={name: (_ROWS_OF_A_CLASS,) * len(info.names) for name, info in counted.items()},
            batch_size=self.trial.rows,
            tasks=BALANCED if self.kind == "balancer" else (),
            restoring=True,  # so that nothing is fetched from anywhere
            ema=True,
        )


class _Frozen(nn.Module):
    """A backbone that gives features and does not learn from them, as the trainer binds it."""

    def __init__(self, backbone: Backbone | None) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, inputs: Any) -> Any:
        if self.backbone is None:
            raise ValueError("`frozen_copy` should be asked for by tasks only.")
        return self.backbone(inputs)


def _augmented(one: InputShape) -> InputShape:
    return attrs.evolve(one, dtype="float32") if one.kind == "image" else one
