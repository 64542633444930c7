"""`Built`: what a spec describes, for a training loop of one's own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs

from auxlearn.errors import Problem, SpecError

if TYPE_CHECKING:
    from auxlearn.data import Batch, Prepared
    from auxlearn.learning.learner import Learner
    from auxlearn.learning.plan import Moment
    from auxlearn.results.model import TrainedModel
    from auxlearn.spec.models import Spec

__all__ = ["Built", "build_from"]


@attrs.frozen(eq=False, kw_only=True)
class Built:
    """The learner and the data of a spec, for a training loop of one's own on one device.

    Of the section `train`, `batch_size`, `forward` and the length (`epochs`, `steps`, `epoch`) are followed. What a
    trainer does is left to the loop: optimizer and schedule, devices, precision, micro-batches, the moving average of
    weights, checkpoints.

    Attributes:
        spec: The spec with every default filled in.
        learner: Backbone, tasks, augmentation, balancer and plan of passes as one module, on the CPU.
        data: The data, divided and checked; its loaders give batches.
    """

    spec: Spec
    learner: Learner
    data: Prepared

    def steps(self, start: int = 0) -> Iterator[tuple[Batch, Moment]]:
        """Yield the batch and the moment of each optimizer step, on the CPU, until `train.epochs` are done.

        They are those of `auxlearn run` on one device: what is drawn, and in which order rows come, depends on the seed
        and the number of the step only.

        Args:
            start: The step to begin with; a resumed loop goes on where it was.
        """
        from auxlearn.learning.plan import Moment
        from auxlearn.training.feed import Feed
        from auxlearn.training.session import total_steps

        feed = Feed(self.data, batch_size=self.spec.train.batch_size, by=self.spec.train.epoch)
        total = total_steps(self.spec, feed)
        for step, batch in zip(range(start, total), feed.train(start), strict=False):
            yield batch, Moment(seed=self.spec.seed, step=step, epoch=feed.epoch(step), progress=step / total)

    def score(self, split: str) -> dict[str, Any]:
        """Return what the primary tasks score on `split`, by `"<task>/<metric>"`, on the device of the learner.

        Raises:
            DataError: If the data has no such split.
        """
        from auxlearn.evaluation import score
        from auxlearn.results.rows import require_split

        require_split(self.data.source, split)
        parts, augmentation = self._kept(), self.learner.augmentation
        batches = self.data.eval_loader(split, self.spec.train.batch_size)
        device = next((tensor.device for tensor in self.learner.parameters()), "cpu")
        return score(parts["backbone"], parts["primary"], augmentation, batches, device=device)

    def model(self) -> TrainedModel:
        """Return a copy of the backbone and the primary tasks as a model without the auxiliary parts."""
        from auxlearn.results.model import TrainedModel
        from auxlearn.training.session import shape_of

        parts = copy.deepcopy(self._kept())
        return TrainedModel(
            parts["backbone"], parts["primary"], self.learner.augmentation.preprocess, shape_of(self.data)
        )

    def _kept(self) -> dict[str, Any]:
        return {"backbone": self.learner.backbone, "primary": dict(self.learner.primary.items())}


def build_from(spec: Spec) -> Built:
    """Return the learner and the data of `spec`.

    Raises:
        SpecError: If it has stages, each of which has a learner of its own.
    """
    if spec.stages:
        names = ", ".join(str(stage.stage) for stage in spec.stages)
        what = f"these are several runs ({names}), each with a learner of its own"
        fix = 'build one of them; `"init_from": {"path": ...}` takes over the weights of another'
        raise SpecError(Problem(where="/stages", what=what, fix=fix))
    from auxlearn.training.build import build_learner
    from auxlearn.training.initial import load_learner
    from auxlearn.training.session import prepare_data, shape_of

    # A loop of one's own takes the whole batch at once.
    spec = attrs.evolve(spec, train=attrs.evolve(spec.train, devices=1, nodes=1, accumulate=1))
    data = prepare_data(spec)
    learner = build_learner(spec, shape_of(data))
    if spec.init_from is not None:
        load_learner(learner, spec.init_from, spec.root)
    return Built(spec=spec, learner=learner, data=data)
