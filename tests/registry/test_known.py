from importlib.metadata import entry_points

import attrs
import pytest

from auxlearn.registry import KINDS, discover
from auxlearn.registry.known import KNOWN, RESERVED
from auxlearn.spec.extraction import ExtractKeys
from auxlearn.spec.sections import COMPONENTS

# Every plugin of this repository that is installed here.
FIRST_PARTY = sorted({e.dist.name for e in entry_points(group="auxlearn") if e.dist and e.dist.name in KNOWN.values()})


def test_reserved_keys_are_those_of_the_models():
    # A backbone stands in `backbone` and, to be run as it is, in `extract`.
    also = {"backbone": {field.name for field in attrs.fields(ExtractKeys)}}
    for section in COMPONENTS:
        keys = {field.name for one in (section, *section.inside) for field in attrs.fields(one.keys)}
        keys |= also.get(section.kind, set())
        assert RESERVED[section.kind] == {"type", *keys, *(inner.name for inner in section.inside)}
    assert RESERVED.keys() == KINDS.keys()


@pytest.mark.parametrize("distribution", FIRST_PARTY)
def test_the_table_of_pip_names_is_right(distribution):
    registry = discover()
    offered = {(found.kind, found.provider.name) for found in registry.found if found.distribution == distribution}
    assert offered, [str(broken) for broken in registry.broken]
    assert offered == {offer for offer, pip_name in KNOWN.items() if pip_name == distribution}
