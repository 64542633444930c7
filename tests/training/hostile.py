"""A plugin of tiny components, one of which fails: `HOSTILE="pretext loss 3"` says which, where, and at which call."""

import os
from typing import Any

import attrs
import torch

from auxlearn.errors import DataError
from auxlearn.learning.balancing import Fixed
from auxlearn.learning.identity import Identity
from auxlearn.registry import Provider, hookimpl
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary, TinySource

__version__ = "1.2"
FAULT = "HOSTILE"


def boom(error: str) -> None:
    """Raise what the variable asks for."""
    kinds = {"DataError": DataError, "OutOfMemoryError": torch.OutOfMemoryError, "SystemExit": SystemExit}
    raise kinds.get(error, ValueError)("boom")


def faulty(part: str, made: Any) -> Any:
    """Return the component, which fails at the call that the variable says, if it is this one's."""
    where, method, call, error = (*os.environ.get(FAULT, "nothing x 0").split(), "")[:4]
    if where != part:
        return made
    whole, calls = getattr(type(made), method), iter(range(1, 10**6))

    def fail(self: Any, *given: Any, **more: Any) -> Any:
        if next(calls) >= int(call):
            boom(error)
        return whole(self, *given, **more)

    made.__class__ = type("Faulty", (type(made),), {method: fail})
    return made


@attrs.define
class Rows(torch.utils.data.Dataset):
    """The rows of a source, one of which cannot be read after a while."""

    rows: Any
    index: int
    error: str
    times: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        self.times += index == self.index
        if index == self.index and self.times > 1:
            boom(self.error)
        return self.rows[index]


class Source(TinySource):
    """A source whose row `call` of `train` cannot be read the second time."""

    def dataset(self, split: str) -> Any:
        part, method, index, error = (*os.environ.get(FAULT, "nothing x 0").split(), "")[:4]
        rows = super().dataset(split)
        fails = part == "data" and method == "__getitem__" and split == "train"
        return Rows(rows, int(index), error) if fails else rows

    def fingerprint(self) -> str:
        if os.environ.get(FAULT, "").startswith("data fingerprint"):
            boom("")
        return super().fingerprint()


class Movable(TinyPrimary):
    """A task whose targets move with the image."""

    needs_geometry = True


def adamw(_params: Any, groups: Any) -> Any:
    return faulty("optimizer", torch.optim.AdamW(groups))


def constant(_params: Any, context: Any) -> Any:
    return faulty("schedule", torch.optim.lr_scheduler.ConstantLR(context.optimizer, 1.0))


def offer(part: str, make: Any) -> list[Provider]:
    """Return a provider of what `make` makes."""
    return [Provider(name="faulty", summary="It fails.", build=lambda *given: faulty(part, make(*given)))]


@hookimpl
def auxlearn_data_sources() -> list[Provider]:
    return [Provider(name="faulty", summary="It fails.", build=lambda *_: Source())]


@hookimpl
def auxlearn_augmentations() -> list[Provider]:
    return offer("augment", lambda _, context: Identity.build(context))


@hookimpl
def auxlearn_backbones() -> list[Provider]:
    return offer("backbone", lambda *_: TinyBackbone())


@hookimpl
def auxlearn_primary_tasks() -> list[Provider]:
    return offer("primary", lambda *_: Movable())


@hookimpl
def auxlearn_pretext_tasks() -> list[Provider]:
    return offer("pretext", lambda *_: TinyPretext(motion=True))


@hookimpl
def auxlearn_balancers() -> list[Provider]:
    return offer("balance", lambda *_: Fixed())


@hookimpl
def auxlearn_optimizers() -> list[Provider]:
    return [Provider(name="faulty", summary="It fails.", build=adamw)]


@hookimpl
def auxlearn_schedules() -> list[Provider]:
    return [Provider(name="faulty", summary="It fails.", build=constant)]
