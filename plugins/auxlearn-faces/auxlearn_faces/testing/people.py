"""UTKFace, FairFace, CelebA and Adience in small."""

from __future__ import annotations

from pathlib import Path

from auxlearn_faces.readers.names import AGES_ADIENCE, AGES_FAIRFACE, ATTRIBUTES, RACES_FAIRFACE
from auxlearn_faces.testing.pictures import write_lines, write_picture

__all__ = ["write_adience", "write_celeba", "write_fairface", "write_utkface"]


def write_utkface(folder: Path, count: int = 20) -> Path:
    """Write UTKFace: some well-named faces, and those of its oddly named ones of which the archive is known."""
    names = [f"{1 + number}_{number % 2}_{number % 5}_201701161740{number:05d}.jpg.chip.jpg" for number in range(count)]
    odd = ["24_0_1_20170116220224657 .jpg.chip.jpg", "55_0_0_20170116232725357jpg.chip.jpg"]
    broken = ["39_1_20170116174525125.jpg.chip.jpg", "61_1_20170109150557335.jpg.chip.jpg"]
    broken.append("53__0_20170116184028385.jpg")
    for name in (*names, *odd, *broken):
        write_picture(folder / name, 20, 20)
    return folder


def write_fairface(folder: Path, each: int = 2) -> Path:
    """Write FairFace: `each` training faces and one validation face of each age group and race."""
    for split, count in (("train", each), ("val", 1)):
        lines = ["file,age,gender,race,service_test"]
        for number in range(9 * count):
            gender = ("Male", "Female")[number % 2]
            age, race = AGES_FAIRFACE[number % 9], RACES_FAIRFACE[number % 7]
            write_picture(folder / split / f"{number + 1}.jpg", 16, 16)
            lines.append(f"{split}/{number + 1}.jpg,{age},{gender},{race},{number % 3 == 0}")
        write_lines(folder / f"fairface_label_{split}.csv", lines)
    return folder


def write_celeba(folder: Path, count: int = 12) -> Path:
    """Write CelebA as its archive: `Anno/`, `Eval/`, `Img/`. Half of the images train, a quarter each is the rest.

    The second image has a box without area, as one has in the archive.
    """
    names = [f"{number:06d}.jpg" for number in range(1, count + 1)]
    heads = {
        "list_attr_celeba": " ".join(ATTRIBUTES) + " ",
        "list_bbox_celeba": "image_id x_1 y_1 width height",
        "list_landmarks_align_celeba": _landmark_names(),
        "list_landmarks_celeba": _landmark_names(),
    }
    lines: dict[str, list[str]] = {name: [str(count), head] for name, head in heads.items()}
    for number, name in enumerate(names):
        write_picture(folder / "Img" / "img_align_celeba" / name, 22, 27)
        write_picture(folder / "Img" / "img_celeba" / name, 40, 30)
        marks = " ".join(f"{1 if (number + place) % 3 == 0 else -1:2d}" for place in range(40))
        points = " ".join(f"{5 + number + place:3d}" for place in range(10))
        lines["list_attr_celeba"].append(f"{name} {marks}")
        lines["list_bbox_celeba"].append(
            f"{name}    320  828  0  0" if number == 1 else f"{name}    {4 + number}  3  18  20"
        )
        lines["list_landmarks_align_celeba"].append(f"{name}  {points}")
        lines["list_landmarks_celeba"].append(f"{name}  {points}")
    for name, own in lines.items():
        write_lines(folder / "Anno" / f"{name}.txt", own, end="\r\n")
    parts = [0 if number < count // 2 else 1 if number < 3 * count // 4 else 2 for number in range(count)]
    write_lines(
        folder / "Eval" / "list_eval_partition.txt", [f"{n} {part}" for n, part in zip(names, parts, strict=True)]
    )
    return folder


def _landmark_names() -> str:
    points = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
    return " ".join(f"{point}_{axis}" for point in points for axis in "xy")


def write_adience(folder: Path, each: int = 8) -> Path:
    """Write Adience: `each` faces in each of five folds, of two albums each, in both archives; one without a gender."""
    head = "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\ttilt_ang\tfiducial_yaw_angle\tfiducial_score"
    for fold in range(5):
        lines = [head]
        for number in range(each):
            user, image, face = f"{fold}000{number % 2}@N0{fold}", f"{fold}{number}_abc_o.jpg", fold * each + number
            age = "35" if number == 1 else AGES_ADIENCE[(fold + number) % 8]
            gender = "u" if number == 3 else "fm"[number % 2]
            write_picture(folder / "aligned" / user / f"landmark_aligned_face.{face}.{image}", 20, 20)
            write_picture(folder / "faces" / user / f"coarse_tilt_aligned_face.{face}.{image}")
            lines.append(f"{user}\t{image}\t{face}\t{age}\t{gender}\t10\t20\t300\t300\t0\t15\t80")
        for prefix in ("fold", "fold_frontal"):
            write_lines(folder / f"{prefix}_{fold}_data.txt", lines if prefix == "fold" else lines[:-1])
    return folder
