"""Settings of the process: read without a failure whichever way they were set, and put back as they were."""

import signal
import threading
from types import SimpleNamespace

import pytest
import torch

import auxlearn
from auxlearn import settings
from auxlearn.calls import calling, during
from auxlearn.errors import PluginError
from auxlearn.settings import keeping_settings, read_settings
from auxlearn.testing import plugin as tiny

KEYS = [("generic", "all"), *((of, op) for of in ("cuda", "mkldnn") for op in ("all", "matmul", "conv", "rnn"))]


def precisions():
    return {key: torch._C._get_fp32_precision_getter(*key) for key in KEYS}


@pytest.fixture(autouse=True)
def as_before():
    before = precisions()
    yield
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True
    for key in KEYS:
        torch._C._set_fp32_precision_setter(*key, "none")
        if torch._C._get_fp32_precision_getter(*key) != before[key]:
            torch._C._set_fp32_precision_setter(*key, before[key])
    assert precisions() == before


WAYS = {
    "all": lambda: setattr(torch.backends, "fp32_precision", "tf32"),
    "products": lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
    "cudnn": lambda: setattr(torch.backends.cudnn, "fp32_precision", "ieee"),
    "convolutions": lambda: setattr(torch.backends.cudnn.conv, "fp32_precision", "ieee"),
    "cpu": lambda: setattr(torch.backends.mkldnn.matmul, "fp32_precision", "bf16"),
    "older high": lambda: torch.set_float32_matmul_precision("high"),
    "older medium": lambda: torch.set_float32_matmul_precision("medium"),
    "older cudnn": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
}


@pytest.mark.parametrize("mine", WAYS.values(), ids=WAYS)
def test_a_precision_that_was_set_in_any_way_is_no_ones_fault(mine):
    mine()
    with calling("pretext", "a", "loss"):
        pass


@pytest.mark.parametrize("mine", [lambda: None, *WAYS.values()], ids=["nothing", *WAYS])
@pytest.mark.parametrize("theirs", WAYS.values(), ids=WAYS)
def test_the_precision_is_put_back_as_it_was_and_its_change_refused(mine, theirs):
    mine()
    before = precisions()
    legacy = older()
    with keeping_settings():
        theirs()
        changed = precisions() != before
    assert precisions() == before
    if changed:
        assert all(now == then for now, then in zip(older(), legacy, strict=True) if then is not None)
        message = "should leave the precision of float32 alone"
        with pytest.raises(PluginError, match=message), calling("pretext", "a", "loss"):
            theirs()
        assert precisions() == before


def older():
    """Return the older settings; None where these cannot be read beside the newer ones."""
    found = []
    for read in (torch.get_float32_matmul_precision, lambda: torch.backends.cudnn.allow_tf32):
        try:
            found.append(read())
        except RuntimeError:
            found.append(None)
    return found


def test_operations_follow_their_backend_again_once_they_are_put_back():
    torch.backends.fp32_precision = "ieee"
    with keeping_settings():
        torch.backends.cuda.matmul.fp32_precision = "tf32"
    torch.backends.fp32_precision = "tf32"
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"


def test_a_run_whose_program_has_set_the_precision(tmp_path):
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    spec = {
        **{"auxlearn": 1, "name": "x", "data": {"type": "tiny"}, "backbone": {"type": "tiny"}},
        **{"primary": {"kind": {"type": "tiny"}}, "train": {"steps": 1, "batch_size": 16}},
    }
    auxlearn.run(spec, out=tmp_path / "run", plugins=[tiny])
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"


def in_thread(work):
    """Return what `work` raises in another thread."""
    raised = []

    def go():
        try:
            work()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    return raised


def test_a_handler_that_changes_while_another_thread_calls_is_not_its_fault():
    handler, inside, done = signal.getsignal(signal.SIGTERM), threading.Event(), threading.Event()

    def work():
        with calling("pretext", "a", "loss"):
            inside.set()
            done.wait(10)

    def main():
        inside.wait(10)
        signal.signal(signal.SIGTERM, lambda *_: None)
        done.set()

    raised = []
    thread = threading.Thread(target=lambda: raised.extend(in_thread(work)))
    thread.start()
    try:
        main()
        thread.join()
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert raised == []


def test_other_settings_are_looked_at_in_a_thread_too():
    def work():
        with calling("pretext", "a", "loss"):
            torch.set_default_dtype(torch.float64)

    (error,) = in_thread(work)
    assert "should leave the default dtype alone" in str(error)
    assert torch.get_default_dtype() is torch.float32


def test_a_handler_that_python_does_not_know_is_left_alone(monkeypatch):
    found = iter([None, signal.SIG_DFL])
    read = {**settings._ALL, "the handler of SIGTERM": (lambda: next(found), signal.signal)}
    monkeypatch.setattr(settings, "_ALL", read)
    monkeypatch.setattr(settings, "_READ_ALL", tuple(one for one, _ in read.values()))
    with calling("pretext", "a", "loss"):
        pass


def test_rows_that_a_failed_device_does_not_give_back_hide_no_message():
    def fail():
        raise torch.AcceleratorError("device-side assert triggered")

    ids = SimpleNamespace(tolist=fail)
    rows = type("Ids", (), {"__getitem__": lambda *_: ids, "__len__": lambda _: 1})()
    with pytest.raises(PluginError) as caught, during("at step 3", rows), calling("pretext", "a", "loss"):
        raise ValueError("boom")
    assert str(caught.value).splitlines() == ["pretext task a: `loss` failed with ValueError: boom", "at step 3"]


def test_reading_needs_no_older_setting():
    torch.backends.fp32_precision = "tf32"
    assert read_settings() == read_settings()
