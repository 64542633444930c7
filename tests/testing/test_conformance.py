"""The kit as a call and as a class of tests; what its reports say."""

import importlib.util
import json

import attrs
import pytest

import auxlearn.testing.plugin
from auxlearn.errors import PluginError, SpecError
from auxlearn.registry import Provider
from auxlearn.testing import (
    Conformance,
    ConformanceError,
    Report,
    Trial,
    check_augmentation,
    check_backbone,
    check_balancer,
    check_data_source,
    check_pretext_task,
    check_primary_task,
    check_provider,
    checks_of,
)
from auxlearn.testing.fakes import TinyPretext

FAKES = (auxlearn.testing.plugin,)


class Detached(TinyPretext):
    def loss(self, features, views, step):
        result = super().loss(features, views, step)
        return attrs.evolve(result, metrics={"loss": result.loss})


BROKEN = Provider(
    name="broken",
    summary="Broken.",
    build=lambda params, context: Detached(context.feature.pooled),
    moves_pixels=True,
)


ANNOUNCED = {"result-is-detached": "planted", "import-without-torch": "tests load torch"}


class TestTinyPretext(Conformance):
    component, kind, plugins = "tiny", "pretext_task", FAKES


class TestTinyPrimary(Conformance):
    component, kind, plugins = "tiny", "primary_task", FAKES


class TestTinyBackbone(Conformance):
    component, kind, plugins = "tiny", "backbone", FAKES
    trial = Trial(compiles=True)


class TestTinySource(Conformance):
    component, kind, plugins = "tiny", "data_source", FAKES


class TestAnnounced(Conformance):
    component, kind = BROKEN, "pretext_task"
    expected_failures = ANNOUNCED


def test_the_report_counts():
    report = check_pretext_task("tiny", plugins=FAKES)
    assert report.ok
    assert report.expected == len(report.results) == len(checks_of("pretext_task")) > 0
    assert f"{report.ran} of {report.expected} checks ran" in str(report)
    assert json.loads(json.dumps(report.to_json()))["ok"] is True


@pytest.mark.parametrize(
    ("check", "name", "plugins"),
    [
        (check_primary_task, "tiny", FAKES),
        (check_backbone, "tiny", FAKES),
        (check_data_source, "tiny", FAKES),
        (check_augmentation, "identity", ()),
        (check_balancer, "fixed", ()),
    ],
)
def test_each_kind_has_a_call_of_its_own(check, name, plugins):
    assert check(name, plugins=plugins).ok


def test_a_component_that_does_not_conform_raises_with_its_report():
    with pytest.raises(ConformanceError, match=r"result-is-detached: holds on to the graph.*fix: detach") as caught:
        check_pretext_task(BROKEN)
    assert caught.value.exit_code == 3
    assert caught.value.report["result-is-detached"].breaks
    text = str(caught.value.report)
    assert "pretext task broken does not conform" in text
    assert "FAILED result-is-detached (required): holds on to the graph: metrics/loss\n  why: Metrics are" in text


def test_an_announced_failure_is_no_failure():
    report = check_pretext_task(BROKEN, expected_failures=ANNOUNCED)
    assert report.ok
    assert report["result-is-detached"].status == "expected"
    assert "(announced: planted)" in report["result-is-detached"].message


def test_an_announced_failure_that_passes_is_one():
    report = check_pretext_task(BROKEN, expected_failures={"loss-is-a-sum": "old"}, on_fail="return")
    assert not report.ok
    assert "UNEXPECTED loss-is-a-sum (required): passed, though it was announced to fail: old" in str(report)


def test_a_report_without_checks_is_a_failure():
    assert not Report(kind="backbone", name="none", expected=0, results=()).ok
    assert not Report(kind="backbone", name="none", expected=3, results=()).ok


def test_a_recommended_check_does_not_decide():
    report = check_pretext_task("tiny", plugins=FAKES)
    assert report.failed == ("absent-rows-do-not-count",)
    assert report["absent-rows-do-not-count"].level == "recommended"


def test_an_unknown_check_is_refused():
    with pytest.raises(SpecError, match=r'there is no check "batch-of-on".*did you mean "batch-of-one"'):
        check_pretext_task("tiny", plugins=FAKES, expected_failures={"batch-of-on": "x"})


def test_wrong_settings_are_refused():
    with pytest.raises(SpecError, match=r"/copies: found 0; allowed: an integer, at least 1"):
        check_pretext_task("tiny", plugins=FAKES, params={"copies": 0})


def test_an_unknown_setting_comes_with_no_fix_that_does_not_fit():
    with pytest.raises(SpecError, match='unknown key "foo"') as caught:
        check_pretext_task("tiny", plugins=FAKES, params={"foo": 1})
    assert caught.value.problems[0].fix is None


def test_a_trial_that_the_component_refuses_is_told():
    with pytest.raises(SpecError, match=r"rotation refuses the conditions of the trial: /modality: the data has no"):
        check_provider("rotation", "pretext_task", params={"modality": "sound"})


def test_without_hypothesis_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        PluginError, match=r'hypothesis, which is not installed; fix: pip install "auxlearn\[testing\]"'
    ):
        check_pretext_task(BROKEN)


def test_a_class_without_a_component_is_refused():
    with pytest.raises(ValueError, match="`TestNothing` should name its `component` and its `kind`"):
        type("TestNothing", (Conformance,), {})


def test_a_class_that_announces_an_unknown_failure_is_refused():
    options = {"component": BROKEN, "kind": "pretext_task", "expected_failures": {"nothing": "x"}}
    with pytest.raises(ValueError, match=r"should name checks of a pretext_task, found \['nothing'\]"):
        type("TestUnknown", (Conformance,), options)


def test_the_process_is_as_it_was():
    import random

    import numpy as np
    import torch

    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate(), torch.get_num_threads()
    check_pretext_task("tiny", plugins=FAKES)
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate(), torch.get_num_threads()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


class NoLoss(TinyPretext):
    def loss(self, features, views, step):
        return None


class Raises(TinyPretext):
    def views(self, batch, draws):
        return {}["width"]


def made(cls):
    return Provider(name="x", summary="X.", build=lambda _, context: cls(context.feature.pooled), moves_pixels=True)


def test_what_depends_on_a_check_of_form_that_failed_is_not_asked():
    report = check_pretext_task(made(NoLoss), on_fail="return")
    assert not report.ok
    assert report.expected == len(report.results) == len(checks_of("pretext_task"))
    assert "loss-is-a-scalar" in report.failed
    assert set(report.failed) <= {"loss-is-a-scalar", "import-without-torch"}
    assert report["views-keep-rows"].status == "passed"
    assert report["batch-of-one"].message == "not asked, since loss-is-a-scalar failed"
    assert report.ran < 6
    alike = len(report.results) - report.ran
    assert str(report).splitlines()[-1] == f"skipped {alike} checks: not asked, since loss-is-a-scalar failed"


def test_an_announced_failure_of_form_lets_the_others_be_asked():
    report = check_pretext_task(made(NoLoss), expected_failures={"loss-is-a-scalar": "known"}, on_fail="return")
    assert report["loss-is-a-scalar"].status == "expected"
    assert report["batch-of-one"].status != "skipped"


def test_what_the_component_raised_is_told_with_its_line_instead_of_a_fix():
    result = check_pretext_task(made(Raises), on_fail="return")["views-keep-rows"]
    line = Raises.views.__code__.co_firstlineno + 1
    assert result.message == f"raised KeyError: 'width' (testing/test_conformance.py, line {line})"
    assert "fix:" not in str(result)
    with pytest.raises(ConformanceError, match=rf"views-keep-rows: raised KeyError: 'width' \(.*, line {line}\)$"):
        check_pretext_task(made(Raises), expected_failures={"import-without-torch": "tests load torch"})


@pytest.mark.parametrize("check", [lambda *_: None, lambda *_: "bad"])
def test_a_check_of_the_provider_that_gives_no_problems_is_told(check):
    report = check_pretext_task(attrs.evolve(made(TinyPretext), check=check), on_fail="return")
    told = report["builds-the-right-class"].message
    assert told.startswith("`check` should return Problems (an iterable), it returned ")


def test_the_tests_of_a_class_are_skipped_alike():
    class Suite(Conformance):
        component, kind = made(NoLoss), "pretext_task"

    asked = {check.id: check for check in checks_of("pretext_task")}
    with pytest.raises(pytest.skip.Exception, match="not asked, since loss-is-a-scalar failed"):
        Suite().test_conforms(asked["batch-of-one"])
    with pytest.raises(pytest.fail.Exception, match="`loss` returned NoneType, expected TaskResult"):
        Suite().test_conforms(asked["loss-is-a-scalar"])
    Suite().test_conforms(asked["views-keep-rows"])
