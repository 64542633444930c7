"""What was asked: the spec, its models, its schema, and every problem with its pointer. Imports no torch."""

from auxlearn.spec.load import load_spec as load_spec
from auxlearn.spec.models import Choice as Choice
from auxlearn.spec.models import Spec as Spec

__all__ = ["Choice", "Spec", "load_spec"]
