"""The data sources that this plugin offers, told without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from auxlearn.errors import Problem
from auxlearn.registry import CheckContext, DataFacts, Provider, hookimpl
from auxlearn_faces.readers import names as n
from auxlearn_faces.readers import params as p

__all__ = ["auxlearn_data_sources"]

_TRAIN, _TRAIN_VAL, _TRAIN_TEST, _ALL = ("train",), ("train", "val"), ("train", "test"), ("train", "val", "test")


@hookimpl
def auxlearn_data_sources() -> Iterable[Provider]:
    """Offer the readers of the public face data sets."""
    return [*_expressions(), *_poses(), *_people()]


def _expressions() -> Iterable[Provider]:
    yield Provider(
        name="affectnet",
        summary="AffectNet: 8 or 7 expressions, valence and arousal.",
        params=p.AffectNetParams,
        **_reader("affectnet"),
        describe=lambda params: _facts(_TRAIN_VAL, expression=params.expressions, valence=(), arousal=()),
    )
    yield Provider(
        name="fer2013",
        summary="FER2013 (fer2013.csv): 7 expressions, 48 px grey.",
        params=p.Fer2013Params,
        **_reader("fer2013"),
        describe=lambda params: _grey_facts(expression=n.FER2013),  # noqa: ARG005
    )
    yield Provider(
        name="ferplus",
        summary="FER+ (fer2013new.csv): FER2013 with ten votes each, 8 expressions.",
        params=p.FerPlusParams,
        **_reader("ferplus"),
        describe=lambda params: _grey_facts(
            expression=n.FERPLUS, **({"votes": ()} if params.labels == "votes" else {})
        ),
    )
    yield Provider(
        name="raf_db",
        summary="RAF-DB, basic: 7 expressions.",
        params=p.RafDbParams,
        **_reader("raf_db"),
        describe=lambda params: _facts(_TRAIN_TEST, expression=n.RAF_DB),  # noqa: ARG005
    )
    yield Provider(
        name="ck_plus",
        summary="CK+: posed expressions, grouped by person for folds.",
        params=p.CkPlusParams,
        **_reader("ck_plus"),
        describe=lambda params: _facts(_TRAIN, expression=params.expressions),
    )


def _poses() -> Iterable[Provider]:
    yield Provider(
        name="pose_300w_lp",
        summary="300W-LP: head poses; with AFLW2000 as test, and BIWI.",
        params=p.Pose300WLpParams,
        **_reader("landmark_pose", "300w_lp"),
        describe=_describe_300w_lp,
    )
    yield Provider(
        name="aflw2000",
        summary="AFLW2000-3D: head poses, a test set.",
        params=p.Aflw2000Params,
        **_reader("landmark_pose", "aflw2000"),
        describe=lambda params: _facts(("test",), pose=()),  # noqa: ARG005
    )
    yield Provider(
        name="biwi",
        summary="BIWI Kinect: head poses in 24 sequences of 20 people.",
        params=p.BiwiParams,
        **_reader("biwi"),
        describe=lambda params: _facts(_TRAIN_TEST if params.test_sequences else _TRAIN, pose=()),
        check=_check_biwi,
    )


def _people() -> Iterable[Provider]:
    yield Provider(
        name="utkface",
        summary="UTKFace: age, gender, race.",
        params=p.UtkFaceParams,
        **_reader("utkface"),
        describe=lambda params: _facts(_TRAIN, age=(), gender=n.GENDERS, race=n.RACES_UTKFACE),  # noqa: ARG005
    )
    yield Provider(
        name="fairface",
        summary="FairFace: gender, age group, race.",
        params=p.FairFaceParams,
        **_reader("fairface"),
        describe=lambda params: _facts(  # noqa: ARG005
            _TRAIN_VAL, gender=n.GENDERS, age_group=n.AGES_FAIRFACE, race=n.RACES_FAIRFACE
        ),
    )
    yield Provider(
        name="celeba",
        summary="CelebA: gender and 40 attributes.",
        params=p.CelebAParams,
        **_reader("celeba"),
        check=_check_celeba,
        describe=lambda params: _facts(_ALL, gender=n.GENDERS, attributes=()),  # noqa: ARG005
    )
    yield Provider(
        name="adience",
        summary="Adience: gender and age group, one of five folds as test.",
        params=p.AdienceParams,
        **_reader("adience"),
        describe=lambda params: _facts(_TRAIN_TEST, gender=n.GENDERS, age_group=n.AGES_ADIENCE),  # noqa: ARG005
    )


def _reader(module: str, layout: str = "") -> dict[str, Any]:
    """Return what builds a data source, importing the module that reads it only then, and its trial.

    Args:
        module: The module that reads it.
        layout: Which of the data sets it is, if the module reads several.
    """

    def build(params: Any, context: Any) -> Any:
        home = import_module(f"auxlearn_faces.readers.{module}")
        return getattr(home, f"build_{layout}" if layout else "build")(params, context)

    return {"build": build, "trial": _trial(layout or module)}


def _trial(layout: str) -> Callable[[], Any]:
    """Return what makes the conditions of the checks: a small made-up data set in the layout of the real one."""

    def prepare(folder: Path) -> dict[str, str]:
        written = getattr(import_module("auxlearn_faces.testing"), f"write_{layout}")(folder)
        return {"path": str(written)}

    def trial() -> Any:
        from auxlearn.testing import Trial

        return Trial(prepare=prepare)

    return trial


def _facts(splits: tuple[str, ...], **targets: tuple[str, ...]) -> DataFacts:
    return DataFacts(targets=targets, splits=splits)


def _grey_facts(**targets: tuple[str, ...]) -> DataFacts:
    return DataFacts(inputs={"image": (3, 48, 48)}, targets=targets, splits=_ALL)


def _describe_300w_lp(params: p.Pose300WLpParams) -> DataFacts:
    further = {"test": params.aflw2000, "biwi": params.biwi}
    return _facts((*_TRAIN, *(split for split, path in further.items() if path is not None)), pose=())


def _check_celeba(params: p.CelebAParams, context: CheckContext) -> Iterable[Problem]:  # noqa: ARG001
    """Find a crop of images that have no boxes."""
    if params.crop == "box" and params.images == "aligned":
        what = "the boxes are those of the images in the wild"
        yield Problem(where="/crop", what=what, allowed='none, or "images": "wild"')


def _check_biwi(params: p.BiwiParams, context: CheckContext) -> Iterable[Problem]:  # noqa: ARG001
    """Find a sequence that is named twice."""
    for index, sequence in enumerate(params.test_sequences):
        if sequence in params.test_sequences[:index]:
            yield Problem(where=f"/test_sequences/{index}", what=f"sequence {sequence} is named twice")
