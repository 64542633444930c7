"""The checks. Each module adds its own to the list when it is imported; they run in the order of the modules."""

from auxlearn.testing.checks import balance as balance
from auxlearn.testing.checks import conduct as conduct
from auxlearn.testing.checks import declaration as declaration
from auxlearn.testing.checks import device as device
from auxlearn.testing.checks import drawn as drawn
from auxlearn.testing.checks import features as features
from auxlearn.testing.checks import gradients as gradients
from auxlearn.testing.checks import losses as losses
from auxlearn.testing.checks import memory as memory
from auxlearn.testing.checks import numerics as numerics
from auxlearn.testing.checks import pixels as pixels
from auxlearn.testing.checks import samples as samples
from auxlearn.testing.checks import supervision as supervision
from auxlearn.testing.checks import views as views

__all__ = [
    "balance",
    "conduct",
    "declaration",
    "device",
    "drawn",
    "features",
    "gradients",
    "losses",
    "memory",
    "numerics",
    "pixels",
    "samples",
    "supervision",
    "views",
]
