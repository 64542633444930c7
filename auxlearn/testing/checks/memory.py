"""What a component keeps between steps: all of it in the state dict, and no more with every step."""

from __future__ import annotations

import copy

import torch

from auxlearn.registry import Kind
from auxlearn.testing.asking import few, train
from auxlearn.testing.checking import Fault, check
from auxlearn.testing.state import scramble
from auxlearn.testing.subject import Bench, Subject
from auxlearn.testing.tensors import copied, different, tensors_of, unregistered
from auxlearn.testing.working import draws_at, given_to, work

__all__ = ["can_be_copied", "memory_bounded", "state_round_trip"]

_MODULES: tuple[Kind, ...] = ("pretext_task", "primary_task", "backbone", "augmentation", "balancer")
_FEW, _MORE = 4, 12  # steps


@check(*_MODULES, fix="keep what changes between steps in persistent buffers (`register_buffer`), queues included")
def state_round_trip(subject: Subject) -> None:
    """The state dict holds all that it keeps, queues included: a resumed run goes on as if nothing had happened."""
    bench = subject.bench()
    train(subject, bench, range(_FEW))
    _disturb(bench)
    fresh = subject.bench(seed=1)
    fresh.load_state_dict({name: tensor.clone() for name, tensor in bench.state_dict().items()})
    lost = different(unregistered(bench), unregistered(fresh))
    for when in ("after loading", "a step after loading"):
        changed = _differing(subject, bench, fresh)
        if changed:
            names = few([name.removeprefix("component.") for name in lost])
            raise Fault(f"{when}, it differs in {few(changed)}" + (f"; not in the state dict: {names}" if lost else ""))
        for one in (bench, fresh):
            train(subject, one, range(_FEW, _FEW + 1))


def _disturb(bench: Bench) -> None:
    """Change every parameter a little, as an optimizer would."""
    scramble(5)
    with torch.no_grad():
        for parameter in bench.own_parameters().values():
            parameter.add_(torch.randn_like(parameter), alpha=0.01)


def _differing(subject: Subject, *benches: Bench) -> list[str]:
    results = []
    for bench in benches:
        scramble(7)
        results.append(copied(work(subject, bench.eval(), given_to(subject, seed=99), draws_at(99))))
    return different(*results)


@check(*_MODULES, fix="keep a queue of fixed size, and detach what is stored in it")
def memory_bounded(subject: Subject) -> None:
    """It keeps no more with every step: runs take a million of them."""
    bench = subject.bench()
    train(subject, bench, range(_FEW))
    before = _held(bench)
    train(subject, bench, range(_FEW, _MORE))
    after = _held(bench)
    grown = [name for name, size in after.items() if size > before.get(name, 0)]
    if grown and sum(after.values()) > sum(before.values()):
        names = few([name.removeprefix("component.") for name in grown])
        sizes = sum(before.values()), sum(after.values())
        raise Fault(f"holds {sizes[0]} numbers after {_FEW} steps, {sizes[1]} after {_MORE}: {names}")


def _held(bench: Bench) -> dict[str, int]:
    tensors = {**tensors_of(bench.state_dict()), **unregistered(bench)}
    return {name: tensor.numel() for name, tensor in tensors.items()}


@check("backbone", fix="keep no open files, locks or generators in the module", asks="limits")
def can_be_copied(subject: Subject) -> None:
    """It can be copied deeply: moving averages of the weights, and exports, are copies."""
    bench = subject.bench().eval()
    try:
        twin = copy.deepcopy(bench)
    except Exception as error:
        raise Fault(f"`copy.deepcopy` raised {type(error).__name__}: {error}") from error
    changed = _differing(subject, bench, twin)
    if changed:
        raise Fault(f"a copy gives other features: {few(changed)}")
