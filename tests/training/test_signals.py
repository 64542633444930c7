"""Which signals a run and a study take as a request to stop."""

from __future__ import annotations

import os
import signal

import pytest

from auxlearn.studies.stopping import Stopped, stopping
from auxlearn.training.signals import catch_signals

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_signal_is_a_request_and_the_handlers_come_back(number: signal.Signals) -> None:
    before = [signal.getsignal(n) for n in NUMBERS]
    with catch_signals() as request:
        assert request.signal is None
        os.kill(os.getpid(), number)
        assert request.signal == number
    with pytest.raises(Stopped) as caught, stopping():
        os.kill(os.getpid(), number)
    assert caught.value.signal == number
    assert [signal.getsignal(n) for n in NUMBERS] == before


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_that_the_parent_lets_its_children_ignore_stays_ignored(
    number: signal.Signals, request: pytest.FixtureRequest
) -> None:
    """As a shell does with SIGINT for a job in the background of a script."""
    before = signal.signal(number, signal.SIG_IGN)
    request.addfinalizer(lambda: signal.signal(number, before))
    with catch_signals() as asked:
        os.kill(os.getpid(), number)
        assert asked.signal is None
    with stopping():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == signal.SIG_IGN
