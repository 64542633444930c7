"""The settings of the data sources. No torch."""

from __future__ import annotations

from typing import Literal

import attrs

from auxlearn.registry import option
from auxlearn_faces.expressions import EXPRESSIONS
from auxlearn_faces.readers.names import CK_PLUS

__all__ = [
    "AdienceParams",
    "AffectNetParams",
    "Aflw2000Params",
    "BiwiParams",
    "CelebAParams",
    "CkPlusParams",
    "FairFaceParams",
    "Fer2013Params",
    "FerPlusParams",
    "FolderParams",
    "ImageParams",
    "Pose300WLpParams",
    "RafDbParams",
    "UtkFaceParams",
]

_LIMIT = "Leave out heads with an angle of more degrees than this, as the field does with 99; null keeps all."


@attrs.frozen(kw_only=True)
class FolderParams:
    """What every reader has: where the data set is."""

    path: str = option(help="Folder of the data set, relative to the folder of the spec; `~` is the user's home.")


@attrs.frozen(kw_only=True)
class ImageParams(FolderParams):
    """What every reader of image files has."""

    fit: Literal["crop", "squash"] = option(
        "crop",
        help="How images that are not square become so: the central square, or all of it with changed proportions.",
    )


@attrs.frozen(kw_only=True)
class AffectNetParams(ImageParams):
    """Settings of `affectnet`."""

    classes: Literal[8, 7] = option(8, help="Expressions: 8, or 7 without contempt and its rows.")
    crop: Literal["none", "box"] = option(
        "none", help="Show the whole image, or only the face box of the list (which the release of 2021 lacks)."
    )
    formats: Literal["all", "hmtl"] = option(
        "all", help="`hmtl` leaves TIFF images out, and from training BMP images too, as the code of HMTL does."
    )
    images: str | None = option(
        None, help="Folder of the images, relative to `path`; null looks for Manually_Annotated_Images."
    )

    @property
    def expressions(self) -> tuple[str, ...]:
        """The expressions, in the order of AffectNet's labels."""
        return EXPRESSIONS[: self.classes]


@attrs.frozen(kw_only=True)
class Fer2013Params(FolderParams):
    """Settings of `fer2013`."""


@attrs.frozen(kw_only=True)
class FerPlusParams(FolderParams):
    """Settings of `ferplus`."""

    labels: Literal["majority", "votes"] = option(
        "majority",
        help="Rows and labels of the paper's majority voting; or those of its cross entropy, with the votes "
        "as a further target.",
    )


@attrs.frozen(kw_only=True)
class RafDbParams(ImageParams):
    """Settings of `raf_db`."""

    images: Literal["aligned", "original"] = option("aligned", help="The aligned faces (100 px), or the photos.")


@attrs.frozen(kw_only=True)
class CkPlusParams(ImageParams):
    """Settings of `ck_plus`."""

    frames: int = option(1, ge=1, help="Frames at the end of a sequence that have its expression.")
    neutral: bool = option(False, help="Add the first frame of each sequence as neutral.")
    contempt: bool = option(True, help="Use the sequences of contempt.")

    @property
    def expressions(self) -> tuple[str, ...]:
        """The expressions, in the order of CK+'s labels."""
        used = {"neutral": self.neutral, "contempt": self.contempt}
        return tuple(name for name in CK_PLUS if used.get(name, True))


@attrs.frozen(kw_only=True)
class Pose300WLpParams(ImageParams):
    """Settings of `pose_300w_lp`."""

    crop: Literal["face", "none"] = option("face", help="Crop loosely around the landmarks, or not at all.")
    margin: float = option(
        0.3, ge=0, help="How loosely, `k` of 6DRepNet, which draws it from 0.2 to 0.4 anew for each training image."
    )
    flipped: bool = option(True, help="Use the mirrored copies in the *_Flip folders.")
    limit: float | None = option(99.0, gt=0, help=_LIMIT)
    aflw2000: str | None = option(None, help="Folder of AFLW2000-3D, which becomes the split `test`; null: none.")
    biwi: str | None = option(None, help="Folder of BIWI (`hpdb`), which becomes the split `biwi`; null: none.")


@attrs.frozen(kw_only=True)
class Aflw2000Params(ImageParams):
    """Settings of `aflw2000`."""

    crop: Literal["face", "none"] = option("face", help="Crop loosely around the landmarks, or not at all.")
    margin: float = option(0.2, ge=0, help="How loosely: `k` of 6DRepNet.")
    landmarks: Literal["pt2d", "pt3d_68"] = option(
        "pt2d", help="The landmarks to crop by: those that 6DRepNet takes, or the 68 of the fitted model."
    )
    limit: float | None = option(99.0, gt=0, help=_LIMIT)


@attrs.frozen(kw_only=True)
class BiwiParams(ImageParams):
    """Settings of `biwi`."""

    crop: Literal["head", "none"] = option("head", help="Crop a square around the head's centre, or not at all.")
    side: float = option(280.0, gt=0, help="Side of that square in millimetres at the distance of the head.")
    test_sequences: tuple[int, ...] = option((), ge=1, le=24, help="Sequences that become the split `test`.")


@attrs.frozen(kw_only=True)
class UtkFaceParams(ImageParams):
    """Settings of `utkface`."""


@attrs.frozen(kw_only=True)
class FairFaceParams(ImageParams):
    """Settings of `fairface`."""

    images: str = option(".", help="Folder that holds train/ and val/, relative to `path`.")


@attrs.frozen(kw_only=True)
class CelebAParams(ImageParams):
    """Settings of `celeba`."""

    images: Literal["aligned", "wild"] = option("aligned", help="Align&cropped images, or those in the wild.")
    crop: Literal["none", "box"] = option("none", help="Show the whole image, or only the face box (in the wild).")


@attrs.frozen(kw_only=True)
class AdienceParams(ImageParams):
    """Settings of `adience`."""

    fold: int = option(0, ge=0, le=4, help="The fold that is the split `test`; the other four are `train`.")
    images: Literal["aligned", "faces"] = option("aligned", help="Which of the two archives to read.")
    frontal: bool = option(False, help="Read the lists of the nearly frontal faces (fold_frontal_*).")
