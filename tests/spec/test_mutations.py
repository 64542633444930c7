import copy
import json
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from auxlearn.errors import AuxlearnError, SpecError
from auxlearn.spec import load_spec
from auxlearn.spec.frame import spec_schema

VALUES = (
    *(None, True, False, 0, 1, -1, 2, 1.0, 0.5, -0.5, 1e-9, 10**18, 10**30, float("nan"), float("inf"), ""),
    *("7", "0.1", "own", "shared", "adamw", "puzzle", "fakes:puzzle", "a:b:c", ":", "\x1b[31m", "\ud800", "é" * 300),
    *([], [1], ["emotion"], [None], {}, {"type": "puzzle"}, {"start": 1}, {"a": {"b": {"c": [{}]}}}, "emotion"),
)


def refusal(document, registry):
    """Return the error with which `document` is refused, and the spec if it is not."""
    try:
        return None, load_spec(document, registry=registry)
    except AuxlearnError as error:
        return error, None


def places(value, path=()):
    """Yield the path of every value inside."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in children:
        yield (*path, step)
        yield from places(child, (*path, step))


def at(document, path):
    for step in path:
        document = document[step]
    return document


def misspell(rng, word):
    letter, place = rng.choice(string.ascii_lowercase), rng.randrange(len(word) + 1)
    edits = (
        word[:place] + letter + word[place:],
        word[:place] + word[place + 1 :],
        word[:place] + letter + word[place + 1 :],
        word[: max(0, place - 1)] + word[place : place + 1] + word[max(0, place - 1) : place] + word[place + 1 :],
    )
    return rng.choice(edits)


def mutate(rng, document):
    """Change one thing of `document`, in place."""
    path = rng.choice(list(places(document)))
    parent, step = at(document, path[:-1]), path[-1]
    kind = rng.choice(["replace", "replace", "delete", "rename", "copy", "add", "wrap"])
    if kind == "delete":
        del parent[step]
    elif kind == "rename" and isinstance(parent, dict):
        parent[misspell(rng, step)] = parent.pop(step)
    elif kind == "copy":
        parent[step] = copy.deepcopy(at(document, rng.choice(list(places(document)))))
    elif kind == "add" and isinstance(parent[step], dict):
        parent[step][rng.choice(["", "type", "weight", "nothing", "a/b", "\x07"])] = rng.choice(VALUES)
    elif kind == "wrap":
        parent[step] = rng.choice(([parent[step]], {"type": parent[step]}, {step: parent[step]}))
    else:
        parent[step] = copy.deepcopy(rng.choice(VALUES))


@pytest.fixture(scope="session")
def editor(registry):
    """The schema that editors get, in a validator without any of our own keywords."""
    schema = spec_schema(registry)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.slow
def test_two_thousand_mutated_specs(spec, registry, editor):
    rng = random.Random(7)
    loaded = 0
    for _ in range(2000):
        document = copy.deepcopy(spec)
        for _ in range(rng.randint(1, 4)):
            if document:
                mutate(rng, document)
        error, result = refusal(document, registry)
        if error:
            assert error.problems
            assert all(str(problem).isprintable() for problem in error.problems)
            assert all(problem.where == "" or problem.where.startswith("/") for problem in error.problems)
        else:
            loaded += 1
            assert load_spec(result.resolved, registry=registry).resolved == result.resolved
            assert editor.is_valid(document)
            assert editor.is_valid(result.resolved)
    assert 50 < loaded < 1500


def test_two_thousand_mutated_files(spec, registry):
    rng = random.Random(8)
    text = json.dumps(spec, indent=1).encode()
    for _ in range(2000):
        content = bytearray(text)
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(content))
            content[place : place + rng.randint(0, 3)] = rng.choice(
                [bytes([rng.randrange(256)]), b"", b'"', b"{", b"}", b",", b"1e999", b"NaN", b"\\ud800", b"9" * 30]
            )
        error, _ = refusal(bytes(content), registry)
        assert str(error).replace("\n", "").isprintable()


def objects(document):
    return [path for path in [(), *places(document)] if isinstance(at(document, path), dict)]


def keys(document, free=("primary", "pretext", "lr_scale", "widths")):
    """Return the path of every key whose name is not the author's choice."""
    return [(*p, key) for p in objects(document) if not p or p[-1] not in free for key in at(document, p)]


@given(data=st.data())
def test_a_renamed_key_is_reported_at_its_place(data, original, registry):
    document = copy.deepcopy(original)
    path = data.draw(st.sampled_from(keys(document)))
    name = data.draw(st.text(min_size=1, max_size=30).filter(lambda text: not text.isidentifier()))
    parent = at(document, path[:-1])
    parent[name] = parent.pop(path[-1])
    with pytest.raises(SpecError) as caught:
        load_spec(document, registry=registry)
    reported = [problem for problem in caught.value.problems if problem.what.startswith("unknown key")]
    assert len(reported) == 1 or path[-1] == "type"
    for problem in reported:
        assert problem.where.startswith("".join(f"/{step}" for step in path[:-1]) + "/")


def test_the_nearest_name_is_the_right_one(spec, registry):
    rng = random.Random(9)
    tried = right = 0
    for path in keys(spec) * 10:
        document = copy.deepcopy(spec)
        parent = at(document, path[:-1])
        name = misspell(rng, path[-1])
        if name in parent or path[-1] == "type":
            continue
        parent[name] = parent.pop(path[-1])
        error, _ = refusal(document, registry)
        meant = [problem.meant for problem in error.problems if problem.what.startswith("unknown key")]
        tried += 1
        right += meant == [path[-1]]
    assert tried > 400
    assert right / tried >= 0.95
