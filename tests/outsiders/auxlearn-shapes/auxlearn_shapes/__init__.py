"""Drawings of circles, squares and triangles.

Importing this module loads no torch.
"""

from auxlearn_shapes.provider import ShapesParams as ShapesParams
from auxlearn_shapes.provider import auxlearn_data_sources as auxlearn_data_sources

__all__ = ["ShapesParams", "auxlearn_data_sources"]
