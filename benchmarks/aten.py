"""How many aten operations the engine adds to a step: on a GPU each is a kernel launch, however small."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from auxlearn.data import Batch
from benchmarks.paired import Line
from benchmarks.steps import ByHand, faces, make_trainer

__all__ = ["count_operations", "run"]


# What reaches the dispatcher without being work for the device.
_NOTHING = {
    "_record_function_enter_new",
    "_record_function_exit",
    "_unsafe_view",
    "as_strided_",
    "detach",
    "empty",
    "empty_like",
    "empty_strided",
    "promote_types",
}


class _Count(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that compute something: no views, no uninitialised tensors, no markers of a profiler."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if not func.is_view and name not in _NOTHING:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def count_operations(step: Callable[[], object]) -> Counter[str]:
    """Return how often each aten operation runs in one call of `step`, after one that does not count."""
    step()
    mode = _Count()
    with mode:
        step()
    return mode.counts


def run(rounds: int) -> list[Line]:  # noqa: ARG001
    """Count what `Trainer.step` does beyond the same step by hand; it does not vary, so one round is enough."""
    trainer, batch = make_trainer(), faces()
    engine = count_operations(lambda: trainer.step(batch))
    return [_line(engine, metrics, batch) for metrics in (False, True)]


def _line(engine: Counter[str], metrics: bool, batch: Batch) -> Line:
    by_hand = ByHand(metrics=metrics)
    plain = count_operations(lambda: by_hand.step(batch.image, batch.targets["kind"]))
    extra = float(engine.total() - plain.total())
    changes = ", ".join(f"{engine[n] - plain[n]:+d} {n}" for n in sorted(engine | plain) if engine[n] != plain[n])
    return Line(
        what="engine, as in `step`",
        against="by hand, with tile accuracy" if metrics else "by hand",
        value=extra,
        low=extra,
        high=extra,
        goal=15,
        unit="operations more",
        note=f"{engine.total()} : {plain.total()}; {changes}",
    )
