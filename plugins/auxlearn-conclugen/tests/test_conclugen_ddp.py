"""Two real processes (gloo) take the steps of one process on the joint batch: losses, gradients, queue, centroids."""

from pathlib import Path

import pytest
import torch

from auxlearn.testing.processes import outcomes_of

pytestmark = pytest.mark.slow

WORKER = Path(__file__).parent / "conclugen_worker.py"
SCENARIOS = [f"{task}{absent}" for task in ("all", "joint", "simclr") for absent in ("", " some", " one process")]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return outcomes_of(WORKER, tmp_path_factory.mktemp("conclugen"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_processes_take_the_steps_of_one(outcomes, scenario):
    alone, first, second = (outcomes[name][scenario] for name in ("alone", "rank0", "rank1"))
    assert alone["losses"].min() > 0
    assert alone["gradients"]
    torch.testing.assert_close(first, alone, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(second["state"], first["state"], rtol=0, atol=0)
    torch.testing.assert_close(second["losses"], first["losses"], rtol=0, atol=0)


@pytest.mark.parametrize("absent", ["", " some", " one process"])
def test_the_queue_was_filled_and_the_centroids_were_fitted(outcomes, absent):
    state = outcomes["rank1"][f"all{absent}"]["state"]
    assert int(state["pretext.cluster.queue.length"]) == 11
    assert bool(state["pretext.cluster.fitted"])
    assert (state["pretext.cluster.centroids"].norm(dim=1) > 0.99).all()
