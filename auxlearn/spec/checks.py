"""What a schema cannot say: mistakes that lie between two keys, two sections, or in a component's own rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from auxlearn.errors import PluginError, Problem, escape, nearest
from auxlearn.registry import CheckContext, DataFacts, unusable_name
from auxlearn.spec.asking import ask, own_problems
from auxlearn.spec.assembly import Assembly, Selected
from auxlearn.spec.models import Arrangement, DataKeys, EvaluateKeys, InitFrom, OptimizerKeys, TrainKeys
from auxlearn.spec.parts import unknown_parts
from auxlearn.spec.pointers import Path
from auxlearn.spec.streams import check_epoch, check_unlabelled, joint_rows
from auxlearn.spec.supervision import check_arrangements

__all__ = ["check"]

Found = Iterator[tuple[Path, Problem]]


def check(assembly: Assembly) -> None:
    """Add to `assembly` what is wrong between its sections, as far as they are valid on their own."""
    checks: tuple[tuple[tuple[str, ...], Callable[[Assembly], Found]], ...] = (
        ((), _check_tasks),
        ((), _check_distributions),
        ((), _check_components),
        (("primary", "pretext", "train"), check_arrangements),
        (("train",), _check_train),
        (("train", "balance"), _check_balance),
        (("train", "log"), _check_watching),
        (("init_from",), _check_source),
        (("train",), check_epoch),
        (("data", "train"), check_unlabelled),
        (("train", "schedule"), _check_warmup),
        (("data",), _check_data),
        (("evaluate", "primary", "pretext"), _check_monitor),
        (("optimizer", "primary", "pretext"), _check_parts),
    )
    found = [item for needs, look in checks if assembly.valid(*needs) for item in look(assembly)]
    for path, problem in found:
        assembly.add(path, problem)


def _check_tasks(assembly: Assembly) -> Found:
    primary, pretext = (assembly.document.get(section, {}) for section in ("primary", "pretext"))
    if not primary and not pretext:
        yield (), Problem(what="there is no task to train", fix='name one in "primary" or "pretext"')
    if isinstance(primary, dict) and isinstance(pretext, dict):
        for name in primary.keys() & pretext.keys():
            yield ("pretext", name), Problem(what="a primary task has the same name", fix="rename one of them")
        for section, tasks in (("primary", primary), ("pretext", pretext)):
            for name in tasks:
                why = unusable_name(name)
                if why is not None:
                    yield (section, name), Problem(what=f'a task cannot be called "{escape(name)}": {why}')


def _check_distributions(assembly: Assembly) -> Found:
    """Check the `plugins` of a resolved spec: each must be there, in whatever version."""
    wanted = assembly.document.get("plugins", {})
    installed = sorted({found.distribution for found in assembly.registry.found})
    for name in wanted if isinstance(wanted, dict) else ():
        if name not in installed:
            broken = next((str(b) for b in assembly.registry.broken if b.distribution == name), None)
            what = broken or f'the plugin "{escape(name)}" is not installed'
            problem = Problem(what=what, meant=nearest(name, installed), fix=f"pip install {escape(name)}", exit_code=3)
            yield ("plugins", name), problem


def _check_components(assembly: Assembly) -> Found:
    """Let every component check its own params."""
    facts: DataFacts | None = None
    data = assembly.selected.get(("data",))
    if data:
        try:
            facts = ask(data, "describe")
        except PluginError as error:
            yield data.path, error.problems[0]
    if facts is not None and "evaluate" in assembly.plain:
        yield from _check_neighbours(assembly.plain["evaluate"], facts)
    context = CheckContext(data=facts, size=_size(assembly, facts), batch_size=joint_rows(assembly))
    for item in assembly.selected.values():
        yield from own_problems(item, _context_of(item, context, assembly))


def _context_of(item: Selected, context: CheckContext, assembly: Assembly) -> CheckContext:
    """Return what a component is told: a pretext task also how it is arranged."""
    keys = item.keys
    if not isinstance(keys, Arrangement):
        return context
    train: TrainKeys = assembly.plain.get("train", TrainKeys())
    devices = train.devices * train.nodes
    each = max(1, round(keys.portion * (joint_rows(assembly) // (devices * train.accumulate))))
    view = keys.view or item.found.provider.view
    size = None if context.size is None else max(1, int(context.size * keys.resolution))
    return attrs.evolve(context, view=view, size=size, rows=each, rows_together=each * devices)


def _check_neighbours(keys: EvaluateKeys, facts: DataFacts) -> Found:
    known = [name for name, classes in facts.targets.items() if classes]
    for name in keys.knn:
        if name not in known:
            what = "the data has no such class target"
            problem = Problem(what=what, allowed=", ".join(known) or "none", meant=nearest(name, known))
            yield ("evaluate", "knn", name), problem


def _size(assembly: Assembly, facts: DataFacts | None) -> int | None:
    for section in ("augment", "data"):
        item = assembly.selected.get((section,))
        if item and item.keys.size is not None:
            return int(item.keys.size)
    image = facts.inputs.get("image") if facts else None
    return image[-1] if image and image[-1] == image[-2] else None


def _check_train(assembly: Assembly) -> Found:
    train: TrainKeys = assembly.plain["train"]
    if train.epochs is not None and train.steps is not None:
        fix = 'give one of them; "epochs": null takes back what a preset or the rest of the spec says'
        yield ("train", "steps"), Problem(what="both `epochs` and `steps` are given", fix=fix)
    parts = train.devices * train.nodes * train.accumulate
    if train.batch_size % parts:
        below = train.batch_size // parts * parts
        near = " or ".join(str(size) for size in (below, below + parts) if size)
        what = f"{train.batch_size} rows cannot be divided evenly among {parts} (devices x nodes x accumulate)"
        yield ("train", "batch_size"), Problem(what=what, allowed=f"a multiple of {parts}, such as {near}")


def _check_source(assembly: Assembly) -> Found:
    source: InitFrom | None = assembly.plain["init_from"]
    if source is not None and (source.path is None) == (source.stage is None):
        what = "lacks the run to begin from" if source.path is None else "both `path` and `stage` are given"
        yield ("init_from",), Problem(what=what, fix='give "path", or in a spec with stages "stage"')


def _check_balance(assembly: Assembly) -> Found:
    train: TrainKeys = assembly.plain["train"]
    balancer = assembly.selected["balance",].found.provider
    if balancer.needs == "losses" and train.backward == "accumulate":
        what = f'the balancer "{balancer.name}" must know all losses before any of them goes backward'
        yield ("train", "backward"), Problem(what=what, allowed='"together"', fix="leave `backward` out")
    if balancer.needs == "gradients" and train.precision == "16-mixed":
        what = f'the balancer "{balancer.name}" needs gradients, which float16 would have to scale one by one'
        yield ("train", "precision"), Problem(what=what, allowed='"bf16-mixed" or "32-true"')


def _check_watching(assembly: Assembly) -> Found:
    if assembly.plain["log"].gradients_every is not None and assembly.plain["train"].precision == "16-mixed":
        what = "gradients of single losses are measured unscaled, and float16 would lose the small ones"
        yield (
            ("log", "gradients_every"),
            Problem(what=what, fix='set "precision": "bf16-mixed" in "train"'),
        )


def _check_warmup(assembly: Assembly) -> Found:
    train: TrainKeys = assembly.plain["train"]
    warmup = assembly.selected["schedule",].keys.warmup_epochs
    if train.epochs is not None and warmup > train.epochs:
        what = f"the warm-up of {warmup:g} epochs is longer than the run of {train.epochs}"
        yield ("schedule", "warmup_epochs"), Problem(what=what, allowed=f"at most {train.epochs}")


def _check_data(assembly: Assembly) -> Found:
    keys: DataKeys = assembly.selected["data",].keys
    if keys.split and keys.split.val + keys.split.test >= 1:
        what = f"`val` and `test` take {keys.split.val + keys.split.test:g} of the rows: none are left to train on"
        yield ("data", "split"), Problem(what=what, allowed="together below 1")
    if keys.folds and keys.folds.index >= keys.folds.count:
        what = f"there is no fold {keys.folds.index} of {keys.folds.count}"
        yield ("data", "folds", "index"), Problem(what=what, allowed=f"0 to {keys.folds.count - 1}")


def _check_monitor(assembly: Assembly) -> Found:
    keys: EvaluateKeys = assembly.plain["evaluate"]
    task, slash, _ = keys.monitor.metric.partition("/") if keys.monitor else ("", "", "")
    names = [name for _, name in _tasks(assembly)]
    if slash and task == "knn" and task not in names:
        target, known = str(keys.monitor and keys.monitor.metric).split("/")[1], list(keys.knn)
        if target not in known:
            what = f'no target "{escape(target)}" is scored by nearest neighbours'
            fix = 'add it to "knn" in "evaluate"'
            problem = Problem(what=what, allowed=", ".join(known) or None, meant=nearest(target, known), fix=fix)
            yield ("evaluate", "monitor", "metric"), problem
        return
    if slash and task not in names:
        what = f'there is no task "{escape(task)}"'
        problem = Problem(what=what, allowed=", ".join(names) or None, meant=nearest(task, names))
        yield ("evaluate", "monitor", "metric"), problem


def _check_parts(assembly: Assembly) -> Found:
    keys: OptimizerKeys = assembly.selected["optimizer",].keys
    named = [f"{section}.{name}" for section, name in _tasks(assembly)]
    scaled = [part for part in keys.lr_scale if not part.startswith("shared.")]  # which plugins make
    for part, problem in unknown_parts(scaled, named):
        yield ("optimizer", "lr_scale", part), problem


def _tasks(assembly: Assembly) -> list[tuple[str, str]]:
    """Return section and name of every task, also of those that are not valid."""
    return [(section, name) for section in ("primary", "pretext") for name in assembly.document.get(section, {})]
