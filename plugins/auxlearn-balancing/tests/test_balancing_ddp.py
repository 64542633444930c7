"""Two real processes (gloo) take the steps of one process on the joint batch."""

from pathlib import Path

import pytest
import torch

from auxlearn.testing.processes import outcomes_of

pytestmark = pytest.mark.slow

WORKER = Path(__file__).parent / "balancing_worker.py"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return outcomes_of(WORKER, tmp_path_factory.mktemp("balancing"))


@pytest.mark.parametrize("balancer", ["uncertainty", "dwa", "gradnorm", "cosine_gate", "pcgrad"])
def test_two_processes_take_the_steps_of_one(outcomes, balancer):
    alone, first, second = (outcomes[name][balancer] for name in ("alone", "rank0", "rank1"))
    torch.testing.assert_close(first, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(second, first, rtol=0, atol=0)
