"""Two real processes (gloo) take the steps of one process on the joint batch."""

from pathlib import Path

import pytest
import torch

from auxlearn.testing.processes import outcomes_of

pytestmark = pytest.mark.slow

WORKER = Path(__file__).parent / "torchjd_worker.py"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return outcomes_of(WORKER, tmp_path_factory.mktemp("torchjd"))


@pytest.mark.parametrize("aggregator", ["UPGrad", "Random"])
def test_two_processes_take_the_steps_of_one(outcomes, aggregator):
    alone, first, second = (outcomes[name][aggregator] for name in ("alone", "rank0", "rank1"))
    torch.testing.assert_close(first, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(second, first, rtol=0, atol=0)
