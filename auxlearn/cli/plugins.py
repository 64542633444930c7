"""`auxlearn plugins`: what is installed, what it offers, and why a plugin does not work."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auxlearn.registry import Broken, Found, Registry

__all__ = ["add", "run"]

_LONGEST_DEFAULT = 40  # --json shows all of it
_LONGEST = 1000


def add(subparsers: Any) -> None:
    """Add the command to the parser."""
    text = (
        "Show what is installed: backbones, tasks, data, augmentations, balancers, optimizers, exporters, presets. "
        "Without an action: everything."
    )
    parser = subparsers.add_parser("plugins", help="show what is installed", description=text)
    parser.set_defaults(run=run, name=None, json=False)
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    listing = actions.add_parser("list", help="everything, with broken plugins and their reasons")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=run, name=None)
    showing = actions.add_parser("show", help="one component, or all of one distribution, with every option")
    showing.add_argument("name", metavar="NAME", help="a type as in a spec, or a distribution")
    showing.add_argument("--json", action="store_true", help="print JSON")
    showing.set_defaults(run=run)
    checking = actions.add_parser("check", help="ask plugins the questions of the conformance kit")
    checking.add_argument("name", metavar="NAME", help="a type as in a spec, a distribution, or an entry point")
    checking.add_argument("settings", nargs="*", metavar="key=value", help="settings of the component")
    checking.add_argument("--json", action="store_true", help="print JSON")
    checking.set_defaults(run=run_checks)
    making = actions.add_parser("new", help="write a plugin of your own to begin with")
    making.add_argument("name", metavar="NAME", help="what it is called, with or without auxlearn- in front")
    kinds = ("pretext", "primary", "backbone", "data", "augmentation", "balancer")
    making.add_argument("--kind", required=True, choices=kinds, help="what it offers")
    making.add_argument("--out", default=".", metavar="DIR", help="where its folder is made (default: here)")
    making.add_argument("--summary", metavar="TEXT", help="what it does, in one line")
    making.set_defaults(run=run_new)


def run_checks(args: argparse.Namespace) -> int:
    """Run the action `check`: 0 if every component conforms, else 3."""
    import attrs

    from auxlearn.testing.conformance import check_found

    wanted, broken = _named(args.registry(), args.name)
    params = _settings(args.settings)
    reports = [check_found(found, params=params) for found in wanted]
    ok = all(report.ok for report in reports) and not broken
    if args.json:
        told = [attrs.asdict(one) for one in broken]
        _print({"ok": ok, "reports": [report.to_json() for report in reports], "broken": told})
    else:
        print("\n\n".join([*map(str, reports), *(_reason(str(one), one.fix) for one in broken)]))
    return 0 if ok else 3


def run_new(args: argparse.Namespace) -> int:
    """Run the action `new`."""
    from pathlib import Path

    from auxlearn.cli.scaffold import write_plugin

    written = write_plugin(args.name, args.kind, Path(args.out), args.summary)
    folder = written[0].parent
    for found in _namesakes(args.registry(), args.name, args.kind):
        what = f"{found.distribution} {found.version} offers a {found.kind.replace('_', ' ')} of this name already"
        print(f'warning: {what}; with both installed, a spec has to write "{found.full_name}" for it', file=sys.stderr)
    print(
        "\n".join([*(f"wrote {file}" for file in written), f"next   cd {folder} && pip install -e '.[test]' && pytest"])
    )
    return 0


def _namesakes(registry: Registry, name: str, kind: str) -> list[Found]:
    """Return the components of the kind that have the name which a new plugin would give its own."""
    from auxlearn.cli.scaffold import SHAPES, component_of
    from auxlearn.registry import KINDS

    offers = [found for found in registry.found if KINDS[found.kind] == SHAPES[kind].hook]
    return [found for found in offers if found.provider.name.replace("-", "_") == component_of(name)]


def _settings(words: Sequence[str]) -> dict[str, Any]:
    """Return what `key=value` says."""
    from auxlearn.errors import Problem, error_of, escape
    from auxlearn.spec.overrides import apply_overrides

    wrong = [word for word in words if "=" not in word]
    problems = [Problem(where=escape(word), what="is no setting", allowed="key=value") for word in wrong]
    given: dict[str, Any] = {"params": {}}
    problems += apply_overrides(given, [f"params.{word}" for word in words if word not in wrong])
    if problems:
        raise error_of(problems)
    params: dict[str, Any] = given["params"]
    return params


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    registry: Registry = args.registry()
    if args.name is not None:
        return _show(registry, args.name, as_json=args.json)
    if args.json:
        _print(_listing(registry))
    else:
        print(_listing_text(registry))
    return 0


def _listing(registry: Registry) -> dict[str, Any]:
    import attrs

    return {
        "providers": [_facts(found) for found in registry.found],
        "broken": [attrs.asdict(broken) for broken in registry.broken],
        "blocked": [attrs.asdict(blocked) for blocked in registry.blocked],
    }


def _facts(found: Found) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "name": found.provider.name,
        "distribution": found.distribution,
        "version": found.version,
        "file": found.file,
        "summary": found.provider.summary,
    }


def _listing_text(registry: Registry) -> str:
    from auxlearn.cli.tables import table
    from auxlearn.registry import KINDS

    rows = [
        (kind.replace("_", " "), found.provider.name, f"{found.distribution} {found.version}", found.provider.summary)
        for kind in KINDS
        for found in registry.of_kind(kind)
    ]
    parts = [table(rows, ("KIND", "NAME", "FROM", "WHAT"))]
    if registry.broken:
        broken = [(b.entry_point, f"{b.distribution} {b.version}", _reason(b.reason, b.fix)) for b in registry.broken]
        parts.append(table(broken, ("BROKEN", "FROM", "WHY")))
    if registry.blocked:
        blocked = [(b.entry_point, f"{b.distribution} {b.version}", b.by) for b in registry.blocked]
        parts.append(table(blocked, ("BLOCKED", "FROM", "BY")))
    return "\n\n".join(parts)


def _reason(reason: str, fix: str | None) -> str:
    return f"{reason}; fix: {fix}" if fix else reason


def _named(registry: Registry, name: str) -> tuple[list[Found], list[Broken]]:
    """Return the components that `name` means: one, or those of a distribution or an entry point; and broken ones."""
    from auxlearn.errors import Problem, SpecError, nearest
    from auxlearn.registry.registry import normalized

    def of_plugin(one: Found | Broken) -> bool:
        return normalized(name) in (normalized(one.distribution), normalized(one.entry_point))

    wanted = [found for found in registry.found if name in (found.provider.name, found.full_name)]
    wanted = wanted or [found for found in registry.found if of_plugin(found)]
    broken = [one for one in registry.broken if of_plugin(one)]
    if not wanted and not broken:
        known = [word for found in registry.found for word in (found.provider.name, found.distribution)]
        meant = nearest(name, known)
        raise SpecError(Problem(what=f'nothing named "{name}" is installed', meant=meant, fix="auxlearn plugins list"))
    return wanted, broken


def _show(registry: Registry, name: str, *, as_json: bool) -> int:
    """Show what `name` means; the exit code is that of a broken plugin if it means nothing else."""
    import attrs

    wanted, broken = _named(registry, name)
    code = 0 if wanted else 3
    if as_json:
        shown = [{**_facts(found), **_content(found)} for found in wanted]
        _print({"providers": shown, "broken": [attrs.asdict(one) for one in broken]})
        return code
    parts = ["\n".join(_details(found)) for found in wanted] + [_reason(str(b), b.fix) for b in broken]
    print("\n\n".join(parts))
    return code


def _content(found: Found) -> dict[str, Any]:
    """Return what is inside: the spec of a preset, the options of anything else."""
    from auxlearn.spec.presets import preset_content
    from auxlearn.spec.schema import params_schema

    if found.kind == "preset":
        return {"spec": preset_content(found)}
    return {"options": params_schema(found.provider.params)}


def _details(found: Found) -> Iterator[str]:
    import json

    from auxlearn.cli.tables import table
    from auxlearn.errors import escape
    from auxlearn.spec.presets import preset_content
    from auxlearn.spec.schema import params_schema

    provider = found.provider
    yield f"{found.kind.replace('_', ' ')} {provider.name}: {escape(provider.summary, _LONGEST)}"
    yield f"from {found.distribution} {found.version}, {escape(found.file, _LONGEST)}"
    if found.kind == "preset":
        yield "\n" + json.dumps(preset_content(found), indent=2)
        return
    if found.kind == "pretext_task":
        yield f"view unless the spec says otherwise: {provider.view}"
    rows = list(_rows(params_schema(provider.params)["properties"]))
    yield "\n" + table(rows, ("OPTION", "DEFAULT", "WHAT")) if rows else "no options"


def _rows(options: dict[str, Any], within: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield a row for each option, and after it those of the options inside of it, named as an override names them."""
    import json

    from auxlearn.errors import escape
    from auxlearn.spec.validation import describe

    for name, option in options.items():
        default = option.get("default")
        shown = escape(json.dumps(default), _LONGEST_DEFAULT) if "default" in option else "required"
        inside, path = option.get("properties", {}), f"{within}{name}"
        allowed = describe({**option, "properties": {}})
        if inside and isinstance(default, dict):
            inside = {key: {**one, "default": default[key]} for key, one in inside.items()}
            shown = "as below"
        yield path, shown, f"{option['description']} ({allowed})"
        yield from _rows(inside, f"{path}.")


def _print(value: dict[str, Any]) -> None:
    import json

    print(json.dumps(value, allow_nan=False))
