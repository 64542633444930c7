"""Scoring a split, and choosing the best weights by it."""

from auxlearn.evaluation.score import score as score
from auxlearn.evaluation.selection import Selection as Selection

__all__ = ["Selection", "score"]
