"""The kit as a call and as a class of tests; what its reports say."""

import pytest

import auxlearn.testing.plugin
from auxlearn.errors import SpecError
from auxlearn.testing import Conformance, check_pretext_task, checks_of

FAKES = (auxlearn.testing.plugin,)


class TestTinyPretext(Conformance):
    component, kind, plugins = "tiny", "pretext_task", FAKES


class TestTinyPrimary(Conformance):
    component, kind, plugins = "tiny", "primary_task", FAKES


class TestTinyBackbone(Conformance):
    component, kind, plugins = "tiny", "backbone", FAKES


class TestTinySource(Conformance):
    component, kind, plugins = "tiny", "data_source", FAKES


def test_the_report_counts():
    report = check_pretext_task("tiny", plugins=FAKES)
    assert report.ok
    assert report.expected == len(report.results) == len(checks_of("pretext_task")) > 0
    assert "conforms" in str(report)
    assert report.to_json()["ok"] is True


def test_an_unknown_check_is_refused():
    with pytest.raises(SpecError, match=r'there is no check "batch-of-on".*did you mean "batch-of-one"'):
        check_pretext_task("tiny", plugins=FAKES, expected_failures={"batch-of-on": "x"})
