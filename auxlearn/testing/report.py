"""`Report`: what the checks of one component found, for people, for programs and for exit codes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal, get_args

import attrs

from auxlearn.errors import PluginError, Problem, escape
from auxlearn.registry import Kind

__all__ = ["ConformanceError", "Level", "Report", "Result", "Status"]

Level = Literal["required", "recommended"]
Status = Literal["passed", "failed", "skipped", "expected", "unexpected"]

_LONGEST = 1200
_MOST_ALIKE = 3


@attrs.frozen(kw_only=True)
class Result:
    """The outcome of one check.

    Attributes:
        id: The stable name of the check.
        level: Whether a component has to pass it.
        status: `"passed"`; `"failed"`; `"skipped"`: it does not apply, `message` says why; `"expected"`: it failed, as
            was announced; `"unexpected"`: it was announced to fail, and passed.
        reason: What the check asks, and why.
        fix: What to do if it fails; empty where the component raised, and the message says in which line.
        message: What was found.
        seconds: How long it took.
        traceback: Of the exception that the component raised, if it raised one.
    """

    id: str
    level: Level
    status: Status
    reason: str
    fix: str
    message: str = ""
    seconds: float = 0.0
    traceback: str = ""

    @property
    def breaks(self) -> bool:
        """Whether the component does not conform because of this."""
        return self.status == "unexpected" or (self.status == "failed" and self.level == "required")

    def __str__(self) -> str:
        if self.status in ("failed", "expected", "unexpected"):
            found = f"{self.status.upper()} {self.id} ({self.level}): {escape(self.message, _LONGEST)}"
            more = [f"  why: {self.reason}"] if self.status == "failed" else []
            more += [f"  fix: {self.fix}"] if self.status == "failed" and self.fix else []
            return "\n".join((found, *more))
        return f"{self.status} {self.id}" + (f": {escape(self.message, _LONGEST)}" if self.message else "")


@attrs.frozen(kw_only=True)
class Report:
    """What the checks of one component found.

    Attributes:
        kind: What the component is.
        name: What a spec writes as `type`.
        distribution, version: Where it comes from; empty for a provider that was handed over.
        expected: How many checks there are for this kind.
        results: The outcome of each.
    """

    kind: Kind
    name: str
    distribution: str = ""
    version: str = ""
    expected: int
    results: tuple[Result, ...]

    @property
    def ran(self) -> int:
        """How many checks ran: all but the skipped ones."""
        return sum(result.status != "skipped" for result in self.results)

    @property
    def ok(self) -> bool:
        """Whether the component conforms: every check was asked, some ran, and none of the required ones failed."""
        complete = len(self.results) == self.expected and self.ran > 0
        return complete and not any(result.breaks for result in self.results)

    @property
    def failed(self) -> tuple[str, ...]:
        """The ids of the checks that failed, required or not, and were not announced to."""
        return tuple(result.id for result in self.results if result.status == "failed")

    def __getitem__(self, check: str) -> Result:
        """Return the outcome of one check by its id."""
        return next(result for result in self.results if result.id == check)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        found = attrs.asdict(self)
        return {**found, "results": list(found["results"]), "ok": self.ok, "ran": self.ran}

    def __str__(self) -> str:
        counts = Counter(result.status for result in self.results)
        told = ", ".join(f"{counts[status]} {status}" for status in get_args(Status) if counts[status])
        origin = f" of {self.distribution} {self.version}".rstrip() if self.distribution else ""
        verdict = "conforms" if self.ok else "does not conform"
        head = f"{self.kind.replace('_', ' ')} {self.name}{origin} {verdict}: "
        head += f"{self.ran} of {self.expected} checks ran ({told or 'none'})"
        return "\n".join([head, *self._told()])

    def _told(self) -> Iterator[str]:
        """Yield what did not pass; what was skipped for the same reason many times, in one line."""
        skipped = Counter(result.message for result in self.results if result.status == "skipped")
        for result in self.results:
            if result.status != "passed" and skipped[result.message] <= _MOST_ALIKE:
                yield str(result)
        for message, count in skipped.items():
            if count > _MOST_ALIKE:
                yield f"skipped {count} checks: {escape(message, _LONGEST)}"


class ConformanceError(PluginError):
    """A component does not conform.

    Attributes:
        report: What the checks found.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        broken = [
            Problem(where=result.id, what=escape(result.message, _LONGEST), fix=result.fix or None, exit_code=3)
            for result in report.results
            if result.breaks
        ]
        nothing = Problem(what=f"{report.ran} of {report.expected} checks of {report.name} ran", exit_code=3)
        super().__init__(broken or nothing)
