"""Checking components: `check_provider` for any, and the same under the name of each kind."""

from __future__ import annotations

import importlib.util
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import attrs

from auxlearn.errors import PluginError, Problem, SpecError, nearest, place_of
from auxlearn.registry import Found, Kind, Provider, discover
from auxlearn.spec.schema import params_schema
from auxlearn.spec.validation import problems_of, validator_for
from auxlearn.testing.checking import Check, Fault, NotApplicable, checks_of
from auxlearn.testing.report import ConformanceError, Report, Result, Status
from auxlearn.testing.state import preserved
from auxlearn.testing.subject import Refused, Subject
from auxlearn.testing.trial import Trial

__all__ = [
    "check_augmentation",
    "check_backbone",
    "check_balancer",
    "check_data_source",
    "check_found",
    "check_pretext_task",
    "check_primary_task",
    "check_provider",
    "found_of",
    "not_asked",
    "on_trial",
    "run_check",
]


def check_provider(
    component: str | Provider,
    kind: Kind,
    *,
    trial: Trial | None = None,
    params: Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    plugins: Sequence[Any] = (),
    on_fail: Literal["raise", "return"] = "raise",
) -> Report:
    """Check a component of any kind, and return what was found.

    Args:
        component: Its name, as a spec has it, or a provider.
        kind: What it is.
        trial: The conditions; by default those that the provider declares.
        params: Settings as JSON, laid over those of the trial.
        expected_failures: Checks that are known to fail, by id, each with the reason; added to those of the trial.
        plugins: Modules with hooks that are not installed.
        on_fail: Raise if the component does not conform, or return the report all the same.

    Raises:
        ConformanceError: If the component does not conform; `.report` is the report.
        SpecError: If there is no such component or check, or the trial does not fit the component.
        PluginError: If hypothesis is not installed.

    Examples:
        >>> import auxlearn.testing.plugin
        >>> from auxlearn.testing import check_provider
        >>> report = check_provider("tiny", "backbone", plugins=[auxlearn.testing.plugin])
        >>> report.ok, report.failed
        (True, ())
    """
    found = found_of(component, kind, plugins)
    report = check_found(found, trial=trial, params=params, expected_failures=expected_failures)
    if on_fail == "raise" and not report.ok:
        raise ConformanceError(report)
    return report


def check_pretext_task(component: str | Provider, **options: Any) -> Report:
    """Check a pretext task; `component`, `options` and errors as for `check_provider`."""
    return check_provider(component, "pretext_task", **options)


def check_primary_task(component: str | Provider, **options: Any) -> Report:
    """Check a primary task; `component`, `options` and errors as for `check_provider`."""
    return check_provider(component, "primary_task", **options)


def check_backbone(component: str | Provider, **options: Any) -> Report:
    """Check a backbone; `component`, `options` and errors as for `check_provider`."""
    return check_provider(component, "backbone", **options)


def check_data_source(component: str | Provider, **options: Any) -> Report:
    """Check a data source; `component`, `options` and errors as for `check_provider`."""
    return check_provider(component, "data_source", **options)


def check_augmentation(component: str | Provider, **options: Any) -> Report:
    """Check an augmentation; `component`, `options` and errors as for `check_provider`."""
    return check_provider(component, "augmentation", **options)


def check_balancer(component: str | Provider, **options: Any) -> Report:
    """Check a balancer; `component`, `options` and errors as for `check_provider`."""
    return check_provider(component, "balancer", **options)


def found_of(component: str | Provider, kind: Kind, plugins: Sequence[Any] = ()) -> Found:
    """Return the component and where it comes from.

    Raises:
        SpecError: If nothing of this name is installed.
    """
    if isinstance(component, str):
        return discover(plugins=plugins).find(kind, component)
    return Found(kind=kind, provider=component, distribution="", version="", entry_point="", file="")


def check_found(
    found: Found,
    *,
    trial: Trial | None = None,
    params: Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> Report:
    """Return what the checks find; arguments and errors as for `check_provider`."""
    _require_hypothesis()
    checks = checks_of(found.kind)
    with on_trial(found, trial=trial, params=params) as subject:
        expected = {**subject.trial.expected_failures, **(expected_failures or {})}
        _require_known(expected, [check.id for check in checks])
        results = tuple(_run(checks, subject, expected))
    return Report(
        kind=found.kind,
        name=found.provider.name,
        distribution=found.distribution,
        version=found.version,
        expected=len(checks),
        results=results,
    )


@contextmanager
def on_trial(found: Found, *, trial: Trial | None = None, params: Mapping[str, Any] | None = None) -> Iterator[Subject]:
    """Give the component under its conditions, with the files that it reads for as long as the block lasts.

    Raises:
        SpecError: If the settings are wrong, or the component refuses the conditions.
    """
    if trial is None:
        trial = Trial() if found.provider.trial is None else found.provider.trial()
    with tempfile.TemporaryDirectory(prefix="auxlearn-trial-") as folder:
        written = {} if trial.prepare is None else trial.prepare(Path(folder))
        trial = attrs.evolve(trial, prepare=None, params={**trial.params, **written, **(params or {})})
        subject = Subject(kind=found.kind, provider=found.provider, trial=trial)
        _require_settings(subject)
        with preserved():
            _require_willing(subject)
        yield subject


def _run(checks: Sequence[Check], subject: Subject, expected: Mapping[str, str]) -> Iterator[Result]:
    """Yield the outcome of each check: once one of form failed, nothing is asked that depends on it."""
    failed: Result | None = None
    for check in checks:
        result = run_check(check, subject, expected.get(check.id)) if failed is None else not_asked(check, failed)
        if check.basic and result.status == "failed":
            failed = result
        yield result


def not_asked(check: Check, failed: Result) -> Result:
    """Return the outcome of a check that means nothing, as one of form failed."""
    message = f"not asked, since {failed.id} failed"
    return Result(id=check.id, level=check.level, status="skipped", reason=check.reason, fix=check.fix, message=message)


def run_check(check: Check, subject: Subject, expected: str | None = None) -> Result:
    """Return the outcome of one check; the process is then as it was.

    Args:
        check: What to ask.
        subject: Whom to ask.
        expected: Why the check is known to fail, if it is.
    """
    start, status, message, trace, fix = time.perf_counter(), "passed", "", "", check.fix
    try:
        with preserved():
            check.run(subject)
    except NotApplicable as reason:
        status, message = "skipped", str(reason)
    except Fault as fault:
        status, message = "failed", str(fault)
    except (Exception, SystemExit) as error:  # a plugin may do anything
        status, trace, place = "failed", traceback.format_exc(), place_of(error)
        message = f"raised {type(error).__name__}: {error}{place}"
        # What raises under plain conditions is another mistake than the one that the check looks for.
        fix = "" if place and check.asks != "limits" else fix
    if expected is not None and status in ("passed", "failed"):
        status, message = _announced(status, message, expected)
    return Result(
        id=check.id,
        level=check.level,
        status=status,  # type: ignore[arg-type]
        reason=check.reason,
        fix=fix,
        message=message,
        seconds=time.perf_counter() - start,
        traceback=trace,
    )


def _announced(status: str, message: str, reason: str) -> tuple[Status, str]:
    if status == "failed":
        return "expected", f"{message} (announced: {reason})"
    return "unexpected", f"passed, though it was announced to fail: {reason}"


def _require_hypothesis() -> None:
    if importlib.util.find_spec("hypothesis") is None:
        what = "the conformance kit draws settings and shapes with hypothesis, which is not installed"
        raise PluginError(Problem(what=what, fix='pip install "auxlearn[testing]"', exit_code=3))


def _require_known(expected: Mapping[str, str], known: Sequence[str]) -> None:
    unknown = [name for name in expected if name not in known]
    if unknown:
        raise SpecError(
            [
                Problem(
                    where="expected_failures",
                    what=f'there is no check "{name}"',
                    allowed=", ".join(known),
                    meant=nearest(name, known),
                )
                for name in unknown
            ]
        )


def _require_settings(subject: Subject) -> None:
    validator = validator_for(params_schema(subject.provider.params))
    problems = [problem for _, problem in problems_of(validator, dict(subject.trial.params))]
    if problems:
        fix = "give them as settings, or in the trial that the provider declares"
        # A key that is not known would be as wrong in the trial.
        unknown = [problem.what.startswith("unknown key") for problem in problems]
        fixes = [problem.fix or (None if odd else fix) for problem, odd in zip(problems, unknown, strict=True)]
        raise SpecError([attrs.evolve(problem, fix=one) for problem, one in zip(problems, fixes, strict=True)])


def _require_willing(subject: Subject) -> None:
    try:
        subject.bench()
    except Refused as refused:
        what = f"{subject.provider.name} refuses the conditions of the trial: {refused}"
        fix = "declare others: `Provider(..., trial=...)`, a function that returns an `auxlearn.testing.Trial`"
        raise SpecError(Problem(what=what, fix=fix)) from refused
    except Exception:  # the checks say what is wrong
        return
