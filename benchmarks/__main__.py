"""`python -m benchmarks`: measure, and print the table."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import warnings
from collections.abc import Mapping, Sequence

import attrs
import torch

from auxlearn.training.memory import keep_freed_memory
from benchmarks.machine import describe
from benchmarks.paired import Line

__all__ = ["NAMES", "main"]

NAMES = ("step", "tiny", "aten", "shared", "pretexts", "balancers", "tiles", "startup", "plugins", "cache", "augment")

_INTRODUCTION = """\
# Benchmarks

`{command}`

{facts}

A value is the median over paired rounds of CPU time of what is measured over CPU time of what it is measured against,
both in turns in one process; the quartiles follow in brackets. "wall" is the same median for wall time, "best" the
ratio of the least CPU times of all rounds. As `auxlearn run` does, the process tells the C allocator to keep freed
memory.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what auxlearn costs.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"which: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--rounds", type=int, default=20, help="paired rounds (default: 20)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in NAMES]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    if given.rounds < 2:
        parser.error("--rounds should be at least 2")
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    warnings.simplefilter("ignore")  # what other frameworks say about devices and loaders is not asked for here
    facts = {"command": " ".join(["python -m benchmarks", *(sys.argv[1:] if arguments is None else arguments)])}
    facts |= describe()
    tables = {name: _measure(name, given.rounds) for name in given.names or NAMES}
    print(_as_json(facts, tables) if given.json else _as_markdown(facts, tables))


def _measure(name: str, rounds: int) -> list[Line]:
    print(f"{name}: measuring", file=sys.stderr)
    lines: list[Line] = importlib.import_module(f"benchmarks.{name}").run(rounds)
    return lines


def _as_json(facts: Mapping[str, str], tables: Mapping[str, Sequence[Line]]) -> str:
    lines = [
        {"benchmark": name, **attrs.asdict(line), "verdict": line.verdict}
        for name, table in tables.items()
        for line in table
    ]
    return json.dumps({**facts, "lines": lines}, indent=1)


def _as_markdown(facts: Mapping[str, str], tables: Mapping[str, Sequence[Line]]) -> str:
    listed = "\n".join(f"- {name}: {fact}" for name, fact in facts.items() if name != "command")
    rows = [
        f"| {name} | {line.what} | {line.against} | {_value(line)} | {_number(line.wall)} | {_number(line.best)} "
        f"| {_goal(line)} | {line.verdict} | {line.note} |"
        for name, table in tables.items()
        for line in table
    ]
    names = ["", "what", "against", "median [quartiles]", "wall", "best", "goal", "verdict", "measured"]
    head = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    return "\n".join([_INTRODUCTION.format(command=facts["command"], facts=listed), *head, *rows])


def _value(line: Line) -> str:
    unit = "" if line.unit == "x" else f" {line.unit}"
    if line.low == line.high:
        return f"**{_number(line.value)}**{unit}"
    return f"**{_number(line.value)}**{unit} [{_number(line.low)}, {_number(line.high)}]"


def _goal(line: Line) -> str:
    return "" if line.goal is None else f"at most {line.goal:.3g}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"


if __name__ == "__main__":
    main()
