"""The rules of the house: which room may import which, what the engine may name, and how large things may grow."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGINE = sorted((ROOT / "auxlearn").rglob("*.py"))
PLUGINS = sorted(path for path in ROOT.glob("plugins/*/auxlearn_*/**/*.py"))
FILES = [*ENGINE, *PLUGINS]

# From the top down: a room imports only from itself and from those before it.
ROOMS = (
    *("errors", "deprecation", "seeds", "files", "registry", "spec", "builtin", "settings", "calls"),
    *("data", "learning", "evaluation", "training", "results", "testing", "running", "chain", "building", "api"),
    *("studies", "cli", "__main__"),
)
LAST_WITHOUT_TORCH = "builtin"
HEAVY = {"torch", "torchvision", "torchmetrics", "lightning", "lightning_fabric", "safetensors"}

# What only plugins may know. The table of pip names exists to name them.
CONCRETE = re.compile(
    r"\b(timm|kornia|puzzling|inpainting|barlow_twins|simclr|conclugen|fer|head_pose|gender|synthfaces|affectnet)\b"
)
MAY_NAME_PLUGINS = {"auxlearn/registry/known.py"}

# What plugins may import of the engine.
PUBLIC = {
    *("auxlearn", "auxlearn.data", "auxlearn.errors", "auxlearn.learning", "auxlearn.registry", "auxlearn.results"),
    "auxlearn.testing",
}

LONGEST_FILE = 300
LONGEST_FUNCTION = 40

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def files(paths):
    return pytest.mark.parametrize("path", paths, ids=name_of)


def room_of(path):
    return path.relative_to(ROOT / "auxlearn").parts[0].removesuffix(".py")


def parse(path):
    return ast.parse(path.read_text())


def is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(tree, *, inside_functions, for_types):
    """Yield the full name of every module that is imported."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        skip = isinstance(node, Function | ast.Lambda) and not inside_functions
        if not skip and (for_types or not is_type_checking(node)):
            pending += ast.iter_child_nodes(node)


def docstrings(tree):
    """Return the nodes that are docstrings."""
    bodies = (node.body for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | Function))
    firsts = (body[0].value for body in bodies if body and isinstance(body[0], ast.Expr))
    return {first for first in firsts if isinstance(first, ast.Constant)}


@files([path for path in ENGINE if path.name != "__init__.py" or path.parent.name != "auxlearn"])
def test_a_room_imports_only_from_rooms_above(path):
    room = room_of(path)
    # A provider's `build` and a command import what they need when they are called.
    late = room not in ("builtin", "cli") and path.name != "__init__.py"
    allowed = ROOMS[: ROOMS.index(room) + 1]
    for module in imports(parse(path), inside_functions=late, for_types=late):
        parts = module.split(".")
        if parts[0] == "auxlearn" and len(parts) > 1:
            assert parts[1] in allowed, f"{name_of(path)} imports {module}"


@files(
    [path for path in ENGINE if room_of(path) in ROOMS[: ROOMS.index(LAST_WITHOUT_TORCH) + 1] or room_of(path) == "cli"]
)
def test_rooms_above_the_torch_line_import_no_torch(path):
    found = {module.split(".")[0] for module in imports(parse(path), inside_functions=False, for_types=False)}
    assert not found & HEAVY


def test_every_room_is_known():
    assert {room_of(path) for path in ENGINE} <= {*ROOMS, "__init__"}


@files([path for path in ENGINE if name_of(path) not in MAY_NAME_PLUGINS])
def test_the_engine_names_nothing_concrete(path):
    tree = parse(path)
    skipped = docstrings(tree)
    for node in ast.walk(tree):
        words = []
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in skipped:
            words = [node.value]
        elif isinstance(node, ast.Name):
            words = [node.id]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            words = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
        for word in words:
            found = CONCRETE.search(word.lower())
            assert not found, f"{name_of(path)}:{node.lineno} names {found[0] if found else ''}"


@files(PLUGINS)
def test_a_plugin_uses_only_what_the_engine_exports(path):
    folder = ROOT / "plugins" / path.relative_to(ROOT / "plugins").parts[0]
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    extras = [text for extra in project.get("optional-dependencies", {}).values() for text in extra]
    texts = [project["name"], *project["dependencies"], *extras]
    declared = {re.split(r"[^\w-]", text)[0].replace("-", "_") for text in texts}
    for module in imports(parse(path), inside_functions=True, for_types=True):
        if module.split(".")[0] == "auxlearn":
            assert module in PUBLIC, f"{name_of(path)} imports {module}"
        elif module.startswith("auxlearn_"):
            assert module.split(".")[0] in declared, f"{name_of(path)} imports {module}, which it does not depend on"


@files([path for path in PLUGINS if path.name == "__init__.py" and path.parent.name.startswith("auxlearn_")])
def test_the_top_of_a_plugin_imports_no_torch(path):
    found = {module.split(".")[0] for module in imports(parse(path), inside_functions=False, for_types=False)}
    assert not found & (HEAVY | {"timm", "kornia", "numpy"})


@files(FILES)
def test_no_file_is_long(path):
    lines = path.read_text().count("\n")
    assert lines <= LONGEST_FILE, f"{name_of(path)} has {lines} lines"


@files(FILES)
def test_no_function_is_long(path):
    for node in ast.walk(parse(path)):
        if isinstance(node, Function):
            first = node.body[0]
            docstring = first if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) else None
            length = node.end_lineno - node.lineno + 1
            length -= docstring.end_lineno - docstring.lineno + 1 if docstring else 0
            assert length <= LONGEST_FUNCTION, f"{name_of(path)}:{node.lineno} {node.name} has {length} lines"


@files(FILES)
def test_everything_is_annotated(path):
    for node in ast.walk(parse(path)):
        if not isinstance(node, Function):
            continue
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        bare = [a.arg for a in arguments if a and a.annotation is None and a.arg not in ("self", "cls")]
        assert not bare, f"{name_of(path)}:{node.lineno} {node.name} leaves {bare} without a type"
        assert node.returns, f"{name_of(path)}:{node.lineno} {node.name} has no return type"


@files([path for path in FILES if not any(part.startswith("_") for part in path.with_suffix("").parts[-1:])])
def test_public_modules_say_what_is_public(path):
    names = {
        target.id
        for node in parse(path).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert "__all__" in names, f"{name_of(path)} has no __all__"
