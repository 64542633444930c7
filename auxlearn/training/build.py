"""From a spec to the objects that train: data, learner, trainer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from auxlearn.calls import environment_problem
from auxlearn.data import DataContext, DataSource, InputShape, LabelCounts, TargetInfo
from auxlearn.errors import AuxlearnError, DataError, PluginError, Problem
from auxlearn.learning import Augmentation, Backbone, Balancer, BuildContext, Draws, PretextTask, PrimaryTask
from auxlearn.learning.learner import Learner
from auxlearn.settings import keeping_settings
from auxlearn.spec.models import Choice, Spec

__all__ = ["DataShape", "build_component", "build_learner", "build_other_source", "build_source"]


@attrs.frozen(kw_only=True)
class DataShape:
    """What a learner must know about the data, small enough to keep in the run folder.

    Attributes:
        inputs: The form of each modality, as the data source gives it.
        targets: What there is to learn.
        class_counts: Training rows of each class, by class target.
        label_counts: Training rows with each label, by multi-label target.
    """

    inputs: Mapping[str, InputShape]
    targets: Mapping[str, TargetInfo]
    class_counts: Mapping[str, tuple[int, ...]]
    label_counts: Mapping[str, LabelCounts] = attrs.field(factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the shape as JSON."""
        return attrs.asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> DataShape:
        """Return the shape that `to_json` wrote."""
        return cls(
            inputs={n: _input(one) for n, one in found["inputs"].items()},
            targets={
                n: TargetInfo(**{**t, "names": tuple(t["names"]), "shape": tuple(t["shape"])})
                for n, t in found["targets"].items()
            },
            class_counts={n: tuple(c) for n, c in found["class_counts"].items()},
            # Runs of earlier versions know of none.
            label_counts={
                n: LabelCounts(rows=c["rows"], positives=tuple(c["positives"]))
                for n, c in found.get("label_counts", {}).items()
            },
        )

    @property
    def image_size(self) -> int | None:
        """Side of the stored images in pixels, None without images."""
        return next((shape.shape[-1] for shape in self.inputs.values() if shape.kind == "image"), None)


def _input(found: Mapping[str, Any]) -> InputShape:
    """Return what JSON says of a modality; runs of earlier versions know of no statistics."""
    facts: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in found.items()}
    return InputShape(**facts)


_CLASSES: Mapping[str, type] = {
    "augmentation": Augmentation,
    "backbone": Backbone,
    "balancer": Balancer,
    "data_source": DataSource,
    "optimizer": Optimizer,
    "pretext_task": PretextTask,
    "primary_task": PrimaryTask,
    "schedule": LRScheduler,
}


def build_component(choice: Choice, context: Any, *, wanted: type | None = None, optional: bool = False) -> Any:
    """Return what `choice` builds.

    Args:
        choice: What the spec chose.
        context: What its `build` is told.
        wanted: The class of what it should return; by default that of its kind.
        optional: It may return None.

    Raises:
        AuxlearnError: As the plugin raised it, its pointers made absolute. Those of a `DataError` are left, as they
            are paths of files.
        PluginError: If the plugin failed in any other way; it names the plugin and its distribution.
    """
    with keeping_settings(), _as_problems(choice):
        made = choice.provider.build(choice.params, context)
    wanted = wanted or _CLASSES[choice.found.kind]
    if not isinstance(made, wanted) and not (optional and made is None):
        article = "an" if wanted.__name__.startswith(("A", "E", "O", "LR")) else "a"
        found = "None" if made is None else type(made).__name__
        what = f"{_plugin(choice)}: `build` should return {article} {wanted.__name__}, it returned {found}"
        raise PluginError(Problem(where=choice.pointer, what=what, exit_code=3))
    return made


def _plugin(choice: Choice) -> str:
    return f"{choice.provider.name} of {choice.distribution} {choice.version}"


@contextmanager
def _as_problems(choice: Choice) -> Iterator[None]:
    """Tell whatever is raised inside as a problem of what `choice` builds."""
    try:
        yield
    except DataError:
        raise
    except AuxlearnError as error:
        error.problems = tuple(attrs.evolve(p, where=_absolute(choice, p)) for p in error.problems)
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        problem = environment_problem(error, _plugin(choice))
        if problem is not None:
            raise problem from error
        what = f"{_plugin(choice)} failed to build: {type(error).__name__}: {error}"
        fix = _advice(choice, error)
        raise PluginError(Problem(where=choice.pointer, what=what, fix=fix, exit_code=3)) from error


def _advice(choice: Choice, error: BaseException) -> str | None:
    """Return what to do about a module that is missing, as discovery does where the plugin's own import lacks it."""
    missing = isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("auxlearn.")
    return f"pip install -U {choice.distribution}, for what it depends on" if missing else None


def _absolute(choice: Choice, problem: Problem) -> str:
    """Return where a plugin's problem is, seen from the whole spec."""
    inside = problem.where.startswith("/") and not problem.where.startswith(choice.pointer)
    return choice.pointer + problem.where if inside else problem.where or choice.pointer


def build_source(spec: Spec) -> DataSource:
    """Return the data source of `spec`."""
    source: DataSource = build_component(spec.data, DataContext(size=spec.data.keys.size, root=spec.root))
    return source


def build_other_source(spec: Spec) -> DataSource | None:
    """Return the data source of the unlabelled rows, None where they are those that the fraction leaves out."""
    if spec.unlabelled is None:
        return None
    context = DataContext(size=spec.data.keys.size, root=spec.root)
    other: DataSource | None = build_component(spec.unlabelled, context, optional=True)
    return other


def build_learner(spec: Spec, shape: DataShape, *, restoring: bool = False) -> Learner:
    """Return the learner of `spec` for data of `shape`; `restoring`: saved weights follow, so none are fetched.

    Every part is initialised under a seed of its own name, so adding a task leaves the others' weights alone.
    """
    parts = _Parts(spec, shape)
    context = BuildContext(
        inputs=shape.inputs,
        size=parts.size,
        targets=shape.targets,
        class_counts=shape.class_counts,
        label_counts=shape.label_counts,
        batch_size=spec.rows_per_step // (spec.train.devices * spec.train.nodes * spec.train.accumulate),
        restoring=restoring,
        ema=spec.train.ema is not None,
    )
    augmentation = parts.make("augment", spec.augment, context)
    context = attrs.evolve(context, inputs=parts.augmented())
    backbone = parts.make("backbone", spec.backbone, context)
    context = attrs.evolve(context, features=backbone.shapes)
    return Learner(
        backbone,
        primary={name: parts.make(f"primary/{name}", one, context) for name, one in spec.primary.items()},
        pretext={name: parts.make(f"pretext/{name}", one, context) for name, one in spec.pretext.items()},
        arrange={name: one.keys for name, one in spec.pretext.items()},
        weights={name: one.keys.weight for name, one in spec.primary.items()},
        probes=[name for name, one in spec.primary.items() if one.keys.probe],
        augmentation=augmentation,
        repeats=spec.augment.keys.repeats,
        balancer=parts.make("balance", spec.balance, attrs.evolve(context, tasks=_balanced(spec))),
        shared=context.shared_modules,
        frozen_copies=context.frozen_copies,
        seed=spec.seed,
        forward_mode=spec.train.forward,
        backward_mode=spec.train.backward,
        freeze_backbone=spec.backbone.keys.freeze,
    )


def _balanced(spec: Spec) -> tuple[str, ...]:
    """Return the tasks that the balancer sees: all but the probes."""
    return (*(name for name, one in spec.primary.items() if not one.keys.probe), *spec.pretext)


class _Parts:
    """Builds the parts of a learner, each under its own seed."""

    def __init__(self, spec: Spec, shape: DataShape) -> None:
        self._spec, self._shape = spec, shape
        self.size = spec.augment.keys.size or shape.image_size

    def make(self, name: str, choice: Choice, context: BuildContext) -> Any:
        """Return the component that `choice` builds."""
        with Draws(seed=self._spec.seed, name=f"init/{name}", step=0).seeded():
            return build_component(choice, context)

    def augmented(self) -> dict[str, InputShape]:
        """Return the form of each modality after augmentation."""
        images = {
            name: attrs.evolve(one, shape=(one.shape[0], self.size, self.size), dtype="float32")
            for name, one in self._shape.inputs.items()
            if one.kind == "image" and self.size is not None
        }
        return {**self._shape.inputs, **images}
