"""The sections of a spec: the engine's own keys, each with its type, default, bounds and one line of help.

A section that chooses a component has the component's `type` and params beside the engine's keys; the classes
here hold the engine's keys only, and `Choice` holds what was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from auxlearn.registry import Found, option
from auxlearn.spec.arrangement import Arrangement, Ramp
from auxlearn.spec.choice import Choice
from auxlearn.spec.scoring import EvaluateKeys, Knn, Monitor

__all__ = [
    "DEFAULT_EPOCHS",
    "LOADING",
    "STAGE_NAME",
    "Arrangement",
    "AugmentKeys",
    "BackboneKeys",
    "BalanceKeys",
    "CheckpointKeys",
    "Choice",
    "DataKeys",
    "Epoch",
    "EvaluateKeys",
    "Folds",
    "InitFrom",
    "Knn",
    "LogKeys",
    "Monitor",
    "OptimizerKeys",
    "PrimaryKeys",
    "Ramp",
    "ScheduleKeys",
    "Spec",
    "Split",
    "TrainKeys",
    "UnlabelledKeys",
]

DEFAULT_EPOCHS = 30  # of a spec that says neither `train.epochs` nor `train.steps`
LOADING = ("workers", "timeout", "cache", "cache_dir")  # keys of `data` that no row, and so no result, depends on
STAGE_NAME = "[A-Za-z0-9][A-Za-z0-9_-]{0,39}"  # also the name of a folder


@attrs.frozen(kw_only=True)
class Split:
    """Splits to make where the data has none: parts of `train` that become `val` and `test`."""

    val: float = option(0.1, ge=0, lt=1, help="Part of the training rows that becomes `val`; 0 for none.")
    test: float = option(0.0, ge=0, lt=1, help="Part of the training rows that becomes `test`; 0 for none.")
    by: Literal["stratum", "group", "random"] = option(
        "stratum", help="Keep the share of each class (`stratum`), keep groups whole (`group`), or neither."
    )
    target: str | None = option(None, help="The target whose classes are the strata; the first class target if null.")
    seed: int = option(0, ge=0, help="Seed of the division; the same for every run that shall be compared.")


@attrs.frozen(kw_only=True)
class Folds:
    """Cross-validation: the training and validation rows are divided anew, fold `index` becomes `val`."""

    count: int = option(5, ge=2, help="Number of folds.")
    index: int = option(0, ge=0, help="The fold that becomes `val`, from 0.")
    by: Literal["stratum", "group", "random"] = option("stratum", help="As in `split`.")
    target: str | None = option(None, help="As in `split`.")
    seed: int = option(0, ge=0, help="Seed of the division.")


@attrs.frozen(kw_only=True)
class DataKeys:
    """The engine's keys of `data`."""

    size: int | None = option(None, ge=8, le=4096, help="Side in pixels to which images are decoded; null: their own.")
    fraction: float = option(1.0, gt=0, le=1, help="Part of the training rows to use, drawn by stratum.")
    fraction_seed: int | None = option(None, ge=0, help="Seed of the fraction; null: the seed of the run.")
    split: Split | None = option(None, help="Make splits where the data has none.")
    folds: Folds | None = option(None, help="Cross-validation instead of the given training and validation splits.")
    sampling: Literal["uniform", "balanced"] = option(
        "uniform", help="Draw rows uniformly, or so that each class is equally frequent."
    )
    sampling_target: str | None = option(None, help="The target whose classes are balanced; the first if null.")
    cache: Literal["none", "memmap"] = option("none", help="`memmap`: decode every image once into a file of bytes.")
    cache_dir: str | None = option(None, help="Folder for the cache; null: the user's cache folder.")
    workers: int = option(0, ge=0, le=256, help="Processes that decode images; 0 decodes in the training process.")
    timeout: float = option(120.0, ge=0, help="Seconds after which a stalled worker is an error; 0 waits for ever.")
    allow_leaks: bool = option(False, help="Go on although a file or a group stands in two splits.")


@attrs.frozen(kw_only=True)
class UnlabelledKeys:
    """The engine's keys of `data.unlabelled`."""

    split: str = option("train", help="The split whose rows are used; nothing to do with `rest`.")
    ratio: float = option(1.0, gt=0, help="Unlabelled rows in a step for each labelled one.")

    def rows(self, batch_size: int) -> int:
        """Return how many unlabelled rows a step has besides `batch_size` labelled ones."""
        return round(self.ratio * batch_size)


@attrs.frozen(kw_only=True)
class AugmentKeys:
    """The engine's keys of `augment`."""

    size: int | None = option(None, ge=8, le=4096, help="Side in pixels that the backbone sees; null: `data.size`.")
    repeats: int = option(1, ge=1, le=64, help="Views of each row in a step, each augmented anew (arXiv 1901.09335).")


@attrs.frozen(kw_only=True)
class BackboneKeys:
    """The engine's keys of `backbone`."""

    freeze: bool = option(False, help="Do not train the backbone; its BatchNorm uses the running statistics.")


@attrs.frozen(kw_only=True)
class PrimaryKeys:
    """The engine's keys of a primary task."""

    weight: float = option(1.0, ge=0, help="Factor of the loss; shared equally by the views that supervise the task.")
    probe: bool = option(
        False,
        help="Only watch: learn from detached features of clean images, without influence on anything else; "
        "but a loss of it that is not finite stops the run too.",
    )


@attrs.frozen(kw_only=True)
class BalanceKeys:
    """The engine has no keys of its own in `balance`."""


@attrs.frozen(kw_only=True)
class OptimizerKeys:
    """The engine's keys of `optimizer`: how parameters are grouped, whatever the optimizer."""

    lr: float = option(1e-3, gt=0, help="Learning rate at its highest.")
    weight_decay: float = option(0.05, ge=0, help="Weight decay.")
    decay_norms: bool = option(False, help="Apply weight decay to biases and normalisation parameters too.")
    lr_scale: Mapping[str, float] = option(
        attrs.Factory(dict),
        ge=0,
        help="Factors of the learning rate by part: `backbone`, `primary`, `pretext`, `shared`, `norms`, `balance`, or "
        "one task: `pretext.puzzle`.",
    )
    layer_decay: float | None = option(
        None, gt=0, le=1, help="Factor of the learning rate from each layer of the backbone to the one below."
    )
    clip_norm: float | None = option(None, gt=0, help="Scale gradients down to this global norm.")


@attrs.frozen(kw_only=True)
class ScheduleKeys:
    """The engine's keys of `schedule`."""

    warmup_epochs: float = option(0.0, ge=0, help="Epochs over which the learning rate rises linearly before it.")


@attrs.frozen(kw_only=True)
class Epoch:
    """What an epoch is, for everything that counts in epochs."""

    by: Literal["labelled", "all", "steps"] = option(
        "labelled",
        help="One pass over the labelled rows; over the labelled and the unlabelled ones, whichever takes longer; or "
        "so many steps.",
    )
    steps: int | None = option(None, ge=1, help="Steps of an epoch by `steps`.")


@attrs.frozen(kw_only=True)
class TrainKeys:
    """`train`: how long, how large, on what."""

    epochs: int | None = option(None, ge=1, help="How many epochs to train; null: 30, unless `steps` is given.")
    steps: int | None = option(None, ge=1, help="Optimizer steps, instead of `epochs`.")
    epoch: Epoch = option(attrs.Factory(Epoch), help="What an epoch is.")
    batch_size: int = option(64, ge=1, help="Labelled rows in one optimizer step, over all devices and micro-batches.")
    accumulate: int = option(1, ge=1, help="Micro-batches into which a step is divided, to save memory.")
    precision: Literal["32-true", "64-true", "bf16-mixed", "16-mixed", "bf16-true", "auto"] = option(
        "auto", help="Arithmetic; `auto`: bf16-mixed on a GPU that has it, else 32-true."
    )
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = option("auto", help="Kind of device.")
    devices: int = option(1, ge=1, help="Devices on each node.")
    nodes: int = option(1, ge=1, help="Machines.")
    strategy: Literal["auto", "ddp"] = option("auto", help="How several devices share the work.")
    forward: Literal["separate", "fused"] = option(
        "separate", help="`fused`: views of equal shape run as one pass, which shares BatchNorm statistics among them."
    )
    backward: Literal["together", "accumulate"] = option(
        "together", help="`accumulate`: forward and backward for each group of passes, for less memory."
    )
    channels_last: bool = option(True, help="Memory format of images and convolutions.")
    compile: bool = option(False, help="Compile the backbone with torch.compile.")
    ema: float | None = option(None, gt=0, lt=1, help="Decay of the moving average of the weights; null: none.")
    non_finite: Literal["stop", "skip"] = option("stop", help="What to do when a loss or gradient is not finite.")
    max_skips: int = option(20, ge=1, help="Steps in a row that may be skipped before the run stops.")
    sync_batchnorm: bool = option(False, help="BatchNorm statistics over all devices (GPU only).")


@attrs.frozen(kw_only=True)
class CheckpointKeys:
    """`checkpoint`: when to save, and what to keep."""

    every_epochs: int | None = option(1, ge=1, help="Save after every so many epochs; null: not by epochs.")
    every_steps: int | None = option(None, ge=1, help="Save after every so many steps.")
    every_minutes: float | None = option(None, gt=0, help="Save when so many minutes have passed since the last.")
    keep_last: int = option(2, ge=1, help="How many of the newest checkpoints to keep.")
    keep_best: bool = option(True, help="Keep the checkpoint with the best monitored metric.")


@attrs.frozen(kw_only=True)
class LogKeys:
    """`log`: where the numbers go besides `metrics.jsonl`."""

    every_steps: int = option(10, ge=1, help="Write training losses every n steps.")
    gradients_every: int | None = option(
        None, ge=1, help="Measure every n steps how the gradients of the tasks stand to each other."
    )
    to: tuple[Literal["csv", "tensorboard", "wandb", "mlflow"], ...] = option((), help="Further loggers.")


@attrs.frozen(kw_only=True)
class InitFrom:
    """`init_from`: weights of another run for a new one."""

    path: str | None = option(None, help="A run folder, or one of its checkpoints.")
    stage: str | None = option(None, pattern=STAGE_NAME, help="Instead of `path`: an earlier stage of the same run.")
    parts: tuple[Literal["backbone", "primary", "pretext"], ...] = option(
        ("backbone",), help="What to take over; tasks with the modules that they share."
    )
    which: Literal["best", "last"] = option("best", help="Which checkpoint of a run folder.")


@attrs.frozen(kw_only=True)
class Spec:
    """A whole spec, read and checked: every default filled in, every component found.

    A spec with stages has each of them as a spec of its own in `stages`, with its name in `stage`; everything else but
    `name`, `given` and `resolved` is then as in the last of them.

    `data.keys` is a `DataKeys`, `pretext[name].keys` an `Arrangement` with its `view` resolved, and so on.
    """

    name: str
    seed: int
    data: Choice
    augment: Choice
    backbone: Choice
    primary: Mapping[str, Choice]
    pretext: Mapping[str, Choice]
    balance: Choice
    optimizer: Choice
    schedule: Choice
    train: TrainKeys
    checkpoint: CheckpointKeys
    evaluate: EvaluateKeys
    log: LogKeys
    init_from: InitFrom | None
    root: str
    given: Mapping[str, Any]
    resolved: Mapping[str, Any]
    stage: str | None = None
    stages: tuple[Spec, ...] = ()

    @property
    def choices(self) -> Mapping[str, Choice]:
        """Every component by where it stands, e.g. `pretext.puzzle`; of the last stage, if there are stages."""
        sections = {"data": self.data, "augment": self.augment, "backbone": self.backbone, "balance": self.balance}
        sections |= {"optimizer": self.optimizer, "schedule": self.schedule}
        sections |= {f"data.{name}": one for name, one in self.data.inside.items()}
        sections |= {f"primary.{name}": one for name, one in self.primary.items()}
        sections |= {f"pretext.{name}": one for name, one in self.pretext.items()}
        return sections

    @property
    def used(self) -> tuple[Found, ...]:
        """Where the components come from, those of every stage."""
        return tuple(choice.found for one in self.stages or (self,) for choice in one.choices.values())

    @property
    def unlabelled(self) -> Choice | None:
        """The second stream of training rows, if there is one."""
        return self.data.inside.get("unlabelled")

    @property
    def rows_per_step(self) -> int:
        """Clean views of labelled and unlabelled rows in one optimizer step, over all devices and micro-batches."""
        labelled = self.train.batch_size
        rows = labelled + (self.unlabelled.keys.rows(labelled) if self.unlabelled else 0)
        return rows * int(self.augment.keys.repeats)
