"""`fer`: facial expression recognition, a classification whose classes have fixed names and order."""

from __future__ import annotations

from auxlearn.learning import BuildContext
from auxlearn_faces.affect import FerWithAffect
from auxlearn_faces.choosing import choose_numbers
from auxlearn_faces.expressions import choose_expressions
from auxlearn_faces.params import AFFECT, FerParams
from auxlearn_supervised.classification import Classification
from auxlearn_supervised.targets import class_weights

__all__ = ["build_fer"]


def build_fer(params: FerParams, context: BuildContext) -> Classification | FerWithAffect:
    """Return the classification of those of the eight expressions that the data has.

    Classes are in AffectNet's order whatever the order of the data, so models and confusion matrices of different
    data sets can be compared. Rows of excluded expressions, and of AffectNet's labels none, uncertain and non-face,
    count as rows without a label.

    The paper ("Using Self-Supervised Auxiliary Tasks to Improve Fine-Grained Facial Representation", arXiv 2105.06421)
    trains cross entropy on the pooled feature; its authors' code weights the rows of AffectNet by the count of the
    most frequent class over the count of their own, which is proportional to `class_weights="balanced"`, and divides
    by the number of rows. Here the sum is divided by the sum of the weights, so the weights leave the size of this
    loss alone relative to the auxiliary ones; on AffectNet theirs makes it 3.7 times as large.

    With `valence_arousal` the task has a second head for these; see `FerWithAffect`.

    Raises:
        SpecError: If no target of the data is about expressions, or about valence and arousal if these are asked for.

    Examples:
        >>> from auxlearn.data import TargetInfo
        >>> from auxlearn.learning import BuildContext, FeatureShape
        >>> from auxlearn_faces import FerParams
        >>> from auxlearn_faces.fer import build_fer
        >>> emotion = TargetInfo(kind="class", names=("angry", "happy", "neutral"))
        >>> features = {"image": FeatureShape(pooled=8)}
        >>> build_fer(FerParams(), BuildContext(inputs={}, features=features, targets={"emotion": emotion})).names
        ('neutral', 'happiness', 'anger')
    """
    targets = {name: info.names for name, info in context.targets.items() if info.kind == "class"}
    chosen = choose_expressions(params.target, targets, params.exclude)
    found = context.class_counts.get(chosen.target, (1,) * len(chosen.index))
    counts = [0] * len(chosen.names)
    for place, count in zip(chosen.index, found, strict=True):
        if place is not None:
            counts[place] = count
    expression = Classification(
        context.features,
        target=chosen.target,
        names=chosen.names,
        index=chosen.index,
        weights=class_weights(params.class_weights, chosen.names, counts),
        label_smoothing=params.label_smoothing,
        dropout=params.dropout,
        hidden=params.hidden,
    )
    if params.valence_arousal is False or params.valence_arousal == ():
        return expression
    asked = None if params.valence_arousal is True else params.valence_arousal
    return FerWithAffect(
        expression,
        context.features,
        chosen=choose_numbers(asked, context.targets, AFFECT, "/valence_arousal"),
        kind=params.affect_loss,
        weight=params.affect_weight,
        dropout=params.dropout,
        hidden=params.hidden,
    )
