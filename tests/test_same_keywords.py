"""Each call that reads a spec takes a seed and the folder that relative paths refer to, as `run` does."""

import pytest

import auxlearn
from auxlearn.results import extraction
from auxlearn.testing import plugin as tiny

SPEC = {
    **{"auxlearn": 1, "name": "x", "data": {"type": "tiny"}, "backbone": {"type": "tiny"}},
    **{"primary": {"kind": {"type": "tiny"}}, "train": {"steps": 1, "batch_size": 16}},
}
FROZEN = {"auxlearn": 1, "data": {"type": "tiny"}, "extract": {"net": {"type": "tiny"}}}


def extracted(**more):
    return auxlearn.extract(FROZEN, "out", **more)


@pytest.fixture
def unread(monkeypatch):
    """Let `extract` return what it has read."""
    monkeypatch.setattr(extraction, "run_extraction", lambda read, *_, **__: read)


@pytest.mark.parametrize(
    "call",
    [lambda **more: auxlearn.validate(SPEC, **more), lambda **more: auxlearn.build(SPEC, **more).spec, extracted],
    ids=["validate", "build", "extract"],
)
def test_a_seed_and_a_root(unread, tmp_path, call):
    read = call(seed=7, root=tmp_path, plugins=[tiny])
    assert (read.seed, read.resolved["seed"], read.root) == (7, 7, str(tmp_path))
    assert call(plugins=[tiny]).seed == 0
    assert "seed" not in SPEC
    assert "seed" not in FROZEN
