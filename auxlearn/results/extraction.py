"""`extract`: what frozen networks say about each row of raw data, written once as a table of feature vectors."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from auxlearn.calls import calling, during
from auxlearn.data import Batch, DataContext, DataSource
from auxlearn.data.collate import to_batch
from auxlearn.data.failure import Failure
from auxlearn.data.loader import eval_loader
from auxlearn.data.problems import problem
from auxlearn.errors import AuxlearnError, DataError, Problem, SpecError, escape, nearest
from auxlearn.learning import Backbone, BuildContext, Draws
from auxlearn.learning.forms import require_features
from auxlearn.results.feature_folder import FeatureFolder
from auxlearn.results.windows import Windows
from auxlearn.spec.extraction import Extraction
from auxlearn.spec.models import LOADING, Choice, DataKeys, TrainKeys
from auxlearn.training.build import build_component
from auxlearn.training.devices import make_fabric
from auxlearn.training.failing import naming_plugins

__all__ = ["COMMIT_SECONDS", "Extracted", "Progress", "run_extraction"]

COMMIT_SECONDS = 5.0
"""How much work a process that is killed may lose."""

Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Given how many rows there are, a context manager; its value is called with how many are done since the last call."""


@attrs.frozen(kw_only=True)
class Extracted:
    """What was written.

    Attributes:
        path: The folder.
        rows: How many rows of each split it has.
        widths: The width of the vectors by name.
        missing: How many rows lack each of them.
        section: The section `data` that reads the folder.
        skipped: What is wrong with the rows that were left out.
    """

    path: Path
    rows: Mapping[str, int]
    widths: Mapping[str, int]
    missing: Mapping[str, int]
    section: Mapping[str, Any]
    skipped: Sequence[str]

    @classmethod
    def of(cls, folder: FeatureFolder) -> Extracted:
        """Return what a whole folder holds."""
        return cls(path=folder.path, widths=folder.widths, section=folder.section(), **folder.report())


def run_extraction(
    spec: Extraction, out: str | Path, *, device: str = "auto", skip_bad: int = 0, progress: Progress | None = None
) -> Extracted:
    """Run the networks of `spec` over all rows of its data, or over those that an earlier call has not reached.

    Args:
        spec: What to run over what.
        out: The folder; made if there is none.
        device: `"auto"`, `"cpu"`, `"cuda"` or `"mps"`.
        skip_bad: How many rows that cannot be read may be left out.
        progress: Told how far it is.

    Raises:
        DataError: If more rows than that cannot be read; what is done is kept.
        PluginError: If a network or the data source fails; what is done is kept.
        SpecError: If a network cannot see such rows, or the folder is of another extraction.
    """
    source: DataSource = build_component(spec.data, DataContext(size=spec.data.keys.size, root=spec.root))
    if skip_bad == 0:
        source.check()
    keys = TrainKeys(accelerator=device, precision="32-true")  # type: ignore[arg-type]
    place = make_fabric(keys, unused_parameters=False).device
    networks = {name: _Network(name, one, source, spec.seed, place) for name, one in spec.networks.items()}
    widths = {name: network.width for name, network in networks.items()}
    choices = {"data": spec.data} | {f"extract.{name}": one for name, one in spec.networks.items()}
    with naming_plugins(choices), FeatureFolder(out, _identity(spec, source, networks, place), widths) as folder:
        if not folder.whole:
            with (progress or _silent)(_total(source)) as advance:
                _add_rows(folder, source, networks, keys=spec.data.keys, skip_bad=skip_bad, advance=advance)
            if not any("skipped" not in line for line in folder.lines()):
                raise DataError(problem("", "no row can be read"))
            folder.finish(source.targets, _keys_of(spec))
        return Extracted.of(folder)


def _silent(_total: int) -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(lambda _done: None)


class _Network:
    """One frozen network and the windows that it sees."""

    def __init__(self, name: str, choice: Choice, source: DataSource, seed: int, device: torch.device) -> None:
        self.name = name
        with _pointing(choice):
            self.input = _input_of(choice.keys.input, source)
            self.windows = Windows.of(choice.keys, source.inputs[self.input])
        self.batch_size, self.device = choice.keys.batch_size, device
        form = self.windows.shape
        size = form.shape[-1] if form.kind == "image" else None
        context = BuildContext(inputs={self.input: form}, size=size, batch_size=self.batch_size)
        with Draws(seed=seed, name=f"init/extract/{name}", step=0).seeded():
            self.backbone: Backbone = build_component(choice, context)
        self.width = next(iter(self.backbone.shapes.values())).pooled
        self.backbone.eval().requires_grad_(False).to(device)

    @torch.inference_mode()
    def vector(self, batch: Batch) -> np.ndarray[Any, Any] | None:
        """Return the mean of the features of all windows of the one row in `batch`; None if it lacks the input."""
        there = batch.present.get(f"inputs/{self.input}")
        if there is not None and not bool(there[0]):
            return None
        total, count = torch.zeros(self.width, dtype=torch.float64), 0
        for inputs in self.windows.batches(batch.inputs[self.input][0], self.batch_size):
            given = {self.input: inputs.to(self.device)}
            with calling("extract", self.name, "forward"):
                pooled = require_features(self.backbone(given), self.backbone.shapes, given).only.pooled
            total += pooled.cpu().double().sum(0)
            count += len(pooled)
        return (total / count).float().numpy()

    def digest(self) -> str:
        """Return a hash of the weights."""
        made = hashlib.blake2b(digest_size=16)
        for name, tensor in sorted(self.backbone.state_dict().items()):
            made.update(name.encode())
            made.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return made.hexdigest()


@contextmanager
def _pointing(choice: Choice) -> Iterator[None]:
    """Make the pointers of a `SpecError` those of the whole spec."""
    try:
        yield
    except SpecError as error:
        raise SpecError([attrs.evolve(one, where=choice.pointer + one.where) for one in error.problems]) from None


def _input_of(name: str | None, source: DataSource) -> str:
    if name is None and len(source.inputs) == 1:
        return next(iter(source.inputs))
    if name is None or name not in source.inputs:
        what = "the data has several inputs" if name is None else f'the data has no input "{escape(name)}"'
        meant = None if name is None else nearest(name, source.inputs)
        raise SpecError(Problem(where="/input", what=what, allowed=", ".join(source.inputs), meant=meant))
    return name


def _identity(
    spec: Extraction, source: DataSource, networks: Mapping[str, _Network], device: torch.device
) -> dict[str, Any]:
    """Return what the vectors depend on."""
    data = {name: value for name, value in spec.resolved["data"].items() if name not in LOADING}
    return {
        **spec.resolved,
        "data": data,
        "rows": {split: _length(source, split) for split in source.splits},
        "fingerprint": source.fingerprint(),
        "networks": {name: {"width": one.width, "weights": one.digest()} for name, one in networks.items()},
        "plugins": dict(spec.plugins),
        "device": device.type,
    }


def _length(source: DataSource, split: str) -> int:
    return len(source.dataset(split))  # type: ignore[arg-type]


def _total(source: DataSource) -> int:
    return sum(_length(source, split) for split in source.splits)


def _keys_of(spec: Extraction) -> dict[str, Any]:
    """Return the engine's keys of `data` that the table of vectors shall have too."""
    names = {field.name for field in attrs.fields(DataKeys)} - {"size", *LOADING}
    return {name: value for name, value in spec.given.items() if name in names}


def _add_rows(
    folder: FeatureFolder,
    source: DataSource,
    networks: Mapping[str, _Network],
    *,
    keys: DataKeys,
    skip_bad: int,
    advance: Callable[[int], None],
) -> None:
    """Add the rows that the folder has not yet, in their order."""
    advance(folder.rows)
    skipped = sum("skipped" in line for line in folder.lines())
    committed = time.monotonic()
    for split, index, found in _rows(source, folder.rows, keys):
        if isinstance(found, Failure):
            skipped += 1
            if skipped > skip_bad:
                raise _too_many(found, skipped)
            folder.add({"skipped": str(found.problems[0])}, {})
        else:
            with during(f"in row {source.name(split, index)}; what is done is kept"):
                vectors = {name: network.vector(found) for name, network in networks.items()}
            folder.add(_line(source, split, index, found), _finite(vectors, source.name(split, index)))
        advance(1)
        if time.monotonic() - committed >= COMMIT_SECONDS:
            folder.commit()
            committed = time.monotonic()


def _rows(source: DataSource, done: int, keys: DataKeys) -> Iterator[tuple[str, int, Batch | Failure]]:
    """Yield each row after the first `done`: its split, its index there, and itself or what is wrong with it."""
    for split in source.splits:
        length = _length(source, split)
        rows, done = range(min(done, length), length), max(0, done - length)
        if rows:
            loader = eval_loader(source, split, 1, rows=rows, workers=keys.workers, timeout=keys.timeout)
            for index, columns in zip(rows, loader.columns(), strict=True):
                yield split, index, columns if isinstance(columns, Failure) else to_batch(columns)


def _too_many(found: Failure, skipped: int) -> AuxlearnError:
    first, *more = found.problems
    fix = first.fix or f"--skip-bad {skipped} leaves it out; what is done is kept"
    return attrs.evolve(found, problems=(attrs.evolve(first, fix=fix), *more)).error()


def _line(source: DataSource, split: str, index: int, row: Batch) -> dict[str, Any]:
    """Return what the table says about a row."""
    groups = source.groups(split)
    targets = {name: values[0].tolist() if bool(row.has(name)[0]) else None for name, values in row.targets.items()}
    return {
        "id": source.name(split, index),
        "split": split,
        "group": None if groups is None else groups[index],
        "targets": targets,
    }


def _finite(vectors: Mapping[str, Any], row: str) -> dict[str, np.ndarray[Any, Any]]:
    found = {name: vector for name, vector in vectors.items() if vector is not None}
    for name, vector in found.items():
        if not np.isfinite(vector).all():
            raise DataError(problem(row, f"the features of `{name}` are not finite"))
    return found
