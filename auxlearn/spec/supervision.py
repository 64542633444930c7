"""How the tasks stand to each other: what the plan of passes could not carry out, found before it is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from auxlearn.errors import Problem, escape, nearest
from auxlearn.spec.asking import ask
from auxlearn.spec.assembly import Assembly, Selected
from auxlearn.spec.models import DEFAULT_EPOCHS, Arrangement, Ramp, TrainKeys
from auxlearn.spec.pointers import Path

__all__ = ["check_arrangements"]

Found = Iterator[tuple[Path, Problem]]


def check_arrangements(assembly: Assembly) -> Found:
    """Yield what is wrong with the views, weights and supervision of the tasks."""
    pretext, primary = assembly.table("pretext"), assembly.table("primary")
    train: TrainKeys = assembly.plain["train"]
    yield from _check_probes(assembly, primary, pretext)
    for item in pretext.values():
        yield from _check_keys(item, train)
        yield from _check_names(item, primary)
    yield from _check_order(pretext)
    yield from _check_weights(primary, pretext)
    for name, item in primary.items():
        if item.keys.weight > 0 and not item.keys.probe:
            yield from _check_supervision(name, item, pretext, train.batch_size)


def _view(item: Selected) -> str:
    return item.keys.view or item.found.provider.view


def _computed(keys: Arrangement) -> bool:
    """Whether the task is ever computed."""
    weight = keys.weight
    return max(weight.start, weight.end) > 0 if isinstance(weight, Ramp) else weight > 0


def _always(keys: Arrangement) -> bool:
    """Whether the task is computed in every step."""
    weight = min(keys.weight.start, keys.weight.end) if isinstance(keys.weight, Ramp) else keys.weight
    return keys.every == 1 and keys.start_epoch == 0 and weight > 0


def _supervises(item: Selected, primary: str) -> bool:
    supervise = item.keys.supervise
    if supervise is None:
        return _view(item) == "shared"
    return supervise if isinstance(supervise, bool) else primary in supervise


def _check_keys(item: Selected, train: TrainKeys) -> Found:
    keys: Arrangement = item.keys
    view = _view(item)
    if view != "own":
        for key in ("resolution", "statistics"):
            if getattr(keys, key) != getattr(Arrangement(), key):
                what = f"`{key}` concerns a pass of its own, but the view is {view}"
                fix = f'set "view": "own", or leave `{key}` out'
                yield (*item.path, key), Problem(what=what, fix=fix)
    if view == "clean" and item.found.provider.moves_pixels:
        what = "the backbone would not see what the task did to the images: a clean view is shown as it is"
        yield (*item.path, "view"), Problem(what=what, allowed='"own", "shared"')
    if isinstance(keys.weight, Ramp) and keys.weight.until < keys.weight.begin:
        what = f"the ramp ends at epoch {keys.weight.until:g}, before it begins at {keys.weight.begin:g}"
        yield (*item.path, "weight", "until"), Problem(what=what, allowed=f"at least {keys.weight.begin:g}")
    epochs = train.epochs if train.steps is not None or train.epochs is not None else DEFAULT_EPOCHS
    if epochs is not None and keys.start_epoch >= epochs:
        what = f"the task would start in epoch {keys.start_epoch} of a run of {epochs}"
        yield (*item.path, "start_epoch"), Problem(what=what, allowed=f"at most {epochs - 1}")


def _check_probes(assembly: Assembly, primary: Mapping[str, Selected], pretext: Mapping[str, Selected]) -> Found:
    """Check that something learns where probes watch."""
    backbone = assembly.selected.get(("backbone",))
    if pretext or not primary or not all(item.keys.probe for item in primary.values()):
        return
    if backbone is not None and not backbone.keys.freeze:
        what = "every task is a probe, so the backbone that they watch would not learn"
        fix = 'set "freeze": true in "backbone", "probe": false, or add a pretext task'
        yield ("primary",), Problem(what=what, fix=fix)


def _check_names(item: Selected, primary: Mapping[str, Selected]) -> Found:
    supervise = item.keys.supervise
    for index, name in enumerate(supervise if isinstance(supervise, tuple) else ()):
        if name not in primary:
            problem = Problem(
                what=f'there is no primary task "{escape(name)}"',
                allowed=", ".join(primary) or "an empty list, as there is no primary task",
                meant=nearest(name, primary),
            )
            yield (*item.path, "supervise", index), problem
        elif primary[name].keys.probe:
            what = f'"{name}" is a probe, which reads clean images only'
            yield (*item.path, "supervise", index), Problem(what=what, fix="leave it out")


def _check_order(pretext: Mapping[str, Selected]) -> Found:
    """Check that no shared view is moved after a task asked about places in it."""
    asked: list[Selected] = []
    for item in pretext.values():
        if _view(item) != "shared" or not _computed(item.keys):
            continue
        spoilt = next((one for one in asked if _spoils(item, one)), None)
        if spoilt is not None:
            what = f'"{item.name}" moves pixels of the shared view, of which "{spoilt.name}" asks where they are'
            cells = _cells(spoilt)
            within = f"; it may move them within {cells} x {cells} cells" if cells else ""
            fix = f'put "{item.name}" before "{spoilt.name}", or give one of them "view": "own"{within}'
            yield item.path, Problem(what=what, fix=fix)
        provider = item.found.provider
        if provider.spatial_answers or provider.asks_cells is not None:
            asked.append(item)


def _cells(item: Selected) -> int | None:
    """Return the side of the grid whose cells a task asks about; None if it asks about more than cells."""
    cells: int | None = None if item.found.provider.spatial_answers else ask(item, "asks_cells")
    return cells


def _spoils(item: Selected, asked: Selected) -> bool:
    """Return whether a task moves what one before it asked about."""
    if not item.found.provider.moves_pixels:
        return False
    cells, within = _cells(asked), ask(item, "moves_within")
    return not (cells and within and within % cells == 0)


def _check_weights(primary: Mapping[str, Selected], pretext: Mapping[str, Selected]) -> Found:
    weighed = [item.keys.weight > 0 for item in primary.values()] + [_computed(item.keys) for item in pretext.values()]
    if weighed and not any(weighed):
        yield (), Problem(what="every task has weight 0, so nothing would be learned", fix="give one a weight above 0")


def _check_supervision(name: str, item: Selected, pretext: Mapping[str, Selected], rows: int) -> Found:
    """Check that some row of some pass supervises a primary task."""
    if any(
        _view(other) != "shared" and _computed(other.keys) and _supervises(other, name) for other in pretext.values()
    ):
        return
    for other in pretext.values():
        keys = other.keys
        whole = max(1, round(keys.portion * rows)) >= rows
        if _view(other) == "shared" and whole and _always(keys) and not _supervises(other, name):
            what = f'no image supervises it: "{other.name}" transforms all of them and does not supervise it'
            fix = f'in "{other.name}" add it to "supervise", set "view": "own", or lower "portion"'
            yield item.path, Problem(what=what, fix=fix)
            return
