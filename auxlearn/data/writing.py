"""`write_table`: any data source of images as a folder of pictures with a manifest, checksums and its data section."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from PIL import Image

from auxlearn.data.columns import columns_of
from auxlearn.data.pictures import Pictures, Treatment
from auxlearn.data.problems import problem
from auxlearn.data.source import DataSource
from auxlearn.errors import AuxlearnError, DataError, Problem, SpecError, escape
from auxlearn.files import require_replaceable, telling_refusals

__all__ = ["MANIFEST", "SECTION", "Written", "require_writable", "write_table"]

MANIFEST, SECTION = "manifest.csv", "data.json"
_AT_ONCE = 512  # rows that are handed to the threads together


@attrs.frozen(kw_only=True)
class Written:
    """What became of a data source.

    Attributes:
        rows: The rows of each split.
        section: The section `data` of a spec beside the manifest.
        skipped: What is wrong with the rows that were left out.
    """

    rows: Mapping[str, int]
    section: Mapping[str, Any]
    skipped: Sequence[Problem]


@attrs.frozen(kw_only=True)
class _Row:
    """One row that has been written."""

    path: str
    split: str
    group: str
    source: str
    sha256: str
    labels: Mapping[str, Any]


_OWN = ("path", "split", "group", "source", "sha256")


def require_writable(source: DataSource, folder: str | os.PathLike[str], treatment: Treatment) -> None:
    """Refuse what could only fail, or be wrong, after hours of work.

    Raises:
        DataError: If the rows are not one image each, or a target cannot be written.
        SpecError: If something is in the way, or faces would be turned whose angles are labels.
    """
    if list(source.inputs) != ["image"] or source.inputs["image"].kind != "image":
        found = ", ".join(f"{name} ({one.kind})" for name, one in source.inputs.items()) or "none"
        raise DataError(problem("", f"the rows have other inputs than one image: {found}", allowed="image"))
    columns_of(source.targets, [])
    angles = [name for name, info in source.targets.items() if info.unit == "degree" or "roll" in info.names]
    if treatment.align and angles:
        what = f"aligning turns the faces, and the angles of {escape(', '.join(angles))} would not be theirs any more"
        raise SpecError(Problem(what=what, fix="--crop landmarks"))
    _require_free(Path(folder))


def _require_free(folder: Path) -> None:
    empty = folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())
    if os.path.lexists(folder) and not empty:
        raise SpecError(Problem(where=escape(folder), what="is there already", fix="remove it, or write elsewhere"))
    require_replaceable(folder)


def write_table(
    source: DataSource,
    folder: str | os.PathLike[str],
    *,
    treatment: Treatment,
    keys: Mapping[str, Any],
    quality: int | None = None,
    workers: int = 1,
    skip_bad: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> Written:
    """Write the rows of `source` to a new folder: pictures, `manifest.csv`, `data.json`, `README.md`.

    The folder appears when it is complete; until then its files are in one beside it, which is removed if anything goes
    wrong. Threads share the work: nearly all of it is decoding and encoding, which Pillow does in parallel.

    Args:
        source: The data, with pictures in their own size.
        folder: Where to; nothing may be there but an empty folder.
        treatment: What is done to the pictures.
        keys: The engine's keys for the section that is written, e.g. `{"split": {"val": 0.1}}`.
        quality: Write JPEG of this quality (1 to 95) without colour subsampling; None: PNG, which keeps every pixel.
        workers: Threads.
        skip_bad: How many rows that cannot be read may be left out.
        advance: Called with the number of rows done since the last call.

    Raises:
        DataError: With every row that cannot be read, if they are more than `skip_bad`; with the first ones, if not one
            row can; or with what cannot be written.
        SpecError: If something is in the way, or the treatment would make labels wrong.
        EnvironmentProblem: If the disk refuses.
    """
    require_writable(source, folder, treatment)
    target = Path(folder)
    building = target.absolute().with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with telling_refusals(target):
            building.mkdir(parents=True)
            save = partial(_save, building, quality)
            rows, problems = _write_rows(source, treatment, save, workers, advance, give_up=max(skip_bad + 1, _AT_ONCE))
            if len(problems) > skip_bad or not rows:
                raise DataError(_with_advice(problems, rows))
            section = _write_texts(building, source, rows, {**keys, **_fit_of(treatment)})
            counts = {split: sum(row.split == split for row in rows) for split in source.splits}
            _write_readme(building, counts, section, treatment, problems)
            os.rename(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return Written(rows=counts, section=section, skipped=problems)


def _with_advice(problems: Sequence[Problem], rows: Sequence[_Row]) -> list[Problem]:
    """Return the problems after one that sums them up: of many only the first are shown."""
    if not rows:
        return [problem("", "no row can be written"), *problems]
    fix = f"--skip-bad {len(problems)} leaves them out"
    return [problem("", f"{len(problems)} of {len(problems) + len(rows)} rows cannot be read", fix=fix), *problems]


def _write_rows(
    source: DataSource,
    treatment: Treatment,
    save: Callable[[Image.Image, str], tuple[str, str]],
    workers: int,
    advance: Callable[[int], None],
    *,
    give_up: int,
) -> tuple[list[_Row], list[Problem]]:
    """Write all pictures; return the rows in order, and what is wrong with the others.

    Raises:
        DataError: If there are `give_up` problems and not one row: then a setting is wrong, not the data.
    """
    rows: list[_Row] = []
    problems: list[Problem] = []
    with ThreadPoolExecutor(workers) as threads:
        for split in source.splits:
            part = _Split(source, split, Pictures(source, split, treatment), save)
            for indices in part.batches():
                for made in threads.map(part.write, indices):
                    if isinstance(made, _Row):
                        rows.append(made)
                    else:
                        problems += made
                    advance(1)
                if not rows and len(problems) >= give_up:
                    what = f"none of the first {len(problems)} rows can be written, and the others were not tried"
                    raise DataError([problem("", what), *problems])
    return rows, problems


class _Split:
    """Writes the rows of one split, each on its own."""

    def __init__(
        self, source: DataSource, split: str, pictures: Pictures, save: Callable[[Image.Image, str], tuple[str, str]]
    ) -> None:
        self.source, self.split, self.pictures, self.save = source, split, pictures, save
        self.groups = source.groups(split)

    def batches(self) -> Iterator[range]:
        count = len(self.pictures)
        return (range(start, min(start + _AT_ONCE, count)) for start in range(0, count, _AT_ONCE))

    def write(self, index: int) -> _Row | Sequence[Problem]:
        """Return the row, or what is wrong with it."""
        try:
            picture, labels = self.pictures.read(index)
        except AuxlearnError as error:
            return error.problems
        name = self.source.name(self.split, index)
        for target, info in self.source.targets.items():
            label = labels.get(target)
            if info.kind == "class" and label is not None and not 0 <= int(label) < len(info.names):
                return [problem(name, f"`{target}` is {int(label)}, and there are {len(info.names)} classes")]
        path, sha256 = self.save(picture, f"images/{self.split}/{index // 1000:03d}/{index:06d}")
        return _Row(
            path=path,
            split=self.split,
            group=(None if self.groups is None else self.groups[index]) or "",
            source=name,
            sha256=sha256,
            labels=labels,
        )


def _save(folder: Path, quality: int | None, picture: Image.Image, stem: str) -> tuple[str, str]:
    """Write a picture; return its path in the folder, and its checksum."""
    content = io.BytesIO()
    if quality is None:
        picture.save(content, "PNG")
    else:
        picture.save(content, "JPEG", quality=quality, subsampling="4:4:4")
    path = f"{stem}.{'png' if quality is None else 'jpg'}"
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(content.getvalue())
    return path, hashlib.sha256(content.getvalue()).hexdigest()


def _write_texts(folder: Path, source: DataSource, rows: Sequence[_Row], keys: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write the manifest and the section, and return the section."""
    labels = columns_of(source.targets, [row.labels for row in rows])
    own = {name: name if name not in labels.cells else f"image_{name}" for name in _OWN}
    grouped = any(row.group for row in rows)
    if not grouped:
        del own["group"]
    with (folder / MANIFEST).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*own.values(), *labels.cells])
        for index, row in enumerate(rows):
            table.writerow([*(getattr(row, name) for name in own), *(cells[index] for cells in labels.cells.values())])
    section = {
        "type": "table",
        "path": MANIFEST,
        "path_column": own["path"],
        "split_column": own["split"],
        **({"group_column": own["group"]} if grouped else {}),
        "checksum_column": own["sha256"],
        "targets": labels.targets,
        **keys,
    }
    (folder / SECTION).write_text(json.dumps({"data": section}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return section


def _fit_of(treatment: Treatment) -> dict[str, Any]:
    return {} if treatment.fit == "crop" else {"fit": treatment.fit}


def _write_readme(
    folder: Path, counts: Mapping[str, int], section: Mapping[str, Any], how: Treatment, problems: Sequence[Problem]
) -> None:
    done = {
        "aligned by their landmarks to the template of ArcFace (arXiv 1801.07698)": how.align,
        f"cut to a square round the {how.crop}, margin {how.margin:g}": how.crop is not None and not how.align,
        f"{how.size} x {how.size} pixels": how.size is not None,
    }
    lines = [
        "# Images with labels",
        "",
        f"Rows: {', '.join(f'{split} {count}' for split, count in counts.items())}.",
        f"Targets: {', '.join(section['targets']) or 'none'}.",
        f"Pictures: {'; '.join(what for what, is_so in done.items() if is_so) or 'as they were'}.",
        "",
        f"`{MANIFEST}` has a row for each picture: labels, where it came from (`source`), its sha256. `{SECTION}` has",
        "the section `data` of a spec; in a spec that stands elsewhere, give the path of the manifest from there.",
        *(["", f"Left out, as they cannot be read ({len(problems)}):", ""] if problems else []),
        *(f"- {one}" for one in problems),
    ]
    (folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
