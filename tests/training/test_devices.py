"""The Fabric that the settings ask for, and what a single process makes of the collectives."""

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from auxlearn import Learner
from auxlearn.spec.models import TrainKeys
from auxlearn.testing.fakes import TinyBackbone
from auxlearn.training.devices import FabricGather, NormAverage, make_fabric, sum_over_processes
from auxlearn.training.memory import keep_freed_memory


@pytest.mark.parametrize("unused", [True, False])
def test_several_devices_share_by_ddp_without_a_broadcast_of_buffers(unused):
    fabric = make_fabric(TrainKeys(accelerator="cpu", devices=2), unused_parameters=unused)
    strategy = fabric.strategy
    assert isinstance(strategy, DDPStrategy)
    options = strategy._ddp_kwargs
    assert options.pop("forward_sync_buffers", options.pop("broadcast_buffers", None)) is False
    assert options == {"find_unused_parameters": unused, "gradient_as_bucket_view": True}
    assert fabric.world_size == 2


def test_one_device_has_no_strategy_unless_asked_for():
    plain = make_fabric(TrainKeys(accelerator="cpu"), unused_parameters=False)
    assert not isinstance(plain.strategy, DDPStrategy)
    asked = make_fabric(TrainKeys(accelerator="cpu", strategy="ddp"), unused_parameters=False)
    assert isinstance(asked.strategy, DDPStrategy)


@pytest.mark.parametrize(
    ("asked", "given"), [("auto", "32-true"), ("bf16-mixed", "bf16-mixed"), ("64-true", "64-true")]
)
def test_precision(asked, given):
    fabric = make_fabric(TrainKeys(accelerator="cpu", precision=asked), unused_parameters=False)
    assert fabric.strategy.precision.precision == given


def test_collectives_of_one_process_are_identities():
    fabric = Fabric(accelerator="cpu", devices=1)
    gather = FabricGather(fabric)
    tensor = torch.rand(3, 2, requires_grad=True)
    assert gather(tensor, grad=True) is tensor
    assert torch.equal(gather(tensor), tensor.detach())
    assert not gather(tensor).requires_grad
    assert sum_over_processes(fabric, tensor) is tensor
    learner = Learner(TinyBackbone())
    learner.backbone.norm.running_mean.fill_(3)
    average = NormAverage(fabric, learner)
    average()
    assert len(average.buffers) == 2
    assert learner.backbone.norm.running_mean.eq(3).all()


def test_keeping_freed_memory_is_said():
    import sys

    done = keep_freed_memory()
    assert done in (True, False)
    assert done <= sys.platform.startswith("linux")
