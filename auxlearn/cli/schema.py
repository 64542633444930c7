"""`auxlearn schema`: the JSON Schema of a spec with everything that is installed."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add", "run"]


def add(subparsers: Any) -> None:
    """Add the command to the parser."""
    text = "Print the JSON Schema of a spec with every installed plugin; an editor that is given it completes specs."
    parser = subparsers.add_parser("schema", help="print the JSON Schema of a spec", description=text)
    parser.add_argument("of", nargs="?", choices=("spec", "study"), default="spec", help="of what (default: spec)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    import json

    from auxlearn.spec.frame import spec_schema
    from auxlearn.studies.models import study_schema

    schema = study_schema if args.of == "study" else spec_schema
    print(json.dumps(schema(args.registry()), indent=2, allow_nan=False))
    return 0
