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
                the tensors of several modalities by name, rows first. Images are uint8, or floats in [0, 1]; a feature
                vector of NaN stands for a modality that the row lacks.

        Raises:
            DataError: If a file cannot be read as an image; nothing is predicted then.
            ValueError: If a tensor does not have the form of its modality.
        """
        batches = iter([self.prepare_rows(images)]) if isinstance(images, Mapping) else self._batches(_listed(images))
        return [answer for batch in batches for answer in self.answer(batch)]

    def prepare(self, image: ImageLike) -> Tensor:
        """Return one image as the backbone sees it: floats in [0, 1], [C, H, W]. The errors are those of `predict`."""
        name, shape = self.image_input()
        if isinstance(image, Tensor):
            pixels = _checked(image, "C, H, W", shape.shape[0])
        else:
            pixels = _decoded(image, shape.shape)
        prepared: Tensor = self.preprocess({name: pixels[None]})[name][0]
        return prepared

    @torch.no_grad()
    def answer(self, inputs: Mapping[str, Tensor]) -> list[dict[str, Answer]]:
        """Return the answers for rows as the backbone sees them."""
        return answers(self.tasks, self.run(inputs))

    def answer_images(self, prepared: Sequence[Tensor]) -> list[dict[str, Answer]]:
        """Return the answers for what `prepare` returned."""
        return self.answer({self.image_input()[0]: torch.stack(list(prepared))}) if prepared else []

    def prepare_rows(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the tensors of all modalities, rows first, as the backbone sees them; errors as of `predict`."""
        if set(inputs) != set(self.inputs):
            raise ValueError(f"Inputs should be {sorted(self.inputs)}, found {sorted(inputs)}.")
        checked = {
            name: _checked(inputs[name], "N, C, H, W", one.shape[0])
            if one.kind == "image"
            else _vectors(name, inputs[name], one)
            for name, one in self.inputs.items()
        }
        if len({len(tensor) for tensor in checked.values()}) > 1:
            found = ", ".join(f"{name} {len(tensor)}" for name, tensor in checked.items())
            raise ValueError(f"All inputs should have the same number of rows, found {found}.")
        whole: Mapping[str, Tensor] = self.preprocess(checked)
        return whole

    def _batches(self, images: Sequence[ImageLike]) -> Iterator[Mapping[str, Tensor]]:
        for start in range(0, len(images), self.batch_size):
            rows = [self.prepare(image) for image in images[start : start + self.batch_size]]
            yield {self.image_input()[0]: torch.stack(rows)}

    def image_input(self) -> tuple[str, InputShape]:
        """Return the single modality; DataError if it is no image, or there are several."""
        kinds = {name: shape.kind for name, shape in self.inputs.items()}
        if list(kinds.values()) != ["image"]:
            found = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
            raise DataError(
                Problem(
                    what=f"the model does not read one image but {found}",
                    fix="give rows of a data source, or tensors by name",
                )
            )
        return next(iter(self.inputs.items()))


def _listed(images: ImageLike | Sequence[ImageLike]) -> list[ImageLike]:
    if isinstance(images, Tensor):
        return list(images) if images.ndim == 4 else [images]
    return [images] if isinstance(images, str | os.PathLike | Image.Image) else list(images)


def _decoded(image: ImageLike, shape: tuple[int, ...]) -> Tensor:
    """Return the pixels of a file or a Pillow image, at the size `shape` of the data's images."""
    channels, height, width = shape
    if channels != 3:
        what = f"the model reads images of {channels} channels, which files do not have"
        raise DataError(Problem(what=what, fix="give tensors", exit_code=4))
    side = width if width == height else None
    if isinstance(image, Image.Image):
        return convert_image(image, side)
    if not isinstance(image, str | os.PathLike):
        raise ValueError(f"Images should be paths, Pillow images or tensors, found {type(image).__name__}.")
    return read_image(image, side)


def _checked(tensor: Tensor, form: str, channels: int) -> Tensor:
    """Return `tensor`, which should be an image or a batch of them; ValueError if it does not look like that."""
    dimensions = form.count(",") + 1
    if tensor.ndim != dimensions or tensor.shape[-3] != channels or 0 in tensor.shape:
        raise ValueError(f"Image tensors should be [{form}] with {channels} channels, found {list(tensor.shape)}.")
    if tensor.dtype == torch.uint8:
        return tensor
    if not tensor.is_floating_point():
        raise ValueError(f"Image tensors should be uint8 or floating, found {tensor.dtype}.")
    low, high = tensor.aminmax()
    if not (low >= 0 and high <= 1):  # also refuses NaN
        raise ValueError(f"Float images should be in [0, 1], found {low:g} to {high:g}.")
    return tensor.float()


def _vectors(name: str, tensor: Tensor, form: InputShape) -> Tensor:
    """Return feature vectors, the mean in place of each row of NaN; ValueError if they are not of this form."""
    if tuple(tensor.shape[1:]) != form.shape:
        shape = ", ".join(["N", *map(str, form.shape)])
        raise ValueError(f"Feature `{name}` should be [{shape}], found {list(tensor.shape)}.")
    tensor = tensor.to(getattr(torch, form.dtype))
    if bool(tensor.isfinite().all()):
        return tensor
    lacking = tensor.isnan().flatten(1).all(1)
    if not bool(tensor[~lacking].isfinite().all()):
        raise ValueError(f"Feature `{name}` should be finite, or NaN as a whole for a row that lacks it.")
    if not form.mean:
        raise ValueError(f"Feature `{name}` should be finite: its mean, which stands for a missing one, is not known.")
    mean = torch.tensor(form.mean, dtype=tensor.dtype, device=tensor.device)
    return torch.where(lacking.view(-1, *(1 for _ in form.shape)), mean, tensor)
