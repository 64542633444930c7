"""A contact sheet: random rows of a data source, each class in a line of its own."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from auxlearn.data.divide import class_labels
from auxlearn.data.overview import some_rows
from auxlearn.data.pictures import Pictures, Treatment
from auxlearn.data.source import DataSource
from auxlearn.errors import DataError, escape

__all__ = ["contact_sheet"]

_TILE, _GAP, _LINE = 96, 6, 14  # pixels
_HEAD = 150  # width of the column with the names of the classes
_INK, _PALE, _GROUND = (30, 30, 30), (120, 120, 120), (255, 255, 255)
_NONE = "no label"

Row = tuple[str, int]


def contact_sheet(source: DataSource, *, target: str | None, across: int = 8, seed: int = 0) -> Image.Image:
    """Return a picture with up to `across` random rows of each class, with their splits and names.

    Args:
        source: The data.
        target: The class target whose classes make the lines; None: rows of each split instead.
        across: Rows of each line.
        seed: Of the choice.

    Examples:
        >>> from auxlearn.data.sheet import contact_sheet
        >>> from auxlearn.testing.fakes import TinySource
        >>> contact_sheet(TinySource(rows=6), target="kind", across=4).size
        (570, 244)
    """
    lines = _by_split(source) if target is None else _by_class(source, target)
    chosen = {name: some_rows(rows, across, seed, name) for name, rows in lines.items() if rows}
    pictures = {split: Pictures(source, split, Treatment(size=_TILE)) for split in source.splits}
    high = _TILE + _LINE + 2 * _GAP
    sheet = Image.new("RGB", (_HEAD + across * (_TILE + _GAP) + 2 * _GAP, max(1, len(chosen)) * high), _GROUND)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for number, (name, rows) in enumerate(chosen.items()):
        top = number * high + _GAP
        pen.text((_GAP, top + _TILE // 2 - _LINE), _fitting(name, _HEAD - 2 * _GAP, pen, font), _INK, font)
        pen.text((_GAP, top + _TILE // 2), f"{len(lines[name])} rows", _PALE, font)
        for place, (split, index) in enumerate(rows):
            left = _HEAD + place * (_TILE + _GAP)
            sheet.paste(_tile(pictures[split], index), (left, top))
            caption = source.name(split, index)
            pen.text((left, top + _TILE + 1), _fitting(caption, _TILE, pen, font), _PALE, font)
    return sheet


def _by_split(source: DataSource) -> dict[str, Sequence[Row]]:
    return {
        split: [(split, index) for index in range(len(source.dataset(split)))]  # type: ignore[arg-type]
        for split in source.splits
    }


def _by_class(source: DataSource, target: str) -> dict[str, Sequence[Row]]:
    names = source.targets[target].names
    lines: dict[str, list[Row]] = {name: [] for name in (*names, _NONE)}
    for split in source.splits:
        for index, label in enumerate(class_labels(source, split)[target]):
            lines[_NONE if label is None else names[label]].append((split, index))
    return dict(lines)


def _tile(pictures: Pictures, index: int) -> Image.Image:
    try:
        return pictures.read(index)[0]
    except DataError:
        tile = Image.new("RGB", (_TILE, _TILE), _PALE)
        ImageDraw.Draw(tile).text((_GAP, _TILE // 2 - _LINE), "unreadable", _GROUND, ImageFont.load_default(11))
        return tile


def _fitting(
    text: str, width: int, pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    """Return the end of `text` that is no wider than `width`: names differ at their ends."""
    text = escape(text, 200)
    if pen.textlength(text, font) <= width:
        return text
    while text and pen.textlength(f"...{text}", font) > width:
        text = text[1:]
    return f"...{text}"
