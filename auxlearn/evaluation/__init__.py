"""Scoring a split, and choosing the best weights by it."""

from auxlearn.evaluation.knn import Bank as Bank
from auxlearn.evaluation.knn import Neighbours as Neighbours
from auxlearn.evaluation.knn import remember as remember
from auxlearn.evaluation.score import main_scores as main_scores
from auxlearn.evaluation.score import score as score
from auxlearn.evaluation.score import score_names as score_names
from auxlearn.evaluation.selection import Selection as Selection

__all__ = ["Bank", "Neighbours", "Selection", "main_scores", "remember", "score", "score_names"]
