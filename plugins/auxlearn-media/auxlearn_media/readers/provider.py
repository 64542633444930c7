"""The data sources of public sets that this plugin offers, told without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from auxlearn.errors import Problem
from auxlearn.registry import CheckContext, Provider
from auxlearn_media.readers import params as p

__all__ = ["check_inputs", "sets"]


def sets() -> Iterable[Provider]:
    """Return the readers of the public sets."""
    yield _reader("caer", "CAER: clips of television shows in 7 classes.", p.CaerParams)
    yield _reader("meld", "MELD: utterances of Friends with 7 emotions and 3 sentiments.", p.MeldParams)
    yield _reader("mosei", "CMU-MOSEI: opinions with 6 emotions, of which several may apply.", p.MoseiParams)
    yield _reader("voxceleb2", "VoxCeleb2: interviews without labels of emotion, to pretrain on.", p.VoxCeleb2Params)


def check_inputs(params: Any) -> Iterable[Problem]:
    """Find settings that name nothing to read."""
    if not any((params.video, params.audio, params.spectrogram, params.text)):
        names = "video, audio, spectrogram, text"
        yield Problem(what="nothing is to be read of the clips", allowed=names, fix='e.g. "video": {}, "audio": {}')


def _reader(name: str, summary: str, params: type[p.SetParams]) -> Provider:
    return Provider(name=name, summary=summary, params=params, build=_builder(name), trial=_trial(name), check=_check)


def _check(params: p.SetParams, context: CheckContext) -> Iterable[Problem]:  # noqa: ARG001
    return check_inputs(params)


def _builder(module: str) -> Callable[[Any, Any], Any]:
    """Return what builds a data source, importing the module that reads it only then."""

    def build(params: Any, context: Any) -> Any:
        return import_module(f"auxlearn_media.readers.{module}").build(params, context)

    return build


def _trial(name: str) -> Callable[[], Any]:
    """Return what makes the conditions of the checks: a small made-up data set in the layout of the real one."""
    more = {"mosei": {"split_lists": "folds.json"}, "voxceleb2": {"transcripts": "transcripts.csv"}}

    def prepare(folder: Path) -> dict[str, str]:
        write = getattr(import_module("auxlearn_media.testing"), f"write_{name}")
        return {"path": str(write(folder, seconds=0.2))}

    def trial() -> Any:
        from auxlearn.testing import Trial

        reads = {"spectrogram": {"seconds": 0.1, "mels": 16, "n_fft": 256}, "text": {"bytes": 8}}
        return Trial(params={**reads, **more.get(name, {})}, prepare=prepare)

    return trial
