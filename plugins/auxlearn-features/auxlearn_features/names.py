"""Names that are known ahead of any array."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from auxlearn.errors import Problem, escape
from auxlearn_features.params import SynthFeaturesParams

__all__ = ["RESERVED", "SYNTHETIC_TARGETS", "pointers", "synthetic_classes", "synthetic_splits", "wrong_names"]

SYNTHETIC_TARGETS = ("label", "tags", "level")
"""The targets of `synthfeatures`: a class, several labels at once, a number."""

_NAME = re.compile(r"[A-Za-z]\w*")

_ATTRIBUTES = """
T_destination add_module apply bfloat16 buffers call_super_init children clear compile cpu cuda double dump_patches eval
extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu items keys load_state_dict
modules mtia named_buffers named_children named_modules named_parameters parameters pop register_backward_hook
register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook
register_full_backward_pre_hook register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
set_submodule share_memory state_dict to to_empty train training type update values xpu zero_grad
"""

RESERVED = frozenset(_ATTRIBUTES.split())
"""The public attributes of `torch.nn.ModuleDict`: what networks keep for a modality cannot be called like one."""


def synthetic_classes(count: int) -> tuple[str, ...]:
    """Return the names of so many made-up classes.

    >>> synthetic_classes(3)
    ('class_0', 'class_1', 'class_2')
    """
    return tuple(f"class_{number}" for number in range(count))


def synthetic_splits(params: SynthFeaturesParams) -> tuple[str, ...]:
    """Return the splits that have rows."""
    return tuple(split for split in ("train", "val", "test") if getattr(params, split))


def pointers(where: str, given: Mapping[str, object] | Sequence[str]) -> list[tuple[str, str]]:
    """Return the names that stand at `where`, as the keys of an object or in a list, each with the pointer to it.

    >>> pointers("/inputs", ["a"]), pointers("/inputs", {"a/b": 1})
    ([('a', '/inputs/0')], [('a/b', '/inputs/a~1b')])
    """
    steps = list(given) if isinstance(given, Mapping) else [str(index) for index in range(len(given))]
    return [
        (name, f"{where}/{escape(step).replace('~', '~0').replace('/', '~1')}")
        for name, step in zip(given, steps, strict=True)
    ]


def wrong_names(
    where: str, modalities: Mapping[str, object] | Sequence[str], targets: Iterable[str]
) -> Iterator[Problem]:
    """Yield the names of modalities that cannot be names of a network's parts, are targets' too, or come twice."""
    taken, seen = set(targets), set[str]()
    for name, pointer in pointers(where, modalities):
        if not _NAME.fullmatch(name):
            what = f'"{escape(name)}" cannot be the name of a modality'
            yield Problem(where=pointer, what=what, allowed="letters, digits and _, a letter first")
        elif name in RESERVED:
            what = f'"{name}" cannot be the name of a modality: networks have an attribute so called'
            yield Problem(where=pointer, what=what, fix=f'e.g. "{name.strip("_")}_features"')
        elif name in taken:
            yield Problem(where=pointer, what=f'a target is called "{name}" too', fix="rename one of them")
        elif name in seen:
            yield Problem(where=pointer, what=f'"{name}" is named twice', fix="name each once")
        seen.add(name)
