"""What a provider declares: settings that survive JSON, a component of the right class, a module without torch."""

from __future__ import annotations

import functools
import json
import subprocess
import sys

from auxlearn.spec.schema import params_schema
from auxlearn.spec.structure import structure, unstructure
from auxlearn.spec.validation import problems_of, validator_for
from auxlearn.testing.checking import Fault, NotApplicable, check
from auxlearn.testing.subject import Subject
from auxlearn.testing.working import CLASSES

__all__ = ["builds_the_right_class", "import_without_torch", "params_survive_json"]

_IMPORT = "import importlib, sys; importlib.import_module(sys.argv[1]); sys.exit(3 * ('torch' in sys.modules))"
_WITH_TORCH = 3


@check(
    fix="declare each field with `option`, with bounds that its default keeps, and give arrays as tuples",
    asks="declaration",
)
def params_survive_json(subject: Subject) -> None:
    """Settings survive JSON and fit their own schema: run folders keep them as JSON, and resuming reads them back."""
    settings = subject.settings
    found = json.loads(json.dumps(settings, allow_nan=False))
    wrong = [problem for _, problem in problems_of(validator_for(params_schema(subject.provider.params)), found)]
    if wrong:
        raise Fault(f"the settings do not fit the schema: {wrong[0]}")
    again = structure(subject.provider.params, found)
    if again != subject.params or unstructure(again) != settings:
        raise Fault(f"{subject.params} became {again}")


@check(fix="import torch, and what imports it, inside of `build` only", asks="declaration")
def import_without_torch(subject: Subject) -> None:
    """Importing the plugin loads no torch: `validate`, `plugins` and shell completion stay fast."""
    module = getattr(subject.provider.build, "__module__", None)
    found = "absent" if module in (None, "__main__") else _import(str(module))
    if found == "absent":
        raise NotApplicable("its module cannot be imported by name")
    if found:
        raise Fault(f"`import {module}` {found}")


@functools.cache
def _import(module: str) -> str:
    """Return what is wrong with importing a module in a fresh interpreter; `"absent"` if there is none."""
    done = subprocess.run([sys.executable, "-c", _IMPORT, module], capture_output=True, text=True, check=False)
    if done.returncode == _WITH_TORCH:
        return "loads torch"
    last = (done.stderr.strip().splitlines() or [""])[-1]
    top = module.partition(".")[0]
    if done.returncode and f"No module named '{top}'" in last:
        return "absent"
    return f"fails: {last}" if done.returncode else ""


@check(
    *("pretext_task", "primary_task", "backbone", "augmentation", "balancer", "data_source"),
    fix="return an instance of the class that the interface names from `build`",
    asks="form",
)
def builds_the_right_class(subject: Subject) -> None:
    """`build` returns a component of its kind."""
    component = subject.bench(anew=False).component
    if not isinstance(component, CLASSES[subject.kind]):
        raise Fault(f"`build` returned {type(component).__name__}, expected {CLASSES[subject.kind].__name__}")
