"""`auxlearn validate`: every mistake of a spec at once, before anything is read or built."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auxlearn.errors import AuxlearnError
    from auxlearn.spec import Choice, Spec
    from auxlearn.spec.extraction import Extraction
    from auxlearn.studies.loading import Study

__all__ = ["add", "run"]


def add(subparsers: Any) -> None:
    """Add the command to the parser."""
    text = "Check a spec of training or of `auxlearn extract`, or a study, and report every mistake in it at once."
    parser = subparsers.add_parser("validate", help="check a spec", description=text)
    parser.add_argument("spec", help="a JSON file")
    parser.add_argument("overrides", nargs="*", metavar="a.b=c", help="changes to the spec, e.g. train.epochs=5")
    parser.add_argument(
        "--deep", action="store_true", help="also build everything, read data and take one step with a throw-away copy"
    )
    parser.add_argument("--json", action="store_true", help="print the resolved spec, or the problems, as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from auxlearn.errors import AuxlearnError

    try:
        spec = _load(args)
    except AuxlearnError as error:
        if not args.json:
            raise
        _print({"valid": False, "problems": _problems(error)})
        return error.exit_code
    if args.json:
        _print({"valid": True, "resolved": spec.resolved})
    else:
        print(_summary(args.spec, spec))
    return 0


def _load(args: argparse.Namespace) -> Spec | Extraction | Study:
    from auxlearn.errors import Problem, SpecError
    from auxlearn.spec.extraction import is_extraction, load_extraction
    from auxlearn.studies.loading import is_study, load_study

    for mine, load in ((is_extraction, load_extraction), (is_study, load_study)):
        if mine(args.spec):
            if args.deep:
                raise SpecError(Problem(what="--deep is about the spec of one training", fix="leave it out"))
            return load(args.spec, args.overrides, args.registry())
    if args.deep:
        from auxlearn import api

        return api.validate(args.spec, args.overrides, deep=True, registry=args.registry())
    from auxlearn.spec import load_spec

    return load_spec(args.spec, args.overrides, registry=args.registry())


def _problems(error: AuxlearnError) -> list[dict[str, Any]]:
    import attrs

    return [attrs.asdict(problem) for problem in error.problems]


def _print(value: dict[str, Any]) -> None:
    import json

    print(json.dumps(value, allow_nan=False))


def _summary(path: str, spec: Spec | Extraction | Study) -> str:
    from auxlearn.spec.extraction import Extraction
    from auxlearn.studies.loading import Study

    if isinstance(spec, Study):
        arms = [f"  {name}{' (baseline)' if name == spec.baseline else ''}" for name in spec.arms]
        return "\n".join([f"{path} is valid: {len(arms)} arms, {len(spec.cells)} runs", *arms])
    if isinstance(spec, Extraction):
        rows = [_row("data", spec.data), *(_row(f"extract {name}", one) for name, one in spec.networks.items())]
        return f"{path} is valid\n{_table(rows)}"
    stages = [f"stage {stage.stage}\n{_components(stage)}" for stage in spec.stages]
    return "\n".join([f"{path} is valid", *(stages or [_components(spec)])])


def _components(spec: Spec) -> str:
    rows = [_row(name, getattr(spec, name)) for name in ("data", "augment", "backbone")]
    for section in ("primary", "pretext"):
        rows += [_row(f"{section} {name}", choice) for name, choice in getattr(spec, section).items()]
    return _table([*rows, *(_row(name, getattr(spec, name)) for name in ("balance", "optimizer", "schedule"))])


def _table(rows: list[tuple[str, str, str]]) -> str:
    from auxlearn.cli.tables import table

    return table(rows, ("SECTION", "TYPE", "FROM"))


def _row(name: str, choice: Choice) -> tuple[str, str, str]:
    return name, choice.provider.name, f"{choice.distribution} {choice.version}"
