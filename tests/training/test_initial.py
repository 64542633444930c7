"""`init_from` takes over all that the parts it names compute with."""

import pytest
import torch

from auxlearn.learning import Shared
from auxlearn.learning.learner import Learner
from auxlearn.spec.models import InitFrom
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary
from auxlearn.training.initial import load_parts


def learner_of(seed, *, sharing):
    """Return a learner whose task `sharing` has a handle to a module of all tasks."""
    torch.manual_seed(seed)
    handle = Shared("projection", torch.nn.Linear(8, 4), {})
    learner = Learner(
        TinyBackbone(), primary={"kind": TinyPrimary()}, pretext={"flip": TinyPretext()}, shared={"projection": handle}
    )
    learner.get_submodule(sharing).project = handle
    return learner


@pytest.mark.parametrize(
    ("parts", "sharing", "taken"),
    [
        (("backbone",), "pretext.flip", {"backbone"}),
        (("backbone", "pretext"), "pretext.flip", {"backbone", "pretext", "shared"}),
        (("pretext",), "primary.kind", {"pretext"}),
        (("primary", "pretext"), "primary.kind", {"primary", "pretext", "shared"}),
    ],
)
def test_tasks_come_with_the_modules_that_they_share(parts, sharing, taken):
    source, new = (learner_of(seed, sharing=sharing) for seed in (1, 2))
    assert load_parts(new, InitFrom(path="run", parts=parts), source.state_dict(), "run") == []
    for part in ("backbone", "primary", "pretext", "shared"):
        mine, theirs = getattr(new, part).state_dict(), getattr(source, part).state_dict()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine) == (part in taken), part


def test_a_shared_module_that_is_not_there_is_told():
    source, new = (learner_of(seed, sharing="pretext.flip") for seed in (1, 2))
    tensors = {name: tensor for name, tensor in source.state_dict().items() if not name.startswith("shared.")}
    (problem,) = load_parts(new, InitFrom(path="run", parts=("pretext",)), tensors, "the run")
    assert "`shared.projection` of the run does not fit" in problem.what
