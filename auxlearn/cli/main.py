"""The entry point `auxlearn`: the parser, the exit codes, and the one place where errors become messages."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auxlearn.registry import Registry

__all__ = ["COMMANDS", "main"]

# In the order of `--help`; each is a module here with `add(subparsers)`, which sets the default `run(args) -> int`.
COMMANDS = (
    *("run", "resume", "validate", "study", "compare", "data", "extract", "eval", "export", "predict", "plugins"),
    "schema",
)

_BUG = 70
_BROKEN_PIPE = 128 + 13
_INTERRUPTED = 128 + 2
_EPILOG = """exit codes:
  0 done            4 data                 8 disk, permission, lock
  2 spec or usage   5 diverged             9 export
  3 plugin          6 checkpoint, resume   130, 143 signal, after a saved checkpoint
                    7 other processes      70 a bug: please report it

environment:
  AUXLEARN_PLUGINS=a,b   load only these plugins; empty: none besides the engine's own"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: The arguments without the program's name; by default those of the process.
    """
    args = _arguments(argv)
    args.registry = _registry(args.no_plugin)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone: Python's own flush at exit must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:  # everything a command can raise ends here
        return _report(error, debug=args.debug, as_json=getattr(args, "json", False))
    return code


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments. argparse refuses `a=b` behind an option; they are settings there too."""
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    name = next((name for name in ("settings", "overrides") if name in args), None)
    if rest and (name is None or any("=" not in word or word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if name is not None:
        setattr(args, name, [*getattr(args, name), *rest])
    return args


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="auxlearn",
        description="Train a supervised task together with self-supervised pretext tasks, then drop the pretext parts.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version)
    parser.add_argument("--debug", action="store_true", help="show the traceback of every error")
    parser.add_argument(
        "--no-plugin",
        action="append",
        default=[],
        metavar="NAME",
        help="leave a plugin out, by the name of its distribution or entry point (may be repeated)",
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"auxlearn.cli.{name}").add(subparsers)
    return parser


class _Version(argparse.Action):
    """`--version`, which asks for the version only when it is wanted."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from auxlearn import __version__

        print(f"auxlearn {__version__}")
        parser.exit()


def _registry(block: Sequence[str]) -> Callable[[], Registry]:
    """Return how a command gets what is installed: only those that need it pay for the search."""

    def search() -> Registry:
        from auxlearn.registry import discover

        return discover(block=block)

    return search


def _report(error: Exception, *, debug: bool, as_json: bool) -> int:
    from auxlearn.errors import AuxlearnError, Interrupted, PluginError

    if debug or not isinstance(error, AuxlearnError):
        import traceback

        traceback.print_exception(error)
    if not isinstance(error, AuxlearnError):
        print("error: this is a bug of auxlearn or of a plugin; please report it with the lines above", file=sys.stderr)
        return _BUG
    for line in str(error).splitlines():
        print(f"error: {line}", file=sys.stderr)
    cause = error.__cause__
    if cause is not None and (error.call is not None or isinstance(error, PluginError)) and not debug:
        from auxlearn.calls import author_traceback

        print(author_traceback(cause), file=sys.stderr, end="")
    code = error.code if isinstance(error, Interrupted) else error.exit_code
    if as_json:
        import json

        import attrs

        print(json.dumps({"problems": [attrs.asdict(one) for one in error.problems], "exit_code": code}), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
