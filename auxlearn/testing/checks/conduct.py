"""How a component behaves towards what it is given and towards the process that it runs in."""

from __future__ import annotations

from auxlearn.testing.checking import Fault, check
from auxlearn.testing.state import global_settings, random_state, scramble
from auxlearn.testing.subject import Subject
from auxlearn.testing.tensors import copied, different
from auxlearn.testing.working import draws_at, given_to, work

__all__ = [
    "global_settings_untouched",
    "input_untouched",
    "random_state_untouched",
    "same_draws_same_result",
]

_SHOWN = 4


@check(
    *("pretext_task", "primary_task", "backbone", "augmentation", "balancer"),
    fix="take every random number from `draws`, and none from torch's, numpy's or Python's global generators",
)
def same_draws_same_result(subject: Subject) -> None:
    """The same draws give the same result, whatever was drawn elsewhere: a resumed run repeats the run."""
    bench = subject.bench().eval()
    results = []
    for seed in (1, 2):
        scramble(seed)
        results.append(copied(work(subject, bench, given_to(subject), draws_at())))
    changed = different(*results)
    if changed:
        raise Fault(f"differs with other global generators: {_few(changed)}")


@check(
    *("pretext_task", "primary_task", "backbone", "augmentation", "balancer"),
    fix="write into a copy (`tensor.clone()`), or use the operation without the trailing underscore",
)
def input_untouched(subject: Subject) -> None:
    """The batch is left as it was: other tasks and the primary loss read the same tensors."""
    bench, given = subject.bench(), given_to(subject)
    before = copied(given)
    work(subject, bench, given, draws_at())
    changed = different(before, copied(given))
    if changed:
        raise Fault(f"changed in place: {_few(changed)}")


@check(
    *("pretext_task", "primary_task", "backbone", "augmentation", "balancer"),
    fix="draw from `draws`; code that can draw only from the global generators belongs in `with draws.seeded():`",
)
def random_state_untouched(subject: Subject) -> None:
    """The global generators are left as they were: one task's draws must not change another's."""
    bench = subject.bench().eval()
    given = given_to(subject)
    before = random_state()
    work(subject, bench, given, draws_at())
    after = random_state()
    changed = [name for name, state in before.items() if after[name] != state]
    if changed:
        raise Fault(f"drew from the global generator of {_few(changed)}")


@check(
    *("pretext_task", "primary_task", "backbone", "augmentation", "balancer", "data_source"),
    fix="leave the settings of the process to the person who runs it",
)
def global_settings_untouched(subject: Subject) -> None:
    """Default dtype, threads, determinism and signal handlers are left alone: they belong to the whole run."""
    before = global_settings()
    bench = subject.bench()
    if subject.kind != "data_source":
        work(subject, bench, given_to(subject), draws_at())
    after = global_settings()
    changed = [f"{name} from {value} to {after[name]}" for name, value in before.items() if after[name] != value]
    if changed:
        raise Fault(f"changed {_few(changed)}")


def _few(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
