"""`Windows`: one row of any length as the inputs that a frozen network sees, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

from auxlearn.data import InputShape
from auxlearn.errors import Problem, SpecError
from auxlearn.learning import scale_pixels
from auxlearn.spec.extraction import ExtractKeys

__all__ = ["Windows"]

_COLOURS = (1, 3)


@attrs.frozen(kw_only=True)
class Windows:
    """Cuts a row into elements or windows along its time, the axis whose length differs from row to row.

    With `window` null, each element is an input by itself, e.g. a frame [3, H, W] of a video [T, 3, H, W]. A window
    keeps the axis: [window, 3, H, W]. Windows begin every `stride` elements; the last one ends with the row, so that
    every element is in one if they leave no gaps, and each has the same length. A row shorter than a window is repeated
    from its beginning. A row without such an axis, e.g. an image, is one input.

    Pixels, bytes with three axes or more, become floats in [0, 1], and are resized to `size`.

    Attributes:
        form: The form of a row.
        every: Take every n-th element.
        window: Elements of a window, `"all"` for the whole row, None for single elements.
        stride: Elements from the beginning of a window to that of the next; None: those of a window.
        size: Side to which the last two axes are resized, or None.

    Examples:
        >>> import torch
        >>> from auxlearn.data import InputShape
        >>> from auxlearn.results.windows import Windows
        >>> windows = Windows(form=InputShape(shape=(-1,), dtype="float32", kind="feature"), window=4, stride=3)
        >>> [batch.tolist() for batch in windows.batches(torch.arange(8.0), 2)]
        [[[0.0, 1.0, 2.0, 3.0], [3.0, 4.0, 5.0, 6.0]], [[4.0, 5.0, 6.0, 7.0]]]
    """

    form: InputShape
    every: int = 1
    window: int | Literal["all"] | None = None
    stride: int | None = None
    size: int | None = None

    @classmethod
    def of(cls, keys: ExtractKeys, form: InputShape) -> Windows:
        """Return the windows that `keys` ask for of rows of `form`.

        Raises:
            SpecError: If rows of this form cannot be cut so.
        """
        windows = cls(form=form, every=keys.every, window=keys.window, stride=keys.stride, size=keys.size)
        if windows.axis is None:
            for name, asked in (("every", keys.every != 1), ("window", isinstance(keys.window, int))):
                if asked:
                    what = f"rows of shape {form.shape} have one length, and no axis to be cut along"
                    fix = f"leave `{name}` out, or give the data no fixed length"
                    raise SpecError(Problem(where=f"/{name}", what=what, fix=fix))
        if keys.size is not None and not windows._has_pixels:
            what = f"rows of shape {form.shape} are no pictures that could be resized"
            raise SpecError(Problem(where="/size", what=what, fix="leave `size` out"))
        return windows

    @property
    def axis(self) -> int | None:
        """The axis of time in a row, None without."""
        return self.form.shape.index(-1) if -1 in self.form.shape else None

    @property
    def shape(self) -> InputShape:
        """The form of one input of the network."""
        lengths = self._lengths
        if self.size is not None:
            lengths[-2:] = [self.size, self.size]
        picture = len(lengths) == 3 and lengths[0] in _COLOURS and -1 not in lengths
        dtype = "float32" if self._has_pixels else self.form.dtype
        return InputShape(shape=tuple(lengths), dtype=dtype, kind="image" if picture else "feature")

    def count(self, length: int) -> int:
        """Return how many inputs a row of `length` elements makes.

        >>> from auxlearn.data import InputShape
        >>> windows = Windows(form=InputShape(shape=(-1,)), every=2, window=3)
        >>> [windows.count(length) for length in (1, 5, 6, 7)]
        [1, 1, 1, 2]
        """
        taken = -(-length // self.every)
        if self.window is None:
            return taken
        if self.window == "all" or taken <= self.window:
            return 1
        return 1 + -(-(taken - self.window) // (self.stride or self.window))

    def batches(self, row: Tensor, batch_size: int) -> Iterator[Tensor]:
        """Yield the inputs of a row in order, up to `batch_size` at a time."""
        if self.axis is None:
            yield self._prepared(row[None])
            return
        row = row.movedim(self.axis, 0)[:: self.every]
        first = self._first(len(row))
        for start in range(0, len(first), batch_size):
            yield self._prepared(self._cut(row, first[start : start + batch_size]))

    def _first(self, length: int) -> Tensor:
        """Return with which element each input begins."""
        number = self.count(length * self.every)
        if self.window is None:
            return torch.arange(number)
        if self.window == "all":
            return torch.zeros(1, dtype=torch.int64)
        last = max(0, length - self.window)
        return (torch.arange(number) * (self.stride or self.window)).clamp(max=last)

    def _cut(self, row: Tensor, first: Tensor) -> Tensor:
        """Return the inputs that begin at `first`, of a row whose time is its first axis."""
        if self.window is None:
            return row[first]
        length = len(row) if self.window == "all" else self.window
        places = (first[:, None] + torch.arange(length)) % len(row)
        return row[places].movedim(1, (self.axis or 0) + 1)

    def _prepared(self, inputs: Tensor) -> Tensor:
        if not self._has_pixels:
            return inputs
        inputs = scale_pixels(inputs)
        if self.size is None or inputs.shape[-2:] == (self.size, self.size):
            return inputs
        flat = inputs.flatten(0, -4)
        side = (self.size, self.size)
        flat = F.interpolate(flat, size=side, mode="bilinear", antialias=True, align_corners=False)
        return flat.reshape(*inputs.shape[:-2], *side)

    @property
    def _lengths(self) -> list[int]:
        """The lengths of the axes of one input, before pictures are resized."""
        lengths = list(self.form.shape)
        if self.axis is not None and self.window is None:
            del lengths[self.axis]
        elif self.axis is not None and self.window != "all":
            lengths[self.axis] = int(self.window or 0)
        return lengths

    @property
    def _has_pixels(self) -> bool:
        """Whether an input ends with the two axes of a picture."""
        lengths = self._lengths
        return len(lengths) >= 3 and -1 not in lengths[-2:]
