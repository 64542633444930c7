"""`TimmBackbone`: a timm model as auxlearn's backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import torch
from timm.models import group_parameters
from torch import Tensor, nn

from auxlearn.errors import Problem, SpecError, escape
from auxlearn.learning import Backbone, BuildContext, Feature, Features, FeatureShape, MapShape
from auxlearn_timm import TimmParams
from auxlearn_timm.creation import check_name, create, create_meta, network_options

__all__ = ["TimmBackbone"]


class TimmBackbone(Backbone):
    """The full network of a timm model without its classifier, and the normalisation of its images.

    The pooled feature is what the model's own classifier reads, `forward_head(x, pre_logits=True)`, so a linear head
    trained on it fits into the plain timm model. The maps come from `forward_intermediates` of the same pass. The
    network stands under `network`, with timm's names: `network.conv_stem.weight`.

    Args:
        network: A timm model made with `num_classes=0`.
        modality: The name of its input.
        shape: The form of its features.
        levels: The feature maps to give, as numbers of `forward_intermediates`, ascending.
        mean: Mean of each channel, pixels in [0, 1].
        std: Standard deviation of each channel.

    Examples:
        >>> import torch
        >>> from auxlearn.data import InputShape
        >>> from auxlearn.learning import BuildContext
        >>> from auxlearn_timm import TimmParams
        >>> from auxlearn_timm.backbone import TimmBackbone
        >>> context = BuildContext(inputs={"image": InputShape(shape=(3, 64, 64), dtype="float32")}, size=64)
        >>> backbone = TimmBackbone.build(TimmParams(model="resnet18"), context)
        >>> [shape.reduction for shape in backbone.shapes["image"].maps]
        [2, 4, 8, 16, 32]
        >>> backbone({"image": torch.zeros(2, 3, 64, 64)}).only.pooled.shape
        torch.Size([2, 512])
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        modality: str,
        shape: FeatureShape,
        levels: Sequence[int],
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.network = network
        self.modality, self.levels = modality, list(levels)
        self.shapes = {modality: shape}
        self.mean, self.std = mean, std
        # Derived from the settings, so no part of the state: the state has timm's names and no others.
        spread = torch.tensor(std, dtype=torch.float64)
        scale, shift = 1 / spread, -torch.tensor(mean, dtype=torch.float64) / spread
        dtype = torch.get_default_dtype()
        self.register_buffer("_scale", scale.to(dtype).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("_shift", shift.to(dtype).view(1, -1, 1, 1), persistent=False)

    @classmethod
    def build(cls, params: TimmParams, context: BuildContext) -> TimmBackbone:
        """Return the backbone that `params` asks for, for the images of `context`.

        Raises:
            SpecError: If timm has no such model, it does not take such images, or the weights do not fit.
            EnvironmentProblem: If published weights cannot be fetched.
        """
        modality, shape = _image(context)
        if context.restoring:
            params = attrs.evolve(params, pretrained=False, checkpoint=None)
        check_name(params)
        options = network_options(params, shape)
        draft = create_meta(params, options)
        levels = _levels(params, draft)
        features = _feature_shape(params, draft, shape, levels)
        mean, std = _normalisation(params, draft, shape[0])
        network = create(params, options, set(draft.state_dict()))
        return cls(network, modality=modality, shape=features, levels=levels, mean=mean, std=std)

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """Return the features of images [N, C, H, W] in [0, 1]."""
        images = inputs[self.modality]
        # (x - mean) / std in one kernel; the conversion is for weights of another precision, and free otherwise.
        images = torch.addcmul(self._shift, images.to(self._scale.dtype), self._scale)  # type: ignore[arg-type]
        final, maps = _run(self.network, images, self.levels)
        return Features({self.modality: Feature(pooled=_pool(self.network, final), maps=maps)})

    def layers(self) -> Sequence[Sequence[str]]:
        """Return the names of the parameters by layer, as timm's own layer decay groups them."""
        matcher = self.network.group_matcher(coarse=False)  # type: ignore[operator]
        groups = group_parameters(self.network, matcher)
        return [[f"network.{name}" for name in groups[number]] for number in sorted(groups)]


def _run(network: nn.Module, images: Tensor, levels: list[int]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the final feature map and the maps of `levels`."""
    if not levels:
        return network.forward_features(images), ()  # type: ignore[operator]
    final, maps = network.forward_intermediates(images, indices=levels)  # type: ignore[operator]
    return final, tuple(maps)


def _pool(network: nn.Module, final: Tensor) -> Tensor:
    """Return what the model's classifier reads."""
    pooled: Tensor = network.forward_head(final, pre_logits=True)  # type: ignore[operator]
    return pooled


def _image(context: BuildContext) -> tuple[str, tuple[int, ...]]:
    """Return the name and the shape of the single modality; SpecError if it is no image."""
    if len(context.inputs) == 1:
        name, form = next(iter(context.inputs.items()))
        if form.kind == "image":
            return name, form.shape
    found = ", ".join(f"{name} ({form.kind})" for name, form in context.inputs.items())
    raise SpecError(
        Problem(
            where="/type",
            what=f"a timm backbone reads one image, but the data has {found or 'no inputs'}",
            fix="choose a backbone for these inputs",
        )
    )


def _levels(params: TimmParams, network: nn.Module) -> list[int]:
    """Return the numbers of the feature maps to give."""
    known = _feature_info(network)
    if params.levels is None:
        return sorted({level["reduction"]: number for number, level in enumerate(known)}.values())
    for number in params.levels:
        if number >= len(known):
            raise SpecError(
                Problem(
                    where="/levels",
                    what=f"{params.model} has no feature level {number}",
                    allowed=f"0 to {len(known) - 1}",
                )
            )
    return sorted(set(params.levels))


def _feature_info(network: nn.Module) -> list[Mapping[str, int]]:
    """Return what timm says about each feature level."""
    return list(network.feature_info)  # type: ignore[arg-type]


def _feature_shape(params: TimmParams, network: nn.Module, shape: tuple[int, ...], levels: list[int]) -> FeatureShape:
    """Return the form of the features, from a pass that computes shapes only; SpecError if the images do not fit."""
    network.eval()
    try:
        with torch.no_grad():
            final, maps = _run(network, torch.empty(1, *shape, device="meta"), levels)
            pooled = _pool(network, final)
    except Exception as error:
        raise SpecError(
            Problem(
                where="/model",
                what=f"{params.model} does not take images of {shape[1]} x {shape[2]} pixels: {escape(error, 200)}",
                fix="set `augment.size` to a size that the model takes, or choose another model",
            )
        ) from error
    reductions = [_feature_info(network)[level]["reduction"] for level in levels]
    return FeatureShape(
        pooled=pooled.shape[1],
        maps=tuple(MapShape(channels=m.shape[1], reduction=r) for m, r in zip(maps, reductions, strict=True)),
    )


def _normalisation(
    params: TimmParams, network: nn.Module, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel: as given, else as published.

    What is published is for three channels as a rule: a single one gets the averages, other numbers get 0.5.
    """
    found = []
    for name, given in (("mean", params.mean), ("std", params.std)):
        values = tuple(given or network.pretrained_cfg[name])  # type: ignore[index]
        if given and len(given) != channels:
            raise SpecError(
                Problem(
                    where=f"/{name}",
                    what=f"there are {len(given)} numbers for {channels} channels",
                    allowed=f"{channels} numbers",
                )
            )
        if len(values) != channels:
            values = (sum(values) / len(values),) if channels == 1 else (0.5,) * channels
        found.append(values)
    return found[0], found[1]
