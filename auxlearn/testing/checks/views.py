"""What a pretext task shows: rows that stay rows, geometry that is told rightly."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from auxlearn.data import Batch
from auxlearn.learning import Motion, View
from auxlearn.testing.asking import few, require_images, value_of
from auxlearn.testing.checking import Fault, NotApplicable, check
from auxlearn.testing.points import bright_points, misplaced
from auxlearn.testing.subject import Subject
from auxlearn.testing.working import draws_at, given_to, work

__all__ = [
    "absent_rows_do_not_count",
    "motion_is_declared",
    "motion_is_right",
    "pictures_can_be_shown",
    "shared_view_keeps_its_shape",
    "views_have_images_in_range",
    "views_keep_rows",
]


def _views(subject: Subject, batch: Batch | None = None) -> tuple[View, ...]:
    task = subject.bench().component
    views: tuple[View, ...] = task.views(given_to(subject) if batch is None else batch, draws_at())
    return views


@check(
    "pretext_task",
    fix="return a tuple of `View`, whose inputs, answers and motion have the batch's rows first",
    asks="form",
)
def views_keep_rows(subject: Subject) -> None:
    """Each view has the rows of the batch, and answers rows first: losses and motions belong to rows."""
    views, rows, known = _views(subject), subject.trial.rows, set(subject.inputs)
    if not isinstance(views, tuple) or not views or not all(isinstance(view, View) for view in views):
        raise Fault(f"`views` returned {views!r:.60}, expected a tuple with at least one View")
    for number, view in enumerate(views):
        if not view.inputs or set(view.inputs) - known:
            raise Fault(f"view {number} shows {sorted(view.inputs)}, expected some of {sorted(known)}")
        for part in ("inputs", "answers"):
            for name, tensor in getattr(view, part).items():
                if not isinstance(tensor, Tensor) or not tensor.ndim or len(tensor) != rows:
                    found = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
                    raise Fault(f"view {number}: `{part}` has {name} of {found}, expected {rows} rows first")
        if view.motion is not None and view.motion.matrix.shape != (rows, 2, 3):
            raise Fault(f"view {number}: `motion` is {tuple(view.motion.matrix.shape)}, expected {(rows, 2, 3)}")


@check("pretext_task", fix='return one view of the batch\'s own size, or declare `view="own"` in the provider')
def shared_view_keeps_its_shape(subject: Subject) -> None:
    """A view that primary tasks share is one, in the shape of the batch: it is put back in its place."""
    if subject.provider.view != "shared":
        raise NotApplicable(f'its view is "{subject.provider.view}"')
    batch = given_to(subject)
    views = _views(subject, batch)
    if len(views) != 1:
        raise Fault(f"a shared view is exactly one, it makes {len(views)}")
    wanted, found = ({name: tuple(t.shape) for name, t in one.inputs.items()} for one in (batch, views[0]))
    if wanted != found:
        raise Fault(f"shows {found}, expected {wanted}")


@check("pretext_task", fix="clamp the images: `images.clamp(0, 1)`", level="recommended")
def views_have_images_in_range(subject: Subject) -> None:
    """Images of views stay in [0, 1]: the backbone normalises them as such."""
    require_images(subject)
    for number, view in enumerate(_views(subject)):
        for name, tensor in view.inputs.items():
            if subject.inputs[name].kind != "image":
                continue
            if not tensor.is_floating_point():
                raise Fault(f"view {number}: {name} is {tensor.dtype}, expected floats")
            low, high = float(tensor.detach().min()), float(tensor.detach().max())
            if low < -1e-3 or high > 1 + 1e-3:
                raise Fault(f"view {number}: {name} is between {low:.3g} and {high:.3g}")


@check(
    "pretext_task",
    fix="return the affine map from source to result, in pixels with the centre of the first at (0, 0); else None",
)
def motion_is_right(subject: Subject) -> None:
    """A known point is where the motion says: targets such as angles and landmarks are moved by it."""
    require_images(subject)
    views = 0
    for name, shape in subject.inputs.items():
        if shape.kind == "image":
            images, points = bright_points(shape.shape)
            many = subject.changed(rows=len(images))
            batch = given_to(many)
            marked = attrs.evolve(batch, inputs={**batch.inputs, name: images})
            for number, view in enumerate(_views(many, marked)):
                if view.motion is not None and name in view.inputs:
                    views += 1
                    wrong = misplaced(view.inputs[name], view.motion, points)
                    if wrong:
                        raise Fault(f"view {number}: {wrong}")
    if not views:
        raise NotApplicable("its views keep no geometry")


@check("pretext_task", fix="set `moves_pixels=True` in the provider")
def motion_is_declared(subject: Subject) -> None:
    """A task that moves pixels says so in its provider: others on the same view depend on it."""
    if subject.provider.moves_pixels:
        return
    for number, view in enumerate(_views(subject)):
        if view.motion is None:
            raise Fault(f"view {number} keeps no geometry, and the provider declares `moves_pixels=False`")
        still = Motion.still(len(view.motion.matrix)).matrix
        if not torch.allclose(view.motion.matrix.float(), still, atol=1e-4):
            raise Fault(f"view {number} moves, and the provider declares `moves_pixels=False`")


@check(
    "pretext_task",
    fix='take `batch.present.get("inputs/<name>")` along in the answers, and mask the terms and the count by it',
    level="recommended",
)
def absent_rows_do_not_count(subject: Subject) -> None:
    """Rows that lack the modality do not count: data of several modalities has such rows."""
    bench, batch = subject.bench().eval(), given_to(subject)
    missing = torch.arange(len(batch)) % 2 == 0
    for name, tensor in batch.inputs.items():
        found = []
        for filling in (torch.zeros_like(tensor), tensor.flip(0)):
            mask = missing.view(-1, *[1] * (tensor.ndim - 1))
            inputs = {**batch.inputs, name: torch.where(mask, filling, tensor)}
            lacking = attrs.evolve(batch, inputs=inputs, present={f"inputs/{name}": ~missing})
            found.append(work(subject, bench, lacking, draws_at()))
        whole = work(subject, bench, batch, draws_at())
        if value_of(found[0].count) > 0.9 * value_of(whole.count):
            raise Fault(f"counts {value_of(found[0].count):g} terms where half of the rows lack {name}")
        first, second = (value_of(one.result.loss) for one in found)
        if abs(first - second) > 1e-4 * max(1.0, abs(first)):
            raise Fault(f"the loss depends on what stands in rows that lack {name}")


@check("pretext_task", fix="return float images [N, 3, H, W] in [0, 1] by name", level="recommended")
def pictures_can_be_shown(subject: Subject) -> None:
    """Pictures are images in [0, 1]: loggers draw them."""
    bench = subject.bench().eval()
    done = work(subject, bench, given_to(subject), draws_at())
    shown = bench.component.picture(done.views, done.result)
    if not shown:
        raise NotApplicable("draws no pictures")
    wrong = [name for name, picture in shown.items() if not _is_picture(picture)]
    if wrong:
        raise Fault(f"no images [N, 3, H, W] in [0, 1]: {few(wrong)}")


def _is_picture(picture: object) -> bool:
    if not isinstance(picture, Tensor) or picture.ndim != 4 or picture.shape[1] != 3:
        return False
    return float(picture.detach().min()) >= -1e-3 and float(picture.detach().max()) <= 1 + 1e-3
