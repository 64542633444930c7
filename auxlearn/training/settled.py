"""`Settled`: whether a step leaves the components in the mode, and with the parameters, that they began with."""

from __future__ import annotations

from torch import nn

from auxlearn.errors import Call, PluginError, Problem
from auxlearn.learning.learner import Learner

__all__ = ["Settled"]

_MOST_NAMES = 4


class Settled:
    """A context of a step, after which the mode of each component is looked at.

    After the first step it looks for parameters that are new, too. What is wrong is a `PluginError`.

    Args:
        learner: Whose components.
    """

    def __init__(self, learner: Learner) -> None:
        self._parts: list[tuple[str, str, nn.Module]] = [
            ("backbone", "", learner.backbone),
            ("augment", "", learner.augmentation),
            *(("primary", name, task) for name, task in learner.primary.items()),
            *(("pretext", name, task) for name, task in learner.pretext.items()),
            ("balance", "", learner.balancer),
        ]
        self._known: list[nn.Parameter] | None = list(learner.parameters())

    def __enter__(self) -> None:
        self._before = self._modes()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            self._look()

    def _modes(self) -> list[bool]:
        return [module.training for _, _, module in self._parts]

    def _look(self) -> None:
        for (part, name, _), old, new in zip(self._parts, self._before, self._modes(), strict=True):
            if old != new:
                found = "training" if new else "evaluation"
                what = f"should leave its mode alone, it is in {found} mode after a step"
                raise _failure(part, name, "train" if new else "eval", what, "the engine calls `train` and `eval`")
        if self._known is not None:
            known, self._known = {id(parameter) for parameter in self._known}, None
            for part, name, module in self._parts:
                late = [own for own, parameter in module.named_parameters() if id(parameter) not in known]
                if late:
                    shown = ", ".join(late[:_MOST_NAMES]) + (", ..." if len(late) > _MOST_NAMES else "")
                    what = f"should make all its parameters, the optimizer does not know {shown}, made in a step"
                    raise _failure(part, name, "__init__", what, "make layers when the component is made")


def _failure(part: str, name: str, method: str, what: str, fix: str) -> PluginError:
    call = Call(part, name, method)
    error = PluginError(Problem(what=f"{call} {what}", fix=fix, exit_code=3))
    error.call = call
    return error
