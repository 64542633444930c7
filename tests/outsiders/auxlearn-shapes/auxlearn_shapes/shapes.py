"""`Shapes`: an ordinary torch dataset, which knows nothing of auxlearn."""

from __future__ import annotations

import random

from PIL import Image, ImageDraw
from torch.utils.data import Dataset

from auxlearn_shapes.provider import CLASSES, SIDE

__all__ = ["Shapes"]


class Shapes(Dataset[tuple[Image.Image, int]]):
    """Drawings of a circle, a square or a triangle, each of another size and colour, at another place.

    Args:
        rows: How many.
        first: Number of the first drawing: other numbers are other drawings.

    Examples:
        >>> image, label = Shapes(rows=3)[2]
        >>> image.size, CLASSES[label]
        ((64, 64), 'triangle')
    """

    def __init__(self, rows: int, *, first: int = 0) -> None:
        self.rows, self.first = rows, first

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        if not 0 <= index < self.rows:
            raise IndexError(index)
        chance, label = random.Random(self.first + index), index % len(CLASSES)
        dark, bright = (tuple(chance.randrange(low, low + 100) for _ in range(3)) for low in (0, 156))
        radius = chance.randrange(10, 24)
        x, y = (chance.randrange(radius, SIDE - radius) for _ in range(2))
        image = Image.new("RGB", (SIDE, SIDE), dark)
        draw = ImageDraw.Draw(image)
        if CLASSES[label] == "circle":
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=bright)
        else:
            sides = 4 if CLASSES[label] == "square" else 3
            draw.regular_polygon((x, y, radius), sides, rotation=chance.randrange(360), fill=bright)
        return image, label
