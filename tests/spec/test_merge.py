import pytest
from hypothesis import given
from hypothesis import strategies as st

from auxlearn.spec.merge import merge

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "type"]), inner, max_size=3),
    max_leaves=8,
)

# The cases of appendix A of RFC 7396 in which null does not stand for a number or a text.
RFC = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": {"b": "c"}}, {"a": None}, {}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d"}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b"}, {"a": "b"}),
]


@pytest.mark.parametrize(("base", "patch", "result"), RFC)
def test_the_cases_of_the_standard(base, patch, result):
    assert merge(base, patch) == result


@pytest.mark.parametrize(
    ("base", "patch", "result"),
    [
        ({"ema": 0.9}, {"ema": None}, {"ema": None}),  # null is a value
        ({}, {"init_from": None}, {"init_from": None}),
        ({"a": {"type": "x", "p": 1}}, {"a": {"type": "y"}}, {"a": {"type": "y"}}),  # another component
        ({"a": {"type": "x", "p": 1}}, {"a": {"type": "x", "q": 2}}, {"a": {"type": "x", "p": 1, "q": 2}}),
        ({"a": {"type": "x", "p": 1}}, {"a": {"q": 2}}, {"a": {"type": "x", "p": 1, "q": 2}}),
        ({"a": {"p": 1}}, {"a": {"type": "y"}}, {"a": {"p": 1, "type": "y"}}),  # keys of the engine, whatever the type
    ],
)
def test_where_it_differs_from_the_standard(base, patch, result):
    assert merge(base, patch) == result


@given(VALUES, VALUES)
def test_arguments_are_left_alone_and_an_empty_patch_changes_no_object(base, patch):
    before = repr((base, patch))
    merge(base, patch)
    assert repr((base, patch)) == before
    assert merge(base, {}) == (base if isinstance(base, dict) else {})
