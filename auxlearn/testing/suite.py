"""`Conformance`: the checks as tests of pytest, one for each check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from auxlearn.registry import Kind, Provider
from auxlearn.testing.checking import Check, checks_of
from auxlearn.testing.conformance import found_of, not_asked, on_trial, run_check
from auxlearn.testing.report import Result
from auxlearn.testing.subject import Subject
from auxlearn.testing.trial import Trial

__all__ = ["Conformance"]


class Conformance:
    """The base of a class of tests: pytest finds one test for each check, named by its id.

    A check that does not apply is skipped, an announced failure is expected to fail and strict about it.

    Attributes:
        component: Its name, as a spec has it, or a provider.
        kind: What it is.
        trial: The conditions; None for those that the provider declares.
        params: Settings as JSON, laid over those of the trial.
        expected_failures: Checks that are known to fail, by id, each with the reason.
        plugins: Modules with hooks that are not installed.

    Examples:
        >>> import auxlearn.testing.plugin
        >>> from auxlearn.testing import Conformance
        >>> class TestTiny(Conformance):
        ...     component, kind = "tiny", "pretext_task"
        ...     plugins = (auxlearn.testing.plugin,)
    """

    component: ClassVar[str | Provider]
    kind: ClassVar[Kind]
    trial: ClassVar[Trial | None] = None
    params: ClassVar[Mapping[str, Any]] = {}
    expected_failures: ClassVar[Mapping[str, str]] = {}
    plugins: ClassVar[Sequence[Any]] = ()
    _forms: ClassVar[dict[str, Result]]

    def __init_subclass__(cls, **options: Any) -> None:
        """Give the class its tests; ValueError if there is nothing to check."""
        super().__init_subclass__(**options)
        import pytest

        if not hasattr(cls, "component") or not hasattr(cls, "kind"):
            raise ValueError(f"`{cls.__name__}` should name its `component` and its `kind`.")
        checks = checks_of(cls.kind)
        unknown = sorted(set(cls.expected_failures) - {check.id for check in checks})
        if unknown or not checks:
            raise ValueError(f"`expected_failures` should name checks of a {cls.kind}, found {unknown}.")
        cls._forms = {}
        marked = pytest.mark.parametrize("check", [pytest.param(check, id=check.id) for check in checks])
        cls.test_conforms = marked(_conforms())  # type: ignore[attr-defined]


def _asked(suite: type[Conformance], check: Check, subject: Subject, expected: Mapping[str, str]) -> Result:
    """Return the outcome of a check, after those of form before it, which run once."""
    for form in (one for one in checks_of(suite.kind) if one.basic):
        if form.id == check.id:
            break
        if form.id not in suite._forms:
            suite._forms[form.id] = run_check(form, subject, expected.get(form.id))
        if check.asks != "declaration" and suite._forms[form.id].status == "failed":
            return not_asked(check, suite._forms[form.id])
    result = run_check(check, subject, expected.get(check.id))
    if check.basic:
        suite._forms[check.id] = result
    return result


def _conforms() -> Any:
    def test_conforms(self: Conformance, check: Check) -> None:
        """The component passes the check."""
        import pytest

        found = found_of(self.component, self.kind, self.plugins)
        with on_trial(found, trial=self.trial, params=self.params) as subject:
            expected = {**subject.trial.expected_failures, **self.expected_failures}
            result = _asked(type(self), check, subject, expected)
        if result.status == "skipped":
            pytest.skip(result.message)
        if result.status == "expected":
            pytest.xfail(result.message)
        if result.status == "failed" and not result.breaks:
            pytest.xfail(f"recommended: {result.message}")
        if result.breaks:
            pytest.fail(f"{result}\n{result.traceback}".rstrip(), pytrace=False)

    return test_conforms
