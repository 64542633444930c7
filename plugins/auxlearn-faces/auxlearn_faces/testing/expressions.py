"""AffectNet, FER2013, FER+, RAF-DB and CK+ in small."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from auxlearn_faces.testing.pictures import write_lines, write_picture

__all__ = [
    "write_affectnet",
    "write_affectnet_arrays",
    "write_ck_plus",
    "write_fer2013",
    "write_ferplus",
    "write_raf_db",
]

_AFFECTNET = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
_LANDMARKS = ";".join(f"{4 + point % 10}.5;{3 + point % 9}.25" for point in range(68))
_FERPLUS = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def write_affectnet(folder: Path, each: int = 2) -> Path:
    """Write the lists and folders of AffectNet.

    Beside `each` training images and one validation image of each of the eight expressions there are, as in the real
    set, training rows of labels 8 to 10, one TIFF, one BMP, and the image that is broken. The validation list has no
    head.
    """
    training = [
        _affectnet_row(folder, f"{1 + label % 2}/t{label}{n}.jpg", label) for label in range(11) for n in range(each)
    ]
    training += [_affectnet_row(folder, f"3/{name}", label) for label, name in ((1, "one.tif"), (2, "two.BMP"))]
    broken = "103/29a31ebf1567693f4644c8ba3476ca9a72ee07fe67a5860d98707a0a.jpg"
    training.append(_affectnet_row(folder, broken, 0))
    (folder / "Manually_Annotated_Images" / broken).write_bytes(b"")
    validation = [_affectnet_row(folder, f"4/v{label}.jpg", label) for label in range(8)]
    write_lines(folder / "training.csv", [_AFFECTNET, *training])
    write_lines(folder / "validation.csv", validation)
    return folder


def _affectnet_row(folder: Path, name: str, label: int) -> str:
    write_picture(folder / "Manually_Annotated_Images" / name)
    affect = "-2,-2" if label >= 9 else f"{label / 10},{-label / 10}"
    return f"{name},4,2,12,10,{_LANDMARKS},{label},{affect}"


def write_affectnet_arrays(folder: Path, each: int = 2) -> Path:
    """Write `train_set` and `val_set` of AffectNet's release of 2021: `each` images of each of eight expressions."""
    for part in ("train_set", "val_set"):
        (folder / part / "annotations").mkdir(parents=True)
        for number in range(8 * each):
            write_picture(folder / part / "images" / f"{number}.jpg", 16, 16)
            label = number % 8
            values = {
                "exp": np.array(str(label)),  # as digits, as the real ones are
                "val": np.array(str(label / 10)),
                "aro": np.array(str(-label / 10)),
                "lnd": np.arange(136, dtype=float),
            }
            for name, value in values.items():
                np.save(folder / part / "annotations" / f"{number}_{name}.npy", value)
    return folder


def write_fer2013(folder: Path, each: int = 2) -> Path:
    """Write `fer2013.csv`: `each` pictures of each of seven expressions for training, one for each of the others."""
    noise = np.random.default_rng(2013)
    lines = ["emotion,pixels,Usage"]
    for usage, count in (("Training", each), ("PublicTest", 1), ("PrivateTest", 1)):
        for label in range(7):
            for _ in range(count):
                pixels = " ".join(map(str, noise.integers(0, 256, 48 * 48)))
                lines.append(f"{label},{pixels},{usage}")
    write_lines(folder / "fer2013.csv", lines)
    return folder


def write_ferplus(folder: Path) -> Path:
    """Write `fer2013.csv` with 28 pictures and `fer2013new.csv` with their votes.

    In each split the rows are, in order, one with a majority for each of the first seven expressions; the other seven
    of training are: a majority for contempt, no majority between two, a single vote each, unknown, no face, and two
    more for happiness.
    """
    write_fer2013(folder)
    clear = [_votes(**{str(label): 8, "8": 2}) for label in range(7)]
    rest = [_votes(**{"7": 10}), _votes(**{"0": 4, "3": 4, "4": 2}), "1,1,1,1,1,1,1,1,1,1", _votes(**{"8": 9})]
    rest += [_votes(**{"9": 10}), _votes(**{"1": 10}), _votes(**{"1": 6, "0": 3, "2": 1})]
    lines = [_FERPLUS]
    for number, votes in enumerate([*clear, *rest, *clear, *clear]):
        usage = "Training" if number < 14 else "PublicTest" if number < 21 else "PrivateTest"
        lines.append(f"{usage},{'' if votes.endswith(',10') else f'fer{number:07d}.png'},{votes}")
    write_lines(folder / "fer2013new.csv", lines)
    return folder


def _votes(**given: int) -> str:
    return ",".join(str(given.get(str(place), 0)) for place in range(10))


def write_raf_db(folder: Path, each: int = 2) -> Path:
    """Write RAF-DB's `basic`: `each` training faces and one test face of each of seven expressions."""
    lines = []
    for split, count in (("train", each), ("test", 1)):
        for number in range(7 * count):
            name = f"{split}_{number + 1:05d}"
            write_picture(folder / "Image" / "aligned" / f"{name}_aligned.jpg", 20, 20)
            write_picture(folder / "Image" / "original" / f"{name}.jpg")
            lines.append(f"{name}.jpg {number % 7 + 1}")
    write_lines(folder / "EmoLabel" / "list_patition_label.txt", lines)
    return folder


def write_ck_plus(folder: Path, people: int = 6) -> Path:
    """Write CK+: for each person a sequence of four frames of each of seven expressions, and one without a label."""
    for person in range(people):
        for sequence in range(1, 9):
            place = f"S{5 + person:03d}/{sequence:03d}"
            for frame in range(1, 5):
                name = f"{place.replace('/', '_')}_{frame:08d}"
                write_picture(folder / "cohn-kanade-images" / place / f"{name}.png", 16, 12)
                points = [f"   {point}.5000000e+00   {point}.2500000e+00" for point in range(1, 69)]
                write_lines(folder / "Landmarks" / place / f"{name}_landmarks.txt", points)
            (folder / "cohn-kanade-images" / place / ".DS_Store").write_bytes(b"")
            (folder / "Emotion" / place).mkdir(parents=True)
            if sequence < 8:
                write_lines(folder / "Emotion" / place / f"{name}_emotion.txt", [f"   {sequence}.0000000e+00"])
    return folder
