"""From a spec and prepared data to a `Fit`, and the rehearsal that finds out beforehand whether it will work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import torch
from lightning_fabric import Fabric

from auxlearn.calls import calling_any, during
from auxlearn.data import Prepared, prepare
from auxlearn.errors import SpecError
from auxlearn.evaluation import Selection
from auxlearn.evaluation.selection import default_monitor
from auxlearn.learning.learner import Learner
from auxlearn.spec.models import Arrangement, Ramp, Spec
from auxlearn.training.build import DataShape, build_component, build_learner, build_other_source, build_source
from auxlearn.training.devices import make_fabric
from auxlearn.training.failing import naming_plugins
from auxlearn.training.feed import Feed
from auxlearn.training.fit import Fit
from auxlearn.training.folder import RunFolder
from auxlearn.training.initial import load_parts, take_over
from auxlearn.training.loggers import make_loggers, require_loggers
from auxlearn.training.optimisation import parameter_groups
from auxlearn.training.progress import Reporter
from auxlearn.training.recorder import Recorder
from auxlearn.training.schedules import ScheduleContext, with_warmup
from auxlearn.training.trainer import Trainer

__all__ = ["fabric_of", "make_feed", "make_fit", "make_trainer", "prepare_data", "rehearse", "shape_of", "total_steps"]

Weights = Mapping[str, torch.Tensor]


def prepare_data(spec: Spec) -> Prepared:
    """Return the data of `spec`: divided, checked, cached as it says."""
    second, source, other = spec.unlabelled, build_source(spec), build_other_source(spec)
    with naming_plugins(spec.choices), calling_any({"unlabelled": other, "": source}):
        return prepare(
            source,
            spec.data.keys,
            seed=spec.seed,
            batch_size=spec.train.batch_size,
            unlabelled=second.keys if second else None,
            other=other,
        )


def shape_of(data: Prepared) -> DataShape:
    """Return what a learner must know about `data`."""
    return DataShape(
        inputs=data.source.inputs,
        targets=data.source.targets,
        class_counts=data.class_counts,
        label_counts=data.label_counts,
    )


def fabric_of(spec: Spec) -> Fabric:
    """Return the Fabric that `spec` asks for."""
    keys = spec.train
    sometimes = any(
        how.keys.every > 1 or how.keys.start_epoch > 0 or not isinstance(how.keys.weight, float | int)
        for how in spec.pretext.values()
    )
    never = any(one.keys.weight == 0 for one in (*spec.primary.values(), *spec.pretext.values()))
    in_parts = keys.backward == "accumulate"  # micro-batches are alike: the last one touches what the others did
    return make_fabric(keys, unused_parameters=sometimes or never or in_parts)


def make_feed(spec: Spec, data: Prepared, fabric: Fabric) -> Feed:
    """Return the rows of this process."""
    return Feed(
        data,
        batch_size=spec.train.batch_size,
        by=spec.train.epoch,
        rank=fabric.global_rank,
        world=fabric.world_size,
        pin=fabric.device.type == "cuda",
    )


def total_steps(spec: Spec, feed: Feed) -> int:
    """Return the optimizer steps of the whole training."""
    return spec.train.steps or feed.steps(spec.train.epochs or 0)  # one of them is filled in


def make_trainer(spec: Spec, learner: Learner, feed: Feed, fabric: Fabric) -> Trainer:
    """Return the trainer of `spec`."""
    keys = spec.train
    if keys.compile:
        # Graphs are kept where each loss goes backward on its own, so their buffers cannot be given away.
        keeps = learner.balancer.needs == "gradients" or spec.log.gradients_every is not None
        torch._functorch.config.donated_buffer = not keeps
        learner.backbone.compile(dynamic=False)
    if keys.sync_batchnorm and fabric.device.type == "cuda":
        torch.nn.SyncBatchNorm.convert_sync_batchnorm(learner)  # type: ignore[no-untyped-call]
    optimizer = build_component(spec.optimizer, parameter_groups(learner, spec.optimizer.keys))
    per_epoch = feed.steps_per_epoch
    warmup = min(round(spec.schedule.keys.warmup_epochs * per_epoch), total_steps(spec, feed) - 1)
    context = ScheduleContext(
        optimizer=optimizer,
        total_steps=total_steps(spec, feed) - warmup,
        steps_per_epoch=per_epoch,
        skipped_steps=warmup,
    )
    return Trainer(
        learner,
        optimizer,
        scheduler=with_warmup(optimizer, build_component(spec.schedule, context), warmup),
        fabric=fabric,
        accumulate=keys.accumulate,
        clip_norm=spec.optimizer.keys.clip_norm,
        ema=keys.ema,
        non_finite=keys.non_finite,
        max_skips=keys.max_skips,
        channels_last=keys.channels_last,
        watch_every=spec.log.gradients_every,
    )


def make_fit(
    spec: Spec, data: Prepared, fabric: Fabric, folder: RunFolder, reporter: Reporter, *, restoring: bool = False
) -> Fit:
    """Return the run of `spec`, standing at its beginning; `restoring`: a checkpoint will be loaded into it."""
    feed = make_feed(spec, data, fabric)
    trainer = make_trainer(spec, build_learner(spec, shape_of(data), restoring=restoring), feed, fabric)
    loggers = make_loggers(spec, folder) if fabric.is_global_zero else []
    primary = dict(trainer.learner.primary.items())
    return Fit(
        trainer=trainer,
        feed=feed,
        folder=folder,
        recorder=Recorder(
            folder.path / "metrics.jsonl", every=spec.log.every_steps, loggers=loggers, warn=reporter.say
        ),
        reporter=reporter,
        selection=Selection(
            monitor=spec.evaluate.monitor or default_monitor(primary, trainer.learner.probes, spec.evaluate.knn),  # type: ignore[arg-type]
            patience=spec.evaluate.patience,
        ),
        total=total_steps(spec, feed),
        checkpoint=spec.checkpoint,
        evaluate=spec.evaluate,
        choices=spec.choices,
    )


def rehearse(spec: Spec, data: Prepared, earlier: Mapping[str, Weights] | None = None) -> Weights:
    """Take one step and score one batch of each split with a throw-away copy, on the CPU; write nothing.

    What passes does not fail on its configuration later. What fails inside a plugin is told as that plugin's fault.

    Args:
        spec: The spec, or a stage of one.
        data: Its data.
        earlier: What this returned for each of the stages before.

    Returns:
        The weights of the copy, which have the names and shapes of those that the run will save.
    """
    require_loggers(spec)
    fabric = Fabric(accelerator="cpu", devices=1)
    # The rows of one of the processes that there will be.
    feed = Feed(
        data, batch_size=spec.train.batch_size, by=spec.train.epoch, world=spec.train.devices * spec.train.nodes
    )
    banks = feed.banks(spec.evaluate.knn)
    pretext = {name: attrs.evolve(one, keys=_always(one.keys)) for name, one in spec.pretext.items()}
    spec = attrs.evolve(spec, train=attrs.evolve(spec.train, compile=False), pretext=pretext)
    trainer = make_trainer(spec, build_learner(spec, shape_of(data)), feed, fabric)
    _rehearse_start(trainer, spec, earlier or {})
    with naming_plugins(spec.choices), during("in the trial before the run, of which nothing was written"):
        trainer.step(next(iter(feed.train(0))))
        few = {target: attrs.evolve(bank, rows=bank.rows[: feed.batch_size]) for target, bank in banks.items()}
        near = trainer.remember(feed.remembered(few, None), few) if few else None
        scored: dict[str, Any] = {}
        for split in (s for s in ("val", "test") if s in feed.splits):
            scored = trainer.score([next(feed.evaluation(split, None))], near)
        if scored and spec.evaluate.monitor is not None:
            Selection(monitor=spec.evaluate.monitor).take(0, scored)
    return trainer.learner.state_dict()


def _rehearse_start(trainer: Trainer, spec: Spec, earlier: Mapping[str, Weights]) -> None:
    """Take over what the run will begin with."""
    source = spec.init_from
    if source is None:
        return
    if source.stage is None:
        take_over(trainer, source, spec.root)
    elif source.stage in earlier:
        problems = load_parts(trainer.learner, source, earlier[source.stage], f'the stage "{source.stage}"')
        trainer.restart_average()
        if problems:
            raise SpecError(problems)


def _always(how: Arrangement) -> Arrangement:
    """Return the arrangement with the task computed in every step, unless its weight is always 0."""
    weight = max(how.weight.start, how.weight.end) if isinstance(how.weight, Ramp) else how.weight
    return attrs.evolve(how, every=1, start_epoch=0, weight=weight)
