"""`GatedMultimodal`: a gated embedding unit for each modality, on precomputed features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auxlearn.learning import Backbone, Feature, Features, FeatureShape, Standardise

__all__ = ["GatedEmbedding", "GatedMultimodal"]


class GatedEmbedding(nn.Module):
    r"""A gated embedding unit, as ConCluGen has it.

    $$ z = \mathrm{ReLU}(W_1 x + b_1), \quad g = z \circ \sigma(W_g z + b_g), \quad r = \mathrm{ReLU}(W_2 g + b_2). $$

    The gate is that of "Learning a Text-Video Embedding from Incomplete and Heterogeneous Data" (Miech, Laptev, Sivic,
    [arXiv 1804.02516](https://arxiv.org/abs/1804.02516)), whose unit has neither the two ReLU nor the second layer and
    ends in a normalisation; both are of the code of ConCluGen (Halawa, Blume et al.,
    [arXiv 2404.10904](https://arxiv.org/abs/2404.10904)).

    Args:
        width: Width of the input.
        out: Width of the output.

    Examples:
        >>> import torch
        >>> from auxlearn_conclugen import GatedEmbedding
        >>> GatedEmbedding(5, 3)(torch.rand(2, 5)).shape
        torch.Size([2, 3])
    """

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, out)
        self.gate = nn.Linear(out, out)
        self.fc2 = nn.Linear(out, out)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the embedding [N, out] of vectors [N, width]."""
        hidden = F.relu(self.fc1(vectors))
        return F.relu(self.fc2(hidden * torch.sigmoid(self.gate(hidden))))


class GatedMultimodal(Backbone):
    """One gated embedding unit for each modality of precomputed features: the representation heads of ConCluGen.

    "Multi-Task Multi-Modal Self-Supervised Learning for Facial Expression Recognition" (Halawa, Blume, Bideau, Maier,
    Abdel Rahman, Hellwich, [arXiv 2404.10904](https://arxiv.org/abs/2404.10904)). The networks that made the features
    are no part of it. A modality may be joined from several inputs, whose vectors are concatenated: the paper's video
    is what a 2D and a 3D network say of it.

    Of an input with several copies of each row, [N, k, d], the first is read. `Feature.source` is the vector as the
    unit sees it: standardised, where a standardisation is given, which the authors' code does not do.

    Args:
        units: The network of each modality: from its vectors [N, d] to its representation.
        shapes: The form of the features of each modality, in the same order, with the `inputs` that are joined.
        standardise: How each input is standardised, by its name; those not named are left as they are.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import FeatureShape
        >>> from auxlearn_conclugen import GatedEmbedding, GatedMultimodal
        >>> shapes = {"video": FeatureShape(pooled=8, source=7, inputs=("video_2d", "video_3d"))}
        >>> backbone = GatedMultimodal({"video": GatedEmbedding(7, 8)}, shapes)
        >>> video = backbone({"video_2d": torch.rand(2, 4), "video_3d": torch.rand(2, 3)})["video"]
        >>> video.pooled.shape, video.source.shape
        (torch.Size([2, 8]), torch.Size([2, 7]))
    """

    def __init__(
        self,
        units: Mapping[str, nn.Module],
        shapes: Mapping[str, FeatureShape],
        standardise: Mapping[str, Standardise] | None = None,
    ) -> None:
        super().__init__()
        if list(units) != list(shapes):
            raise ValueError(f"`units` and `shapes` should be of the same modalities, found {units} and {shapes}.")
        self.shapes = dict(shapes)
        self.units = nn.ModuleDict(units)
        self.standardise = nn.ModuleDict(standardise or {})

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """Return the features of vectors [N, d], or of the first of k copies of each, [N, k, d]."""
        found = {}
        for name, unit in self.units.items():
            parts = [self._vectors(part, inputs[part]) for part in self.shapes[name].inputs or (name,)]
            source = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
            found[name] = Feature(pooled=unit(source), source=source)
        return Features(found)

    def layers(self) -> Sequence[Sequence[str]]:
        """Return the names of the parameters by depth: the first layers of all units, their gates, and so on."""
        depths: list[list[str]] = []
        for name, unit in self.units.items():
            linears = [(path, part) for path, part in unit.named_modules() if isinstance(part, nn.Linear)]
            for depth, (path, part) in enumerate(linears):
                depths += [[]] if depth == len(depths) else []
                depths[depth] += [f"units.{name}.{path}.{leaf}" for leaf, _ in part.named_parameters()]
        return depths

    def _vectors(self, name: str, vectors: Tensor) -> Tensor:
        """Return one vector of each row, standardised if that is asked for."""
        first = vectors[:, 0] if vectors.ndim == 3 else vectors
        return self.standardise[name](first) if name in self.standardise else first
