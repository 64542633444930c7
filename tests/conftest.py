"""Settings that all tests share."""

import os
import signal

from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:  # a core for each process; threads of one would wait for the other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The first call of many torch functions imports for seconds, which is no fault of the example at hand.
settings.register_profile("auxlearn", deadline=None)
settings.load_profile("auxlearn")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a job in the background of a script; some tests send it
    signal.signal(signal.SIGINT, signal.default_int_handler)
