"""The checks. Each module adds its own to the list when it is imported; they run in this order."""

from auxlearn.testing.checks import declaration as declaration  # isort: skip
from auxlearn.testing.checks import conduct as conduct  # isort: skip
from auxlearn.testing.checks import numerics as numerics  # isort: skip

__all__ = ["conduct", "declaration", "numerics"]
