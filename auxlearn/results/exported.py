"""`LoadedExport`: an export, opened for use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

from auxlearn.errors import AuxlearnError, ExportError, Problem, escape
from auxlearn.registry import Registry, discover
from auxlearn.results.answers import Answer
from auxlearn.results.description import inputs_of, preprocess_of, read_description
from auxlearn.results.export import CHECKSUMS, make_exporter
from auxlearn.results.exporter import Opened
from auxlearn.results.predictor import Images, Predictor

__all__ = ["LoadedExport"]


@attrs.frozen(eq=False, kw_only=True)
class LoadedExport:
    """A folder that `export` has written. `LoadedExport.open` makes it.

    Attributes:
        path: The folder.
        description: The content of its `preprocess.json`.
        opened: The network.
    """

    path: Path
    description: Mapping[str, Any]
    opened: Opened

    @classmethod
    def open(
        cls, path: str | Path, *, plugins: Sequence[ModuleType] = (), registry: Registry | None = None
    ) -> LoadedExport:
        """Open an export after comparing its files with their checksums.

        The checksums tell damage, not intent: a `.pt2` program is code, so open only those of people you trust.

        Args:
            path: The folder, or a file in it.
            plugins: Modules with hooks, besides the installed plugins.
            registry: What exists, instead of what discovery finds.

        Raises:
            ExportError: If it is no export, or a file is missing or is not what was written.
            PluginError: If a plugin that offers the format, or a part of the model, is missing.
        """
        folder = Path(path) if Path(path).is_dir() else Path(path).parent
        description = read_description(folder)
        _check_sums(folder)
        exporter = make_exporter(description["format"], registry or discover(plugins))
        try:
            opened = exporter.open(folder, description)
        except AuxlearnError:
            raise
        except Exception as error:
            what = f"cannot be opened: {type(error).__name__}: {escape(error, 300)}"
            raise ExportError(Problem(where=str(folder), what=what)) from error
        return cls(path=folder, description=description, opened=opened)

    def predict(self, images: Images) -> list[dict[str, Answer]]:
        """Return what each task says about each image, as `TrainedModel.predict` does."""
        return self.predictor().predict(images)

    def predictor(self, batch_size: int = 64) -> Predictor:
        """Return what `predict` uses, for image by image work.

        Raises:
            ExportError: If the export is a backbone alone.
        """
        if not self.description["tasks"]:
            what = "there is a backbone only, which predicts nothing"
            raise ExportError(Problem(where=str(self.path), what=what, fix="auxlearn export --part model"))
        return Predictor(
            run=self.opened.run,
            preprocess=preprocess_of(self.description),
            inputs=inputs_of(self.description),
            tasks=self.description["tasks"],
            batch_size=batch_size,
        )


def _check_sums(folder: Path) -> None:
    path = folder / CHECKSUMS
    try:
        sums = json.loads(path.read_bytes())
        problems = [_problem(folder / Path(name).name, digest) for name, digest in sums.items()]
    except (OSError, ValueError, AttributeError) as error:
        raise ExportError(Problem(where=str(path), what=f"cannot be read: {error}")) from None
    present = {file.name for file in folder.iterdir() if file.is_file()}
    extra = [Problem(where=str(folder / name), what="has no checksum") for name in present - {CHECKSUMS, *sums}]
    wrong = [problem for problem in (*problems, *extra) if problem is not None]
    if wrong:
        raise ExportError(wrong)


def _problem(file: Path, digest: Any) -> Problem | None:
    if not file.is_file():
        return Problem(where=str(file), what="the file is missing", exit_code=9)
    if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
        return Problem(where=str(file), what="its content is not what was written (SHA-256 differs)", exit_code=9)
    return None
