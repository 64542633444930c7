"""The settings of what the plugin offers, declared without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from auxlearn.registry import option

__all__ = [
    "ClusteringParams",
    "ContrastiveParams",
    "FeatureSimCLRParams",
    "GatedMultimodalParams",
    "ProjectionParams",
    "ReconstructionParams",
    "UnitParams",
]


@attrs.frozen(kw_only=True)
class UnitParams:
    """Settings of the unit of one modality."""

    width: int | None = option(
        None, ge=1, help="Width of the gated unit, which a linear layer then brings to `width`; null: `width` at once."
    )


@attrs.frozen(kw_only=True)
class GatedMultimodalParams:
    """Settings of the backbone `gated_multimodal`.

    Examples:
        >>> from auxlearn_conclugen import GatedMultimodalParams
        >>> GatedMultimodalParams(join={"video": ("video_2d", "video_3d")}).width
        1024
    """

    width: int = option(1024, ge=1, help="Width of the representation of each modality; the authors' code: 4096.")
    modalities: tuple[str, ...] | None = option(
        None, min_items=1, help="The modalities, joined ones by their own names; null: all features of the data."
    )
    join: Mapping[str, tuple[str, ...]] = option(
        attrs.Factory(dict), min_items=1, help="Modalities that are inputs one beside the other, by their names."
    )
    units: Mapping[str, UnitParams] = option(attrs.Factory(dict), help="Settings of the units of single modalities.")
    standardize: bool = option(
        True, help="Standardise each component by its statistics in the training rows; the authors' code: false."
    )


@attrs.frozen(kw_only=True)
class ProjectionParams:
    """Settings of the projection: tasks that give it the same name share it, and must then agree on all of them."""

    name: str = option("projection", pattern="[A-Za-z0-9_-]+", help="Tasks that name it alike share it.")
    width: int = option(128, ge=1, help="Width of the projection; the authors' code: 512.")
    hidden: int | None = option(
        None, ge=2, help="Width between; null: an eighth of the representation, and at least 16."
    )
    norm: Literal["layer", "batch", "none"] = option(
        "layer", help="Normalisation between; the authors' code: `batch`, which depends on the rows of a process."
    )
    final_relu: bool = option(False, help="End in ReLU, as the authors' code does.")


@attrs.frozen(kw_only=True)
class _ModalityParams:
    modalities: tuple[str, ...] | None = option(
        None, min_items=1, help="Which of the backbone's modalities; null: all."
    )


@attrs.frozen(kw_only=True)
class ContrastiveParams(_ModalityParams):
    """Settings of the pretext task `multimodal_contrastive`.

    Examples:
        >>> from auxlearn_conclugen import ContrastiveParams
        >>> ContrastiveParams().temperature, ContrastiveParams().projection.norm
        (0.1, 'layer')
    """

    temperature: float = option(0.1, gt=0, help="By which similarities are divided; the authors' code: 1.")
    margin: float = option(0.0, ge=0, help="By which the positive has to be more similar; the authors' code: 0.001.")
    projection: ProjectionParams = option(ProjectionParams(), help="The projection, which tasks may share.")


@attrs.frozen(kw_only=True)
class ClusteringParams(_ModalityParams):
    """Settings of the pretext task `multimodal_clustering`.

    Examples:
        >>> from auxlearn_conclugen import ClusteringParams
        >>> ClusteringParams().clusters, ClusteringParams().mode
        (32, 'individual')
    """

    clusters: int = option(32, ge=2, help="Clusters, and width of the space in which they lie.")
    mode: Literal["individual", "joint"] = option(
        "individual", help="Compare each modality, or the mean over modalities, with the centroids."
    )
    queue: int = option(
        0,
        ge=0,
        help="Rows of earlier steps, over all processes, that are clustered too; for batches that are small against "
        "`clusters`, as old rows mislead while the network changes fast.",
    )
    refit_every: int = option(1, ge=1, help="Cluster anew every n steps of the run; between, only assign. MCN: 20.")
    iterations: int = option(10, ge=1, le=1000, help="Iterations of k-means; the authors' code: 100.")
    restarts: int = option(4, ge=1, help="Runs of k-means from different seeds, of which the best counts.")
    warm_start: bool = option(
        True, help="Once there are centroids, begin from them instead, in one run; the authors' code: false."
    )
    normalize: bool = option(
        True, help="Compare by cosine: projection, embedding and centroids of length 1; the authors' code: false."
    )
    temperature: float = option(0.1, gt=0, help="By which similarities are divided; the authors' code: 1.")
    margin: float = option(0.0, ge=0, help="By which the own centroid has to be nearer; the authors' code: 0.001.")
    projection: ProjectionParams = option(ProjectionParams(), help="The projection, which tasks may share.")


@attrs.frozen(kw_only=True)
class ReconstructionParams(_ModalityParams):
    """Settings of the pretext task `multimodal_reconstruction`.

    Examples:
        >>> from auxlearn_conclugen import ReconstructionParams
        >>> ReconstructionParams().targets
        'own'
    """

    targets: Literal["own", "cross", "both"] = option(
        "own", help="From each representation its own input, as the paper; those of the other modalities; or both."
    )
    hidden: int = option(512, ge=1, help="Width of the hidden layer of each decoder.")
    final_relu: bool = option(False, help="End decoders in ReLU, as the authors' code: no negative value can be met.")


@attrs.frozen(kw_only=True)
class FeatureSimCLRParams(_ModalityParams):
    """Settings of the pretext task `feature_simclr`.

    Examples:
        >>> from auxlearn_conclugen import FeatureSimCLRParams
        >>> FeatureSimCLRParams().corruption
        0.6
    """

    temperature: float = option(0.1, gt=0, help="By which cosine similarities are divided.")
    corruption: float = option(
        0.6,
        gt=0,
        le=1,
        help="Share of the components that the second view takes from other rows; not used where the data shows "
        "several copies of a row, which are then the views.",
    )
    hidden: int = option(512, ge=1, help="Width of the hidden layer of each projector.")
    width: int = option(128, ge=1, help="Width of the embedding.")
