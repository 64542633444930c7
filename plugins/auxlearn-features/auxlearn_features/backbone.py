"""`FeaturesBackbone`: no network, the feature vectors themselves."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from auxlearn.data import InputShape
from auxlearn.errors import Problem, SpecError, escape, nearest
from auxlearn.learning import Backbone, BuildContext, Feature, Features, FeatureShape, Standardise
from auxlearn_features.params import FeaturesBackboneParams

__all__ = ["FeaturesBackbone"]


class FeaturesBackbone(Backbone):
    """Feature vectors as they are, standardised: the baseline of raw features, without a parameter.

    `pooled` and `source` of each modality are its standardised vector; of several copies the first.

    Args:
        inputs: The form of each modality.

    Examples:
        >>> import torch
        >>> from auxlearn.data import InputShape
        >>> from auxlearn_features import FeaturesBackbone
        >>> shape = InputShape(shape=(2,), dtype="float32", kind="feature", mean=(1.0, 0.0), std=(1.0, 2.0))
        >>> FeaturesBackbone({"audio": shape})({"audio": torch.tensor([[2.0, 4.0]])}).only.pooled
        tensor([[1., 2.]])
    """

    def __init__(self, inputs: Mapping[str, InputShape]) -> None:
        super().__init__()
        self.standardise = nn.ModuleDict({name: Standardise.of(shape) for name, shape in inputs.items()})
        self.shapes = {
            name: FeatureShape(pooled=shape.shape[-1], source=shape.shape[-1]) for name, shape in inputs.items()
        }

    @classmethod
    def build(cls, params: FeaturesBackboneParams, context: BuildContext) -> FeaturesBackbone:
        """Return the backbone for the feature vectors of `context`.

        Raises:
            SpecError: If a modality is not there, or is no feature vector.
        """
        known = {name: shape for name, shape in context.inputs.items() if shape.kind == "feature"}
        if not known:
            what = f"the data has no feature vectors, found {', '.join(context.inputs) or 'no input'}"
            raise SpecError(Problem(where="/type", what=what, fix='data such as `"type": "features"`'))
        for index, name in enumerate(params.modalities):
            if name not in known:
                what = f'the data has no feature vectors "{escape(name)}"'
                where = f"/modalities/{index}"
                raise SpecError(Problem(where=where, what=what, allowed=", ".join(known), meant=nearest(name, known)))
        return cls({name: known[name] for name in params.modalities or known})

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """Return the standardised vectors of `inputs`, each [N, width] or [N, copies, width]."""
        return Features({name: self._one(name, inputs[name]) for name in self.shapes})

    def _one(self, name: str, vectors: Tensor) -> Feature:
        standardised = self.standardise[name](vectors[:, 0] if vectors.ndim == 3 else vectors)
        return Feature(pooled=standardised, source=standardised)
