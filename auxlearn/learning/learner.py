"""`Learner`: the backbone, the tasks and the balancer as one module that learns from a batch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from typing import Literal

import attrs
import torch
from torch import Tensor, nn

from auxlearn.calls import calling
from auxlearn.data import Batch
from auxlearn.learning.asking import ask_count, ask_loss, augmented, featured, prepared
from auxlearn.learning.balancing import Fixed
from auxlearn.learning.combining import combine_gradients, combine_losses, constant
from auxlearn.learning.context import FrozenCopy, Gather, LossKey, Shared, StepContext, identity_gather
from auxlearn.learning.draws import isolated_rng
from auxlearn.learning.features import Features, in_dtype_of
from auxlearn.learning.identity import Identity
from auxlearn.learning.interfaces import (
    Augmentation,
    Backbone,
    Balanced,
    Balancer,
    PretextTask,
    PrimaryTask,
    TaskResult,
)
from auxlearn.learning.outcome import StepResult, inverse_counts, read_outputs
from auxlearn.learning.plan import Ask, Group, Moment, Plan, Run, Work, group_passes
from auxlearn.learning.planning import Arranged, make_plan
from auxlearn.learning.preprocess import Preprocess
from auxlearn.learning.probe import detached, watching
from auxlearn.learning.reach import Reach
from auxlearn.learning.statistics import SeparateNorms
from auxlearn.spec.models import Arrangement

__all__ = ["Learner", "StepResult", "in_channels_last", "inverse_counts", "read_outputs", "weights_in_channels_last"]


class Learner(nn.Module):
    """Backbone, primary tasks, pretext tasks and balancer: everything that learns, in one module.

    Its state dict has `backbone.*`, `primary.<name>.*`, and the auxiliary parts `pretext.<name>.*`, `shared.<name>.*`,
    `norms.<name>.*` and `balancer.*`, which an export leaves out.

    Args:
        backbone: The network that all tasks share.
        primary: Supervised tasks by name; may be empty.
        pretext: Self-supervised tasks by name; the order is that of shared views.
        arrange: How each pretext task is arranged; `Arrangement(view="own")` for those not named.
        weights: Factor of each primary loss; 1 for those not named.
        probes: Names of the primary tasks that only watch: they read detached features, and the balancer does not see
            their losses, so everything else learns as if they were not there.
        augmentation: Makes the clean view from a batch of the data; default: scale pixels to [0, 1].
        repeats: How many clean views of each row there are, each augmented anew ("Augment Your Batch: Better Training
            With Larger Batches", Hoffer et al., [arXiv 1901.09335](https://arxiv.org/abs/1901.09335)).
        balancer: Combines the losses; default: the sum by the weights.
        shared: Modules that several tasks use, by name.
        frozen_copies: Handles that tasks were given to a copy of the backbone; the trainer binds them.
        seed: Seed of all randomness.
        forward_mode: `"fused"` runs views of equal shape as one pass.
        backward_mode: `"accumulate"` makes a group of each set of passes that no loss joins to another.
        freeze_backbone: Keep the backbone as it is, its BatchNorm in evaluation mode.

    Examples:
        >>> import torch
        >>> from auxlearn import Learner, Moment
        >>> from auxlearn.data import Batch
        >>> from auxlearn.testing.fakes import TinyBackbone, TinyPrimary
        >>> learner = Learner(TinyBackbone(), primary={"kind": TinyPrimary(width=8, classes=2)})
        >>> images, kinds = torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0, 1])
        >>> batch = Batch(inputs={"image": images}, targets={"kind": kinds}, ids=torch.arange(4))
        >>> result = learner.step(batch, Moment(step=0))
        >>> result.total.backward()
        >>> result.passes
        ('clean',)
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        primary: Mapping[str, PrimaryTask] | None = None,
        pretext: Mapping[str, PretextTask] | None = None,
        arrange: Mapping[str, Arrangement] | None = None,
        weights: Mapping[str, float] | None = None,
        probes: Collection[str] = (),
        augmentation: Augmentation | None = None,
        repeats: int = 1,
        balancer: Balancer | None = None,
        shared: Mapping[str, Shared] | None = None,
        frozen_copies: Sequence[FrozenCopy] = (),
        seed: int = 0,
        forward_mode: Literal["separate", "fused"] = "separate",
        backward_mode: Literal["together", "accumulate"] = "together",
        freeze_backbone: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.primary = nn.ModuleDict(primary or {})
        self.pretext = nn.ModuleDict(pretext or {})
        self.shared = nn.ModuleDict({name: handle.module for name, handle in (shared or {}).items()})
        self.balancer = balancer or Fixed()
        self.augmentation, self.repeats = augmentation or Identity(Preprocess()), repeats
        self.arrange = {name: _filled((arrange or {}).get(name)) for name in self.pretext}
        self.weights, self.probes = {n: (weights or {}).get(n, 1.0) for n in self.primary}, frozenset(probes)
        self.norms = nn.ModuleDict(
            {name: SeparateNorms(backbone) for name, how in self.arrange.items() if how.statistics == "separate"}
        )
        self.seed, self.freeze_backbone = seed, freeze_backbone
        self.forward_mode, self.backward_mode = forward_mode, backward_mode
        self.frozen_copies = tuple(frozen_copies)
        self.channels_last, self.reach = False, Reach()
        if freeze_backbone:
            backbone.requires_grad_(False)
            backbone.eval()
        _check(self)

    def train(self, mode: bool = True) -> Learner:
        """Set training or evaluation mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.freeze_backbone:
            self.backbone.eval()
        return self

    @torch.no_grad()
    def plan(self, batch: Batch, moment: Moment) -> Plan:
        """Return what the backbone shall run on for `batch`, rows as the data gives them, and the losses to compute."""
        primary = {name: (self.primary[name], weight) for name, weight in self.weights.items()}
        pretext = [Arranged(name, self.pretext[name], how) for name, how in self.arrange.items()]  # type: ignore[arg-type]
        with isolated_rng(batch.device):
            batch = batch.repeat(self.repeats)
            draws = moment.draws("augment", batch.parts)
            draws.seed_globally()
            inputs, motion = augmented(self.augmentation, batch.inputs, draws)
            clean = attrs.evolve(batch, inputs=inputs)
            return make_plan(clean, motion, primary, pretext, moment, probes=self.probes)  # type: ignore[arg-type]

    def groups(self, plan: Plan) -> tuple[Group, ...]:
        """Return the plan in the parts that run forward and backward on their own."""
        return group_passes(plan, fused=self.forward_mode == "fused", together=self.backward_mode == "together")

    @torch.no_grad()
    def counts(self, plan: Plan) -> dict[LossKey, Tensor | int]:
        """Return how many terms each loss of the plan sums over."""
        return {ask.key: ask_count(self._task(ask), ask) for ask in plan.asks}

    def forward(self, work: Work) -> dict[str, Tensor]:
        """Run one group: the backbone once per run, each loss, and their total.

        The result is a plain dict, since wrappers for several devices look into nothing else: `loss/<i>` and, unless
        the losses stay apart, their `total`, with their graph; `weight/<i>`, `metric/<i>/<name>`, `carry/<i>/<name>`
        without one, for the i-th loss of the group.
        """
        moment = work.moment
        features = {name: part for run in work.group.runs for name, part in self._run(run, moment).items()}
        losses: dict[LossKey, Tensor] = {}
        out: dict[str, Tensor] = {}
        for number, ask in enumerate(work.group.asks):
            draws = moment.draws(f"loss/{ask.key.role}/{ask.key}", ask.parts)
            draws.seed_globally()
            result = self._loss(ask, features, moment.context(draws, work.weights, work.gather))
            losses[ask.key] = result.loss * work.scales[ask.key]
            out |= {f"metric/{number}/{name}": value for name, value in result.metrics.items()}
            if ask.key.role == "pretext":
                out |= {f"carry/{number}/{name}": value for name, value in result.carry.items()}
        out |= {f"loss/{number}": loss for number, loss in enumerate(losses.values())}
        return out if work.apart else out | self._combined(losses, work)

    def step(self, batch: Batch, moment: Moment) -> StepResult:
        """Return losses and their total for `batch`, for a training loop of one's own on one device.

        Call `result.total.backward()`, step the optimizer, then `after_step(result, moment)`. Where no task is on,
        `result.losses` is empty and there is nothing to call `backward` on.

        Raises:
            ValueError: If the balancer needs gradients, which only a `Trainer` has before there is a total.
        """
        if self.balancer.needs == "gradients":
            raise ValueError(f"{type(self.balancer).__name__} needs gradients and should run in a `Trainer`.")
        moment = self._own(moment, batch.device)
        with isolated_rng(batch.device):
            plan = self.plan(batch, moment)
            scales = inverse_counts(self.counts(plan))
            groups = group_passes(plan, fused=self.forward_mode == "fused", together=True)
            parts = [(group, self(plan.work(group, scales))) for group in groups]
        return read_outputs(plan, parts, samples=len(batch))

    @torch.no_grad()
    def after_step(self, result: StepResult, moment: Moment, gather: Gather = identity_gather) -> None:
        """Let the balancer and the pretext tasks that were computed update their histories, queues and the like."""
        if not result.losses:
            return
        moment = self._own(moment, result.total.device)
        with isolated_rng(result.total.device):
            for name, tensors in result.carry.items():
                draws = moment.draws(f"after_step/{name}")
                draws.seed_globally()
                context = moment.context(draws, {}, gather)
                with calling("pretext", name, "after_step", tensors.values()):
                    self.pretext[name].after_step(tensors, context)  # type: ignore[operator]
            learned = {key: loss for key, loss in result.losses.items() if not self.watches(key)}
            if learned:
                with calling("balance", "", "after_step", learned.values()):
                    self.balancer.after_step(learned, moment.context(moment.draws("balance"), {}, gather))

    def combine_gradients(self, losses: Mapping[LossKey, Tensor], gram: Tensor, plan: Plan) -> Balanced:
        """Return how the balancer combines the gradients of the plan's losses, given their inner products."""
        context = plan.moment.context(plan.moment.draws("balance"), plan.weights)
        return combine_gradients(self.balancer, losses, self._watching(losses), gram, context)

    def features(self, inputs: Mapping[str, Tensor]) -> Features:
        """Return the features of rows as the data gives them, without augmentation."""
        return prepared(self.backbone, self.augmentation, inputs)

    def _own(self, moment: Moment, device: torch.device) -> Moment:
        return attrs.evolve(moment, seed=self.seed, device=device)

    def _run(self, run: Run, moment: Moment) -> dict[str, Features]:
        first = run.passes[0]
        inputs = first.inputs
        if len(run.passes) > 1:
            inputs = {name: torch.cat([part.inputs[name] for part in run.passes]) for name in inputs}
        inputs = in_dtype_of(self.backbone, inputs)
        if self.channels_last:
            inputs = {name: in_channels_last(t) for name, t in inputs.items()}
        moment.draws(f"pass/{first.name}").seed_globally()
        separate = self.norms[first.task] if first.statistics == "separate" else None
        with watching(self.backbone) if first.watched else nullcontext():
            found = featured(self.backbone, inputs, first.statistics, separate)  # type: ignore[arg-type]
        if len(run.passes) == 1:
            return {first.name: found}
        ends = torch.tensor([len(part) for part in run.passes]).cumsum(0).tolist()
        return {p.name: found.take(slice(end - len(p), end)) for p, end in zip(run.passes, ends, strict=True)}

    def _loss(self, ask: Ask, features: Mapping[str, Features], context: StepContext) -> TaskResult:
        seen = tuple(features[name] if ask.rows is None else features[name].take(ask.rows) for name in ask.passes)
        if self.watches(ask.key):
            with watching(self.shared):
                return ask_loss(self._task(ask), ask, (detached(seen[0]),), context)
        result = ask_loss(self._task(ask), ask, seen, context)
        self.reach.look(ask.key, result.loss, seen)
        return result

    def _task(self, ask: Ask) -> PretextTask | PrimaryTask:
        tasks = self.pretext if ask.batch is None else self.primary
        return tasks[ask.key.task]  # type: ignore[return-value]

    def _combined(self, losses: Mapping[LossKey, Tensor], work: Work) -> dict[str, Tensor]:
        """Return the `total` of the losses and, as tensors, the weights that are not simply those of the spec."""
        context = work.moment.context(work.moment.draws("balance"), work.weights, work.gather)
        context = attrs.evolve(context, scales=work.scales)
        balanced = combine_losses(self.balancer, losses, self._watching(losses), context)
        weights = constant(balanced.weights, work.weights, balanced.total)
        found = {f"weight/{number}": weights[key] for number, key in enumerate(losses)}
        return {"total": balanced.total} | {n: w for n, w in found.items() if isinstance(w, Tensor)}

    def watches(self, key: LossKey) -> bool:
        """Return whether the loss is a probe's, which nothing else learns from."""
        return key.role == "primary" and key.task in self.probes

    def _watching(self, losses: Collection[LossKey]) -> set[LossKey]:
        return {key for key in losses if self.watches(key)}


def weights_in_channels_last(module: nn.Module) -> None:
    """Let the convolutions of `module` have that memory format; torch's own call fails on those of videos."""
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = in_channels_last(tensor.data)


def in_channels_last(tensor: Tensor) -> Tensor:
    """Return images in the memory format in which convolutions are fastest, anything else as it is."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def _check(learner: Learner) -> None:
    """Raise a ValueError where parameters do not go together."""
    if learner.repeats < 1:
        raise ValueError(f"Parameter `repeats` should be at least 1, found {learner.repeats}.")
    if learner.balancer.needs == "losses" and learner.backward_mode == "accumulate":
        name = type(learner.balancer).__name__
        raise ValueError(f"Parameter `backward_mode` should be 'together' for {name}.")


def _filled(how: Arrangement | None) -> Arrangement:
    """Return the arrangement with nothing left open."""
    how = how or Arrangement()
    view = how.view or "own"
    return attrs.evolve(how, view=view, supervise=view == "shared" if how.supervise is None else how.supervise)
