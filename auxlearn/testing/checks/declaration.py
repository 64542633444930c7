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

_IMPORT = "import importlib, sys; importlib.import_module(sys.argv[1]); sys.exit('torch' in sys.modules)"


@check(fix="declare each field with `option`, with bounds that its default keeps, and give arrays as tuples")
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


@check(fix="import torch, and what imports it, inside of `build` only")
def import_without_torch(subject: Subject) -> None:
    """Importing the plugin loads no torch: `validate`, `plugins` and shell completion stay fast."""
    names = {name for name in (subject.module, subject.provider.build.__module__) if name}
    importable = [name for name in sorted(names) if name != "__main__" and _import(name) != "absent"]
    if not importable:
        raise NotApplicable("its module cannot be imported by name")
    heavy = [name for name in importable if _import(name) == "torch"]
    if heavy:
        raise Fault(f"`import {heavy[0]}` loads torch")


@functools.cache
def _import(module: str) -> str:
    """Return what importing a module in a fresh interpreter does: `"light"`, `"torch"`, or `"absent"` without it."""
    done = subprocess.run([sys.executable, "-c", _IMPORT, module], capture_output=True, text=True, check=False)
    if done.stderr:
        return "absent"
    return "torch" if done.returncode else "light"


@check(
    *("pretext_task", "primary_task", "backbone", "augmentation", "balancer", "data_source"),
    fix="return an instance of the class that the interface names from `build`",
)
def builds_the_right_class(subject: Subject) -> None:
    """`build` returns a component of its kind."""
    component = subject.bench().component
    if not isinstance(component, CLASSES[subject.kind]):
        raise Fault(f"`build` returned {type(component).__name__}, expected {CLASSES[subject.kind].__name__}")
