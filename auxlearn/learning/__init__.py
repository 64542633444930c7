"""One step of learning: interfaces of plugins, views, features, losses, balancing and randomness."""

from auxlearn.learning.context import BuildContext as BuildContext
from auxlearn.learning.context import FrozenCopy as FrozenCopy
from auxlearn.learning.context import LossKey as LossKey
from auxlearn.learning.context import Shared as Shared
from auxlearn.learning.context import StepContext as StepContext
from auxlearn.learning.draws import Draws as Draws
from auxlearn.learning.features import Feature as Feature
from auxlearn.learning.features import Features as Features
from auxlearn.learning.features import FeatureShape as FeatureShape
from auxlearn.learning.features import MapShape as MapShape
from auxlearn.learning.interfaces import Augmentation as Augmentation
from auxlearn.learning.interfaces import Backbone as Backbone
from auxlearn.learning.interfaces import Balanced as Balanced
from auxlearn.learning.interfaces import Balancer as Balancer
from auxlearn.learning.interfaces import PretextTask as PretextTask
from auxlearn.learning.interfaces import PrimaryTask as PrimaryTask
from auxlearn.learning.interfaces import TaskResult as TaskResult
from auxlearn.learning.interfaces import View as View
from auxlearn.learning.motion import Motion as Motion
from auxlearn.learning.preprocess import Preprocess as Preprocess
from auxlearn.learning.preprocess import scale_pixels as scale_pixels
from auxlearn.learning.standardise import Standardise as Standardise

__all__ = [
    "Augmentation",
    "Backbone",
    "Balanced",
    "Balancer",
    "BuildContext",
    "Draws",
    "Feature",
    "FeatureShape",
    "Features",
    "FrozenCopy",
    "LossKey",
    "MapShape",
    "Motion",
    "Preprocess",
    "PretextTask",
    "PrimaryTask",
    "Shared",
    "Standardise",
    "StepContext",
    "TaskResult",
    "View",
    "scale_pixels",
]
