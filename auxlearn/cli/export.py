"""`auxlearn export`: write the trained model, without the auxiliary parts, for use elsewhere."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["add", "run"]


def add(subparsers: Any) -> None:
    """Add the command to the parser."""
    text = (
        "Write the trained model without its auxiliary parts. What was written is read back and compared with the "
        "trained model before it is reported. `auxlearn plugins` lists the formats."
    )
    parser = subparsers.add_parser("export", help="write the trained model for use elsewhere", description=text)
    parser.add_argument("path", metavar="RUN", help="the run folder, or that of one of its stages (default: the last)")
    parser.add_argument("--format", required=True, help="state_dict, torch_export, onnx, or the format of a plugin")
    parser.add_argument("--part", default="model", metavar="model|backbone", help="what of it (default: model)")
    parser.add_argument("--task", metavar="NAME", help="the primary task, for a format that holds one of several")
    parser.add_argument("--which", default="best", metavar="best|last|STEP", help="which weights (default: best)")
    parser.add_argument("--out", metavar="DIR", help="the folder to write (default: RUN/export/FORMAT-PART)")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the format")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from auxlearn import api
    from auxlearn.results.description import read_description

    loaded = api.load_run(args.path, which=args.which, registry=args.registry())
    folder = loaded.export(args.format, args.part, args.out, task=args.task, options=_options(args.option))
    description = read_description(folder)
    files = sorted(file.name for file in folder.iterdir())
    if args.json:
        facts = {"path": str(folder), "files": files, "step": loaded.step}
        print(json.dumps({**facts, **{name: description[name] for name in ("format", "part", "check", "load")}}))
        return 0
    check = description["check"]
    print(f"exported   {folder}")
    print(f"files      {', '.join(files)}")
    print(f"weights    step {loaded.step}, {description['run']['weights']}")
    print(f"checked    read back; outputs differ by {check['difference']:.2g} (allowed: {check['tolerance']:g})")
    for line in _usage(description, str(folder)):
        print(line)
    return 0


def _options(given: Sequence[str]) -> dict[str, Any]:
    """Return `NAME=VALUE` as JSON values, and as text what is no JSON."""
    from auxlearn.errors import Problem, SpecError, escape

    options: dict[str, Any] = {}
    for option in given:
        name, equals, value = option.partition("=")
        if not equals or not name:
            raise SpecError(Problem(what=f'--option "{escape(option)}" has no value', fix="--option NAME=VALUE"))
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


def _usage(description: Mapping[str, Any], folder: str) -> list[str]:
    """Return how to go on, for what the command line knows how to use."""
    if not description["tasks"]:
        return []
    kinds = {one["kind"] for one in description["inputs"].values()}
    return [f"next       auxlearn predict {folder} {'IMAGES' if kinds == {'image'} else 'DATA.json'}"]
