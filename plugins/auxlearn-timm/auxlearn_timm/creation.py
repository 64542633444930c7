"""Making a timm network: names, shapes ahead of any weight, and weights, each mistake with one clear message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import timm.models
import torch
from torch import Tensor, nn

from auxlearn.errors import EnvironmentProblem, Problem, SpecError, escape, nearest
from auxlearn_timm import TimmParams
from auxlearn_timm.packaged import packaged_weights

__all__ = ["check_name", "create", "create_meta", "network_options", "read_weights"]

# Names under which a backbone of auxlearn holds its timm network in a saved state.
_PREFIXES = ("", "network.", "backbone.network.")
_MOST_KEYS = 3


def check_name(params: TimmParams) -> None:
    """Raise a SpecError unless timm has the model, the tag and, if they are asked for, weights for it."""
    model, tag = timm.models.split_model_name_tag(params.model)
    if not timm.is_model(model):
        raise SpecError(
            Problem(
                where="/model",
                what=f'timm {timm.__version__} has no model "{escape(params.model)}"',
                meant=nearest(model.lower(), timm.list_models()),
                fix="timm.list_models() lists them all",
            )
        )
    tags = [name.partition(".")[2] for name in timm.models.get_arch_pretrained_cfgs(model)]
    if tag and tag not in tags:
        raise SpecError(
            Problem(
                where="/model",
                what=f'timm {timm.__version__} has no weights "{escape(tag)}" for {model}',
                allowed=", ".join(filter(None, tags)),
                meant=nearest(tag, tags),
            )
        )
    if params.weights == "packaged" and not params.pretrained:
        raise SpecError(Problem(where="/weights", what="nothing is pretrained", fix='set "pretrained": true'))
    if params.pretrained and not timm.is_model_pretrained(params.model):
        raise SpecError(
            Problem(where="/pretrained", what=f"there are no published weights for {params.model}", allowed="false")
        )
    if params.pretrained and params.checkpoint is not None:
        raise SpecError(
            Problem(
                where="/checkpoint",
                what="weights are asked for twice, by `pretrained` and by `checkpoint`",
                fix="leave one out",
            )
        )


def network_options(params: TimmParams, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the arguments of `timm.create_model` for images of `shape` (channels, height, width).

    Models whose position embedding fixes the size of the image are made for this size; timm then resamples the
    embedding of pretrained weights.
    """
    channels, height, width = shape
    options: dict[str, Any] = {"num_classes": 0, "in_chans": channels}
    published = timm.get_pretrained_cfg(params.model)
    if published is not None and published.fixed_input_size:
        options["img_size"] = height if height == width else (height, width)
    given = {"drop_rate": params.drop_rate, "drop_path_rate": params.drop_path_rate}
    return options | {name: value for name, value in given.items() if value is not None}


def create_meta(params: TimmParams, options: dict[str, Any]) -> nn.Module:
    """Return the network without memory for its weights; SpecError if the model does not take `options`."""
    try:
        with torch.device("meta"):
            return timm.create_model(params.model, **options)
    except TypeError as error:
        refused = next((name for name in ("drop_path_rate", "drop_rate", "in_chans") if name in str(error)), None)
        if refused is None:
            raise
        where = "/model" if refused == "in_chans" else f"/{refused}"
        raise SpecError(Problem(where=where, what=f"{params.model} does not take `{refused}`")) from error
    except Exception as error:
        raise SpecError(
            Problem(
                where="/model",
                what=f"{params.model} cannot be made with {options}: {escape(error, 200)}",
                fix="set `augment.size` to a size that the model takes, or choose another model",
            )
        ) from error


def create(params: TimmParams, options: dict[str, Any], keys: set[str]) -> nn.Module:
    """Return the network with the weights that `params` asks for, on torch's default device.

    Args:
        params: The settings, which `check_name` and `create_meta` have passed.
        options: From `network_options`.
        keys: The names in the network's state dict.
    """
    on_meta = torch.get_default_device().type == "meta"
    if params.checkpoint is not None:
        state = read_weights(Path(params.checkpoint), keys)
        return _with_weights(params, options, state) if not on_meta else timm.create_model(params.model, **options)
    if not params.pretrained or on_meta:
        return timm.create_model(params.model, **options)
    if params.weights == "packaged":
        return _with_weights(params, options, packaged_weights(params.model))
    try:
        return timm.create_model(params.model, pretrained=True, **options)
    except Exception as error:  # The same call without weights has passed, so it is their download that failed.
        raise EnvironmentProblem(
            Problem(
                where="/pretrained",
                what=f"the published weights of {params.model} could not be fetched: "
                f"{type(error).__name__}: {escape(error, 200)}",
                fix='connect to the network once, or give a file as "checkpoint", or set "pretrained": false',
            )
        ) from error


def read_weights(path: Path, keys: set[str]) -> dict[str, Tensor]:
    """Return the weights in a file under timm's names.

    Besides plain state dicts it understands training checkpoints of timm (the moving average if there is one) and
    states of auxlearn, whose names have a prefix. Torch files are read without running any code in them.

    Args:
        path: A `.safetensors` file, or a torch file.
        keys: The names in the network's state dict, which tell what prefix there is.

    Raises:
        SpecError: If the file is missing, or no state dict, or holds more than tensors.
    """
    if not path.is_file():
        raise SpecError(Problem(where="/checkpoint", what=f'there is no file "{escape(path)}"'))
    try:
        state = timm.models.load_state_dict(str(path), weights_only=True)
    except Exception as error:
        raise SpecError(
            Problem(
                where="/checkpoint",
                what=f'"{escape(path)}" cannot be read: {escape(error, 200)}',
                allowed="a .safetensors file, or a torch file with tensors only",
            )
        ) from error
    fitting = {prefix: sum(prefix + key in state for key in keys) for prefix in _PREFIXES}
    prefix = max(_PREFIXES, key=lambda one: fitting[one])
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _with_weights(params: TimmParams, options: dict[str, Any], state: dict[str, Tensor]) -> nn.Module:
    """Return the network with `state`, adapted by timm to its channels and image size."""
    published = timm.get_pretrained_cfg(params.model)
    heads = published.classifier if published is not None else None
    for head in (heads,) if isinstance(heads, str) else heads or ():
        state.pop(f"{head}.weight", None)
        state.pop(f"{head}.bias", None)
    try:
        # With equal numbers of classes timm compares the names strictly; its own default lets missing ones pass.
        network = timm.create_model(
            params.model, pretrained=True, pretrained_cfg_overlay={"state_dict": state, "num_classes": 0}, **options
        )
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        shown = " ".join(escape(line, 200) for line in lines[:_MOST_KEYS])
        raise SpecError(
            Problem(
                where="/checkpoint",
                what=f'the weights in "{escape(params.checkpoint)}" do not fit {params.model}: {shown}',
                fix="give the weights of this model, or the model of these weights",
            )
        ) from error
    origin: dict[str, Any] = dict(network.pretrained_cfg)  # type: ignore[arg-type]
    origin |= {"state_dict": None, "num_classes": published.num_classes if published is not None else 0}
    network.pretrained_cfg = network.default_cfg = origin  # type: ignore[assignment]
    return network
