"""`VideoNetwork`: a video model of torchvision as auxlearn's backbone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models

from auxlearn.errors import EnvironmentProblem, Problem, SpecError, escape, nearest
from auxlearn.learning import Backbone, BuildContext, Feature, Features, FeatureShape, scale_pixels
from auxlearn_media.params import VideoNetworkParams

__all__ = ["VideoNetwork"]

_HEADS = ("fc", "head", "classifier")  # what torchvision's video models call their last layer


class VideoNetwork(Backbone):
    """A video model of torchvision without its classifier, and the normalisation of its frames.

    It reads clips [N, T, 3, H, W], frames as bytes or in [0, 1]. The pooled feature is what the model's own classifier
    reads, before its dropout. The network stands under `network`, with torchvision's names.

    Args:
        network: The model, its head replaced by the identity.
        modality: The name of its input.
        width: Width of the pooled feature.
        mean: Mean of each channel, pixels in [0, 1].
        std: Standard deviation of each channel.

    Examples:
        >>> import torch
        >>> from auxlearn.data import InputShape
        >>> from auxlearn.learning import BuildContext
        >>> from auxlearn_media import VideoNetworkParams
        >>> from auxlearn_media.video import VideoNetwork
        >>> context = BuildContext(inputs={"video": InputShape(shape=(8, 3, 32, 32), kind="feature")})
        >>> backbone = VideoNetwork.build(VideoNetworkParams(model="r3d_18"), context)
        >>> backbone({"video": torch.zeros(2, 8, 3, 32, 32, dtype=torch.uint8)}).only.pooled.shape
        torch.Size([2, 512])
    """

    def __init__(
        self, network: nn.Module, *, modality: str, width: int, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.network, self.modality = network, modality
        self.shapes = {modality: FeatureShape(pooled=width)}
        self.mean, self.std = mean, std
        # Derived from the settings, so no part of the state.
        self.register_buffer("_mean", torch.tensor(mean).view(-1, 1, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(std).view(-1, 1, 1, 1), persistent=False)

    @classmethod
    def build(cls, params: VideoNetworkParams, context: BuildContext) -> VideoNetwork:
        """Return the backbone that `params` asks for, for the clips of `context`.

        Raises:
            SpecError: If torchvision has no such model or weights, it does not take such clips, or weights do not fit.
            EnvironmentProblem: If published weights cannot be fetched.
        """
        modality, shape = _clip(context)
        known = models.list_models(module=models.video)
        if params.model not in known:
            what = f'torchvision has no video model "{escape(params.model)}"'
            meant = nearest(params.model, known)
            raise SpecError(Problem(where="/model", what=what, allowed=", ".join(known), meant=meant))
        published = models.get_model_weights(params.model).DEFAULT.transforms()
        width = _width(params.model, shape)
        network = _create(params, restoring=context.restoring)
        return cls(
            _beheaded(network),
            modality=modality,
            width=width,
            mean=params.mean or tuple(published.mean),
            std=params.std or tuple(published.std),
        )

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """Return the features of clips [N, T, 3, H, W], frames as bytes or in [0, 1]."""
        clips = scale_pixels(inputs[self.modality]).to(self._mean.dtype).transpose(1, 2)  # type: ignore[arg-type]
        pooled = self.network((clips - self._mean) / self._std)  # type: ignore[operator]
        return Features({self.modality: Feature(pooled=pooled)})


def _clip(context: BuildContext) -> tuple[str, tuple[int, ...]]:
    """Return the name and the shape of the single modality; SpecError if it is no clip of frames."""
    if len(context.inputs) == 1:
        name, form = next(iter(context.inputs.items()))
        if len(form.shape) == 4 and form.shape[1] == 3:
            return name, form.shape
    found = ", ".join(f"{name} {form.shape}" for name, form in context.inputs.items()) or "no inputs"
    raise SpecError(
        Problem(
            where="/type",
            what=f"a video network reads one clip of frames (T, 3, H, W), but gets {found}",
            fix='set `frames` of the video, or "window" where features are extracted',
        )
    )


def _model(name: str, weights: str | None = None) -> nn.Module:
    model: nn.Module = models.get_model(name, weights=weights)
    return model


def _beheaded(network: nn.Module) -> nn.Module:
    """Return the network with the identity for its classifier."""
    head = next(name for name, _ in reversed(list(network.named_children())) if name in _HEADS)
    setattr(network, head, nn.Identity())
    return network


def _width(model: str, shape: tuple[int, ...]) -> int:
    """Return the width of the pooled feature, from a pass that computes shapes only; SpecError if clips do not fit."""
    frames, channels, *side = (length if length > 0 else 16 for length in shape)
    try:
        with torch.device("meta"), torch.no_grad():
            draft = _beheaded(_model(model)).eval()
            return int(draft(torch.empty(1, channels, frames, *side)).shape[1])
    except Exception as error:
        what = f"{model} does not take clips of {frames} frames of {side[0]} x {side[1]} pixels: {escape(error, 200)}"
        fix = "give it clips of the size and the number of frames that it was made for, or choose another model"
        raise SpecError(Problem(where="/model", what=what, fix=fix)) from error


def _create(params: VideoNetworkParams, *, restoring: bool) -> nn.Module:
    """Return the network with the weights that `params` asks for."""
    if restoring or (params.weights is None and params.checkpoint is None):
        return _model(params.model)
    if params.weights is not None and params.checkpoint is not None:
        raise SpecError(Problem(where="/checkpoint", what="`weights` are given too", fix="leave one of them out"))
    if params.checkpoint is not None:
        return _with_file(_model(params.model), params)
    known = [one.name for one in models.get_model_weights(params.model)]
    if params.weights not in (*known, "DEFAULT"):
        what, meant = f'{params.model} has no weights "{escape(params.weights)}"', nearest(params.weights or "", known)
        raise SpecError(Problem(where="/weights", what=what, allowed=", ".join([*known, "DEFAULT"]), meant=meant))
    try:
        return _model(params.model, params.weights)
    except OSError as error:
        what = f"the weights of {params.model} could not be fetched: {type(error).__name__}: {escape(error, 200)}"
        fix = 'connect to the network once, or give a file as "checkpoint"'
        raise EnvironmentProblem(Problem(where="/weights", what=what, fix=fix)) from error


def _with_file(network: nn.Module, params: VideoNetworkParams) -> nn.Module:
    """Return the network with the weights in the file; those of its classifier may be missing, and are not used."""
    path = Path(str(params.checkpoint)).expanduser()
    if not path.is_file():
        raise SpecError(Problem(where="/checkpoint", what=f'there is no file "{escape(path)}"'))
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about storages of old files
                state = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        allowed = "a .safetensors file, or a torch file with tensors only"
        what = f'"{escape(path)}" cannot be read: {escape(error, 200)}'
        raise SpecError(Problem(where="/checkpoint", what=what, allowed=allowed)) from error
    _beheaded(network)
    heads = tuple(f"{name}." for name in _HEADS)
    state = {name.removeprefix("network."): value for name, value in state.items()}
    try:
        network.load_state_dict({name: value for name, value in state.items() if not name.startswith(heads)})
    except RuntimeError as error:
        what = f'the weights in "{escape(path)}" do not fit {params.model}: {escape(error, 400)}'
        raise SpecError(Problem(where="/checkpoint", what=what, fix="give the weights of this model")) from error
    return network
