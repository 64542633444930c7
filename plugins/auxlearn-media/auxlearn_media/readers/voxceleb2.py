"""VoxCeleb2: interviews of celebrities without labels of what they feel; ConCluGen pretrains on its development set.

Paper: "VoxCeleb2: Deep Speaker Recognition" (Interspeech 2018, arXiv 1806.05622;
https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox2.html). The archives of the development set hold pictures,
`dev/mp4/id00012/21Uxsk56VDQ/00001.mp4`, and sound, `dev/aac/id00012/21Uxsk56VDQ/00001.m4a`. Of a clip without a file of
its own for the sound, that of the picture is used, if there is any. All clips are `train`; the group is the person.
There are no transcripts.
"""

from __future__ import annotations

from auxlearn.data import DataContext, TableRow
from auxlearn_media.readers.layout import Layout
from auxlearn_media.readers.params import VoxCeleb2Params
from auxlearn_media.source import ClipSource, Part

__all__ = ["build"]


def build(params: VoxCeleb2Params, context: DataContext) -> ClipSource:
    """Return the development set of VoxCeleb2.

    Raises:
        DataError: If the folder is not laid out as VoxCeleb2.
        SpecError: If frames are to be read and have no size.
    """
    layout = Layout.open(params.path, context)
    pictures = layout.path / layout.need("dev/mp4/", "mp4/")
    layout.settle()
    texts = layout.transcripts(params.transcripts)
    sounds = pictures.parent / "aac"
    rows, parts = [], []
    for clip in sorted(pictures.glob("*/*/*.mp4")):
        path = clip.relative_to(layout.path).as_posix()
        sound = sounds / clip.relative_to(pictures).with_suffix(".m4a")
        rows.append(TableRow(path=path, group=clip.parts[-3]))
        parts.append(Part(text=texts.get(path), sound=str(sound.resolve()) if sound.is_file() else None))
    if not rows:
        layout.wrong(str(pictures), "there are no clips", allowed="id00012/21Uxsk56VDQ/00001.mp4, ...")
    layout.settle()
    return ClipSource(rows, parts, root=layout.path, targets={}, params=params, size=context.size)
