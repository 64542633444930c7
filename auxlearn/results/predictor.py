"""`Predictor`: from image files, Pillow images or tensors to answers in words, for whatever computes the outputs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import torch
from PIL import Image
from torch import Tensor

from auxlearn.data import InputShape, read_image
from auxlearn.data.images import convert_image
from auxlearn.errors import DataError, Problem
from auxlearn.learning import Preprocess
from auxlearn.results.answers import Answer, answers

__all__ = ["ImageLike", "Images", "Predictor", "Run"]

ImageLike = str | os.PathLike[str] | Image.Image | Tensor
Images = ImageLike | Sequence[ImageLike] | Mapping[str, Tensor]
# From inputs as the backbone sees them to outputs by `<task>.<output>`.
Run = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


@attrs.frozen(eq=False, kw_only=True)
class Predictor:
    """Prepares images as evaluation did, lets `run` compute, and puts the outputs into words.

    Attributes:
        run: Computes the outputs.
        preprocess: What is done to an image that has the size of the data.
        inputs: The form of each modality, as the data gives it.
        tasks: The facts of each task, from `task_facts`.
        batch_size: Images computed at once.
    """

    run: Run
    preprocess: Preprocess
    inputs: Mapping[str, InputShape]
    tasks: Mapping[str, Mapping[str, Any]]
    batch_size: int = 64

    def predict(self, images: Images) -> list[dict[str, Answer]]:
        """Return the answer of every task for each image.

        Args:
            images: A path, a Pillow image or a tensor, or a list of them; or a batch as a tensor [N, C, H, W]; or
                the tensors of several modalities by name, rows first. Tensors are uint8, or floats in [0, 1].

        Raises:
            DataError: If a file cannot be read as an image; nothing is predicted then.
            ValueError: If a tensor does not have the form of an image.
        """
        if isinstance(images, Mapping):
            whole = self.preprocess({name: _checked(tensor) for name, tensor in images.items()})
            batches: Iterator[Mapping[str, Tensor]] = iter([whole])
        else:
            batches = self._batches(_listed(images))
        return [answer for batch in batches for answer in self.answer(batch)]

    def prepare(self, image: ImageLike) -> Tensor:
        """Return one image as the backbone sees it: floats in [0, 1], [C, H, W]. The errors are those of `predict`."""
        name, shape = self._image()
        if isinstance(image, Tensor):
            pixels = _checked(image, channels=shape.shape[0])
        elif shape.shape[0] != 3:
            what = f"the model reads images of {shape.shape[0]} channels, which files do not have"
            raise DataError(Problem(what=what, fix="give tensors"))
        else:
            side = shape.shape[-1] if shape.shape[-1] == shape.shape[-2] else None
            pixels = convert_image(image, side) if isinstance(image, Image.Image) else read_image(image, side)
        prepared: Tensor = self.preprocess({name: pixels[None]})[name][0]
        return prepared

    @torch.no_grad()
    def answer(self, inputs: Mapping[str, Tensor]) -> list[dict[str, Answer]]:
        """Return the answers for rows as the backbone sees them."""
        return answers(self.tasks, self.run(inputs))

    def answer_images(self, prepared: Sequence[Tensor]) -> list[dict[str, Answer]]:
        """Return the answers for what `prepare` returned."""
        return self.answer({self._image()[0]: torch.stack(list(prepared))}) if prepared else []

    def _batches(self, images: Sequence[ImageLike]) -> Iterator[Mapping[str, Tensor]]:
        for start in range(0, len(images), self.batch_size):
            rows = [self.prepare(image) for image in images[start : start + self.batch_size]]
            yield {self._image()[0]: torch.stack(rows)}

    def _image(self) -> tuple[str, InputShape]:
        """Return the single modality, which must be an image."""
        kinds = {name: shape.kind for name, shape in self.inputs.items()}
        if list(kinds.values()) != ["image"]:
            found = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
            raise DataError(Problem(what=f"the model does not read one image but {found}", fix="give tensors by name"))
        return next(iter(self.inputs.items()))


def _listed(images: ImageLike | Sequence[ImageLike]) -> list[ImageLike]:
    if isinstance(images, Tensor):
        return list(images) if images.ndim == 4 else [images]
    return [images] if isinstance(images, str | os.PathLike | Image.Image) else list(images)


def _checked(tensor: Tensor, channels: int | None = None) -> Tensor:
    """Return `tensor`; ValueError if it does not look like what it should be."""
    if not isinstance(tensor, Tensor):
        raise ValueError(f"Images should be paths, Pillow images or tensors, found {type(tensor).__name__}.")
    if channels is None:
        return tensor
    if tensor.ndim != 3 or tensor.shape[0] != channels or 0 in tensor.shape:
        raise ValueError(f"An image tensor should be [{channels}, H, W], found {list(tensor.shape)}.")
    if tensor.is_floating_point():
        low, high = tensor.aminmax()
        if not (low >= 0 and high <= 1):  # also refuses NaN
            raise ValueError(f"Float images should be in [0, 1], found {low:g} to {high:g}.")
    elif tensor.dtype != torch.uint8:
        raise ValueError(f"An image tensor should be uint8 or floating, found {tensor.dtype}.")
    return tensor
