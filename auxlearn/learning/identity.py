"""`Identity`: the augmentation that changes nothing."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from auxlearn.learning.context import BuildContext
from auxlearn.learning.draws import Draws
from auxlearn.learning.interfaces import Augmentation
from auxlearn.learning.motion import Motion
from auxlearn.learning.preprocess import Preprocess

__all__ = ["Identity"]


class Identity(Augmentation):
    """Resize images and scale them to [0, 1], in training as in evaluation.

    Args:
        preprocess: What is done to every row.
    """

    def __init__(self, preprocess: Preprocess) -> None:
        super().__init__()
        self.preprocess = preprocess

    @classmethod
    def build(cls, context: BuildContext) -> Identity:
        """Return the identity for the modalities and the size that `context` names."""
        images = tuple(name for name, shape in context.inputs.items() if shape.kind == "image")
        return cls(Preprocess(size=context.size, modalities=images))

    def forward(self, inputs: Mapping[str, Tensor], draws: Draws) -> tuple[Mapping[str, Tensor], Motion]:
        """Return the preprocessed inputs, and no motion but that of the crop and the resize."""
        images = [inputs[name] for name in self.preprocess.modalities if name in inputs]
        if images:
            return self.preprocess(inputs), self.preprocess.motion(images[0])
        first = next(iter(inputs.values()))
        return self.preprocess(inputs), Motion.still(len(first), first.device)
