"""Clips made from nothing, and small data sets of them in the layouts of the public ones, for tests and examples."""

from auxlearn_media.testing.clips import write_clip as write_clip
from auxlearn_media.testing.sets import write_caer as write_caer
from auxlearn_media.testing.sets import write_csd as write_csd
from auxlearn_media.testing.sets import write_meld as write_meld
from auxlearn_media.testing.sets import write_mosei as write_mosei
from auxlearn_media.testing.sets import write_mosei_clips as write_mosei_clips
from auxlearn_media.testing.sets import write_voxceleb2 as write_voxceleb2

__all__ = [
    "write_caer",
    "write_clip",
    "write_csd",
    "write_meld",
    "write_mosei",
    "write_mosei_clips",
    "write_voxceleb2",
]
