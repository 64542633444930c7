"""Faces for auxlearn: facial expression recognition, head pose, gender.

This module loads no torch: the tasks are imported when something is built.
"""

from auxlearn_faces.expressions import EXPRESSIONS as EXPRESSIONS
from auxlearn_faces.params import FerParams as FerParams
from auxlearn_faces.params import GenderParams as GenderParams
from auxlearn_faces.params import HeadPoseParams as HeadPoseParams
from auxlearn_faces.provider import auxlearn_primary_tasks as auxlearn_primary_tasks

__all__ = ["EXPRESSIONS", "FerParams", "GenderParams", "HeadPoseParams", "auxlearn_primary_tasks"]
