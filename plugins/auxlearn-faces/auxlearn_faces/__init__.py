"""Faces for auxlearn: facial expression recognition, head pose, gender, and readers of the public data sets.

This module loads no torch: the tasks are imported when something is built.
"""

from auxlearn_faces.expressions import EXPRESSIONS as EXPRESSIONS
from auxlearn_faces.params import FerParams as FerParams
from auxlearn_faces.params import GenderParams as GenderParams
from auxlearn_faces.params import HeadPoseParams as HeadPoseParams
from auxlearn_faces.provider import auxlearn_primary_tasks as auxlearn_primary_tasks
from auxlearn_faces.readers.provider import auxlearn_data_sources as auxlearn_data_sources

__all__ = [
    "EXPRESSIONS",
    "FerParams",
    "GenderParams",
    "HeadPoseParams",
    "auxlearn_data_sources",
    "auxlearn_primary_tasks",
]
