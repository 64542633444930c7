"""`TextEncoder` and `AudioEncoder`: models of Hugging Face as backbones, their last hidden states averaged.

The text of a row becomes tokens, and its sound what the model was trained on, on the host and inside `forward`: these
backbones read their input back from the device and have no place in a compiled or exported program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from auxlearn.errors import EnvironmentProblem, PluginError, Problem, SpecError, escape
from auxlearn.learning import Backbone, BuildContext, Feature, Features, FeatureShape
from auxlearn_media.params import AudioEncoderParams, EncoderParams

__all__ = ["AudioEncoder", "TextEncoder"]

_LONGEST = 100_000  # tokens; what tokenizers of models without a limit say is more than memory holds


class TextEncoder(Backbone):
    """A text encoder, its last hidden states averaged over the tokens of a text, padding left out.

    It reads texts as bytes in UTF-8 with zeros behind them, uint8 [N, T]. Texts of more tokens than the model takes are
    cut. The network stands under `network`, with the names of transformers.

    Args:
        network: The encoder.
        tokenizer: Its tokenizer.
        modality: The name of its input.
    """

    def __init__(self, network: nn.Module, tokenizer: Any, *, modality: str) -> None:
        super().__init__()
        self.network, self.tokenizer, self.modality = network, tokenizer, modality
        config: Any = network.config
        self.shapes = {modality: FeatureShape(pooled=config.hidden_size)}
        positions = getattr(config, "max_position_embeddings", _LONGEST) - _reserved(network)
        self.longest = int(min(tokenizer.model_max_length, positions, _LONGEST))

    @classmethod
    def build(cls, params: EncoderParams, context: BuildContext) -> TextEncoder:
        """Return the backbone that `params` asks for, for the texts of `context`.

        Raises:
            PluginError: If transformers is not installed.
            SpecError: If the input is no text.
            EnvironmentProblem: If the model can neither be found nor fetched.
        """
        modality = _single(context, "uint8", "the bytes of a text")
        transformers = _library()
        tokenizer = _loaded(params, transformers.AutoTokenizer.from_pretrained)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return cls(_network(params, context, transformers), tokenizer, modality=modality)

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """Return the features of texts, uint8 [N, T]."""
        rows = inputs[self.modality]
        texts = [bytes(row).rstrip(b"\0").decode("utf-8", "ignore") for row in rows.tolist()]
        made = self.tokenizer(texts, padding=True, truncation=True, max_length=self.longest, return_tensors="pt")
        tokens = made.to(rows.device)
        hidden = self.network(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(2).to(hidden.dtype)
        pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
        return Features({self.modality: Feature(pooled=pooled)})


class AudioEncoder(Backbone):
    """An encoder of sound, such as wav2vec 2.0, HuBERT or WavLM, its last hidden states averaged over time.

    It reads waveforms, float32 [N, T], and averages over all of T, also over the silence that the data's `seconds`
    puts behind shorter clips. The network stands under `network`, with the names of transformers.

    Args:
        network: The encoder.
        extractor: What prepares its input.
        rate: Samples a second.
        modality: The name of its input.
    """

    def __init__(self, network: nn.Module, extractor: Any, *, rate: int, modality: str) -> None:
        super().__init__()
        self.network, self.extractor, self.rate, self.modality = network, extractor, rate, modality
        config: Any = network.config
        self.shapes = {modality: FeatureShape(pooled=config.hidden_size)}

    @classmethod
    def build(cls, params: AudioEncoderParams, context: BuildContext) -> AudioEncoder:
        """Return the backbone that `params` asks for, for the sound of `context`.

        Raises:
            PluginError: If transformers is not installed.
            SpecError: If the input is no waveform, or the model was trained at another rate.
            EnvironmentProblem: If the model can neither be found nor fetched.
        """
        modality = _single(context, "float32", "a waveform")
        transformers = _library()
        extractor = _loaded(params, transformers.AutoFeatureExtractor.from_pretrained)
        if extractor.sampling_rate != params.rate:
            what = f"the model was trained at {extractor.sampling_rate} samples a second, found {params.rate}"
            fix = f'set "rate": {extractor.sampling_rate} here and in the data'
            raise SpecError(Problem(where="/rate", what=what, fix=fix))
        return cls(_network(params, context, transformers), extractor, rate=params.rate, modality=modality)

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """Return the features of waveforms, float32 [N, T]."""
        rows = inputs[self.modality]
        dtype = next(self.network.parameters()).dtype
        made = self.extractor(list(rows.float().cpu().numpy()), sampling_rate=self.rate, return_tensors="pt")
        name: Any = self.network.main_input_name
        hidden = self.network(**{name: made[name].to(rows.device, dtype)}).last_hidden_state
        return Features({self.modality: Feature(pooled=hidden.mean(1))})


def _reserved(network: nn.Module) -> int:
    """Return how many positions hold no token: RoBERTa and its kin count from the one after that of padding."""
    tables = [part for name, part in network.named_modules() if name.endswith("position_embeddings")]
    kept = [part.padding_idx for part in tables if isinstance(part, nn.Embedding) and part.padding_idx is not None]
    return max((place + 1 for place in kept), default=0)


def _single(context: BuildContext, dtype: str, wanted: str) -> str:
    """Return the name of the single modality; SpecError if it is no row of numbers of this kind."""
    if len(context.inputs) == 1:
        name, form = next(iter(context.inputs.items()))
        if len(form.shape) == 1 and form.dtype == dtype:
            return name
    found = ", ".join(f"{name} {form.dtype} {form.shape}" for name, form in context.inputs.items()) or "no inputs"
    fix = 'choose another input; where features are extracted, set "window": "all"'
    raise SpecError(Problem(where="/type", what=f"it reads {wanted}, but gets {found}", fix=fix))


def _library() -> Any:
    try:
        import transformers
    except ImportError as error:
        fix = "pip install 'auxlearn-media[transformers]'"
        raise PluginError(Problem(where="/type", what="it needs transformers", fix=fix, exit_code=3)) from error
    return transformers


def _network(params: EncoderParams, context: BuildContext, transformers: Any) -> nn.Module:
    """Return the encoder; without the weights, if others follow."""
    if context.restoring:
        model = transformers.AutoModel.from_config(_loaded(params, transformers.AutoConfig.from_pretrained))
    else:
        model = _loaded(params, transformers.AutoModel.from_pretrained)
    encoder: nn.Module = model.get_encoder() if model.config.is_encoder_decoder else model
    return encoder


def _loaded(params: EncoderParams, load: Callable[..., Any]) -> Any:
    try:
        return load(params.model, revision=params.revision)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        what = f'"{escape(params.model)}" cannot be loaded: {escape(reason, 300)}'
        fix = "connect to the network once, or give the folder of a model"
        raise EnvironmentProblem(Problem(where="/model", what=what, fix=fix)) from error
