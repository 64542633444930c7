"""The plan of passes: what the backbone runs on in one step, and which losses read each pass.

The plan is plain data. `planning.py` makes it from a batch and the arrangement of the tasks, `learner.py` runs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
from torch import Tensor

from auxlearn.data import Batch
from auxlearn.learning.context import Gather, LossKey, StepContext, identity_gather
from auxlearn.learning.draws import Draws
from auxlearn.learning.interfaces import View
from auxlearn.learning.statistics import Statistics

__all__ = ["Ask", "Group", "Moment", "Pass", "Plan", "Run", "Scales", "Work", "fuse", "group_passes"]

Scales = Mapping[LossKey, Tensor | float]


@attrs.frozen(kw_only=True)
class Moment:
    """When and where a step happens: all that randomness and schedules depend on.

    Attributes:
        seed: Seed of the run.
        step: Optimizer step, from 0.
        epoch: Epochs done, with fraction.
        progress: Part of the training done.
        micro: Micro-batch within the step.
        rank, world: This process, and how many there are.
        device: Where the tensors are.
    """

    seed: int = 0
    step: int = 0
    epoch: float = 0.0
    progress: float = 0.0
    micro: int = 0
    rank: int = 0
    world: int = 1
    device: object = "cpu"

    def draws(self, name: str, parts: Sequence[int] = ()) -> Draws:
        """Return the randomness under `name`, for rows of streams with `parts` rows each."""
        return Draws(
            seed=self.seed,
            name=name,
            step=self.step,
            micro=self.micro,
            rank=self.rank,
            world=self.world,
            device=self.device,  # type: ignore[arg-type]
            parts=parts,
        )

    def context(self, draws: Draws, weights: Mapping[LossKey, float], gather: Gather = identity_gather) -> StepContext:
        """Return what a component may know about the step."""
        return StepContext(
            step=self.step, epoch=self.epoch, progress=self.progress, draws=draws, gather=gather, weights=weights
        )


@attrs.frozen(eq=False, kw_only=True)
class Pass:
    """One time that the backbone looks at something.

    Attributes:
        name: `"clean"`, `"shared"`, or the task and the number of its view, `"puzzle/0"`.
        inputs: What it looks at, rows first.
        statistics: What BatchNorm does.
        task: Whose separate norms are used, if any.
        watched: Only probes read it: it runs as in evaluation, without a graph, and leaves no trace in the network.
    """

    name: str
    inputs: Mapping[str, Tensor]
    statistics: Statistics = "shared"
    task: str = ""
    watched: bool = False

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def fits(self, other: Pass) -> bool:
        """Return whether both can run as one concatenated pass."""
        if self.watched or other.watched:
            return False
        same_norms = self.statistics == other.statistics and (self.statistics != "separate" or self.task == other.task)
        return same_norms and {n: (t.shape[1:], t.dtype) for n, t in self.inputs.items()} == {
            n: (t.shape[1:], t.dtype) for n, t in other.inputs.items()
        }


@attrs.frozen(eq=False, kw_only=True)
class Ask:
    """One loss to compute.

    Attributes:
        key: Which loss.
        passes: The passes that it reads.
        batch: For a primary task, the rows with their targets, as this pass shows them.
        views: For a pretext task, its views.
        rows: The rows of the pass that it reads, None for all of them.
        parts: How many of them are of the labelled and of the unlabelled stream, if there is one.
    """

    key: LossKey
    passes: tuple[str, ...]
    batch: Batch | None = None
    views: tuple[View, ...] = ()
    rows: Tensor | slice | None = None
    parts: tuple[int, ...] = ()


@attrs.frozen(eq=False)
class Run:
    """Passes that run through the backbone as one."""

    passes: tuple[Pass, ...]


@attrs.frozen(eq=False, kw_only=True)
class Group:
    """Runs that some loss joins, with the losses that read them: one forward and backward of its own."""

    runs: tuple[Run, ...]
    asks: tuple[Ask, ...]


@attrs.frozen(eq=False, kw_only=True)
class Plan:
    """All passes and losses of one micro-batch.

    Attributes:
        passes: In the order in which they run.
        asks: The losses: primary tasks first.
        weights: Factor of each loss.
        moment: When and where.
    """

    passes: tuple[Pass, ...]
    asks: tuple[Ask, ...]
    weights: Mapping[LossKey, float]
    moment: Moment

    def work(self, group: Group, scales: Scales, gather: Gather = identity_gather, *, apart: bool = False) -> Work:
        """Return one of the plan's groups with all that its forward pass needs."""
        return Work(group=group, scales=scales, weights=self.weights, moment=self.moment, gather=gather, apart=apart)

    @property
    def rows(self) -> int:
        """The rows that pass through the backbone, all passes together."""
        return sum(len(part) for part in self.passes)


@attrs.frozen(eq=False, kw_only=True)
class Work:
    """A group with all that its forward pass needs.

    It is one opaque argument, because wrappers for mixed precision round every float tensor that they find in
    arguments, and a scale of 1/37 in bfloat16 would be another loss.

    Attributes:
        group: What to run.
        scales: What makes a mean of each loss's sum.
        weights: Factor of each loss.
        moment: When and where.
        gather: Concatenates rows over processes.
        apart: Leave the losses without a total.
    """

    group: Group
    scales: Scales
    weights: Mapping[LossKey, float]
    moment: Moment
    gather: Gather = identity_gather
    apart: bool = False


def fuse(passes: Sequence[Pass]) -> list[Run]:
    """Return the passes as runs, those of equal shape and statistics together."""
    runs: list[list[Pass]] = []
    for part in passes:
        for run in runs:
            if run[0].fits(part):
                run.append(part)
                break
        else:
            runs.append([part])
    return [Run(tuple(run)) for run in runs]


def group_passes(plan: Plan, *, fused: bool, together: bool) -> tuple[Group, ...]:
    """Cut a plan into groups: one if `together`, else the connected components of runs joined by a loss.

    Args:
        plan: The plan.
        fused: Let passes of equal shape and statistics run as one.
        together: Make a single group.
    """
    if not plan.asks:
        return ()
    runs = fuse(plan.passes) if fused else [Run((part,)) for part in plan.passes]
    if together:
        return (Group(runs=tuple(runs), asks=plan.asks),)
    home = {part.name: number for number, run in enumerate(runs) for part in run.passes}
    for ask in plan.asks:
        numbers = {home[name] for name in ask.passes}
        home = {name: min(numbers) if number in numbers else number for name, number in home.items()}
    return tuple(
        Group(
            runs=tuple(run for run in runs if home[run.passes[0].name] == number),
            asks=tuple(ask for ask in plan.asks if home[ask.passes[0]] == number),
        )
        for number in sorted(set(home.values()))
    )
