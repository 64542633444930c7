"""What an augmentation makes of images: floats of the right size, and a motion that is right."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from auxlearn.learning import Motion, Preprocess
from auxlearn.testing.asking import require_images
from auxlearn.testing.checking import Fault, NotApplicable, check
from auxlearn.testing.points import bright_points, misplaced
from auxlearn.testing.subject import Subject
from auxlearn.testing.working import Augmented, draws_at, given_to, work

__all__ = ["evaluation_row_by_row", "images_in_range", "motion_of_images_is_right", "other_inputs_stay"]


def _done(subject: Subject) -> Augmented:
    done: Augmented = work(subject, subject.bench(), given_to(subject), draws_at())
    return done


@check("augmentation", fix="return float images in [0, 1] of the size that `context.size` asks for", asks="form")
def images_in_range(subject: Subject) -> None:
    """uint8 images come out as floats in [0, 1] of the size asked for, in training and in evaluation."""
    require_images(subject)
    done = _done(subject)
    for when, inputs in (("training", done.inputs), ("evaluation", done.evaluated)):
        for name, shape in subject.inputs.items():
            if shape.kind == "image":
                wanted = (subject.trial.rows, shape.shape[0], subject.size, subject.size)
                wrong = _wrong(inputs.get(name), wanted)
                if wrong:
                    raise Fault(f"in {when}, {name} is {wrong}, expected float {wanted} in [0, 1]")
    if not isinstance(done.motion, Motion) or done.motion.matrix.shape != (subject.trial.rows, 2, 3):
        raise Fault(f"the motion is {done.motion!r:.60}, expected a Motion of {subject.trial.rows} rows")


def _wrong(images: Tensor | None, wanted: tuple[object, ...]) -> str | None:
    if images is None:
        return "missing"
    if not images.is_floating_point() or tuple(images.shape) != wanted:
        return f"{images.dtype} {tuple(images.shape)}"
    low, high = float(images.min()), float(images.max())
    return f"between {low:.3g} and {high:.3g}" if low < -1e-3 or high > 1 + 1e-3 else None


@check("augmentation", fix="change what is an image in `context.inputs`, and return the rest as it is")
def other_inputs_stay(subject: Subject) -> None:
    """Inputs that are no images pass through unchanged."""
    others = [name for name, one in subject.inputs.items() if one.kind != "image"]
    if not others:
        raise NotApplicable("the trial has images only")
    given, done = given_to(subject), _done(subject)
    changed = [name for name in others if name not in done.inputs or not torch.equal(done.inputs[name], given[name])]
    if changed:
        raise Fault(f"changed {', '.join(changed)}")


@check(
    "augmentation",
    fix="return the affine map from source to result in pixels, the centre of the first at (0, 0)",
)
def motion_of_images_is_right(subject: Subject) -> None:
    """A known point is where the motion says, in training and in evaluation: targets are moved by it."""
    require_images(subject)
    bench = subject.bench()
    given = given_to(subject, rows=len(bright_points((1, 8, 8))[0]))
    for name, shape in subject.inputs.items():
        if shape.kind != "image":
            continue
        images, points = bright_points(shape.shape)
        pixels = (images * 255).round().to(torch.uint8)
        done = work(subject, bench, {**given, name: pixels}, draws_at())
        _require(done.inputs, name, done.motion, points, "training")
        preprocess = bench.component.preprocess
        if isinstance(preprocess, Preprocess):
            _require(done.evaluated, name, preprocess.motion(pixels), points, "evaluation")


def _require(inputs: Mapping[str, Tensor], name: str, motion: Motion, points: Tensor, when: str) -> None:
    wrong = misplaced(inputs[name], motion, points)
    if wrong:
        raise Fault(f"in {when}, {wrong}")


@check("augmentation", fix="let `preprocess` describe what `evaluate` does, to each row alone")
def evaluation_row_by_row(subject: Subject) -> None:
    """Evaluation is what `preprocess` does, to each row alone: users of an export repeat it."""
    bench, given = subject.bench(), given_to(subject)
    component = bench.component
    whole = component.evaluate(given)
    part = component.evaluate({name: tensor[:2] for name, tensor in given.items()})
    told = component.preprocess(given)
    for name, tensor in whole.items():
        if not torch.allclose(part[name].float(), tensor[:2].float(), atol=1e-5):
            raise Fault(f"the first rows of {name} change with the others")
        if not torch.allclose(told[name].float(), tensor.float(), atol=1e-5):
            raise Fault(f"`preprocess` makes something else of {name} than `evaluate`")
