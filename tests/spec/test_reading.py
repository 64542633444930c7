import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from auxlearn.errors import SpecError
from auxlearn.spec.reading import MAX_BYTES, read


def refused(content, tmp_path):
    (tmp_path / "spec.json").write_bytes(content)
    with contextlib.chdir(tmp_path), pytest.raises(SpecError) as caught:  # a long path would be cut in messages
        read("spec.json")
    (problem,) = caught.value.problems
    return problem.where.removeprefix("spec.json"), str(problem).removeprefix("spec.json")


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        (b"", ":1:1", "it is empty"),
        (b"  \n ", ":2:2", "it is empty"),
        (b'{"a": 1', ":1:8", "it ends too early"),
        (b'{"a": "b', ":1:7", "unterminated string"),
        (b'{"a": 1,\n}', ":2:1", "comma before the closing bracket"),
        (b'{\n "a": [1, 2,]}', ":2:13", "comma before the closing bracket"),
        (b'{\n // no\n "a": 1}', ":2:2", "no comments"),
        (b'{\n "a": 1 /* no */}', ":2:9", "no comments"),
        (b"{'a': 1}", ":1:2", "double quotes"),
        (b'{"a": 1} {"b": 2}', ":1:10", "extra data"),
        (b'{"a": 01}', ":1:8", "is not JSON"),
        (b'{"a": .5}', ":1:7", "is not JSON"),
        (b'{"a": "\x01"}', ":1:8", "invalid control character"),
        (b'\xef\xbb\xbf{"a": 1}', "", "UTF-8 with a byte order mark"),
        ('{"a": 1}'.encode("utf-16"), "", "UTF-16 or UTF-32"),
        ('{"a": 1}'.encode("utf-16-le"), "", "UTF-16 or UTF-32"),
        ('{"a": 1}'.encode("utf-32-be"), "", "UTF-16 or UTF-32"),
        (b'{\n"\xc3\xa4": "\xff"}', ":2:7", "byte 0xff is not UTF-8"),
        (b"[" * 100_000, "", "nested too deeply"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "/a/a/a/a/...", "nested too deeply"),
        (b"[1]", "", "no spec"),
        (b"null", "", "no spec"),
        (b'"' + b"x" * MAX_BYTES + b'"', "", "has 1,000,002 bytes"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(tmp_path, content, place, reason):
    where, message = refused(content, tmp_path)
    assert where == place or place == ""
    assert reason in message


def problems(text):
    return {problem.where: str(problem) for _, problem in read(text.encode("utf-8", "surrogatepass")).problems}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_are_not_finite(number):
    found = problems(f'{{"a": [0, {{"b": {number}}}]}}')
    assert found == {"/a/1/b": f"/a/1/b: {number} is no number of JSON; allowed: a finite number"}


@pytest.mark.parametrize("number", [str(2**63), "-" + "9" * 30, "1" * 5000])
def test_integers_that_are_too_large(number):
    assert "is too large" in problems(f'{{"a": {number}}}')["/a"]


def test_the_largest_integer():
    assert read(b'{"a": 9223372036854775807}').value == {"a": 2**63 - 1}


def test_a_key_that_stands_twice_is_told_with_both_values():
    found = problems('{"a": {"b": 1, "c": 0, "b": [2], "~/": NaN, "~/": 3}}')
    assert found["/a/b"] == "/a/b: the key stands 2 times, with 1 and [2]; fix: keep one of them"
    assert "with NaN is no number of JSON and 3" in found["/a/~0~1"]


def test_half_of_a_surrogate_pair_as_value_or_key():
    assert set(problems(r'{"a": "\ud800", "\udfff": 1, "c": "\ud83d\ude00"}')) == {"/a", "/\\udfff"}


def test_a_mapping_is_taken_as_it_would_be_written():
    value = read({"a": (1, 2), "b": Path("x/y"), "c": {"d": None}}).value
    assert value == {"a": [1, 2], "b": "x/y", "c": {"d": None}}


@pytest.mark.parametrize("value", [{1}, b"x", object(), 1j, float("nan"), float("inf"), 2**70])
def test_a_mapping_with_what_is_no_json(value):
    ((path, problem),) = read({"a": {"b": value}}).problems
    assert path == ("a", "b")
    assert problem.where == "/a/b"


def test_a_mapping_with_keys_that_are_no_strings():
    ((_, problem),) = read({"a": {1: 2}}).problems
    assert problem.where == "/a"


def test_a_mapping_that_holds_itself():
    document = {}
    document["a"] = document
    with pytest.raises(SpecError, match="nested too deeply"):
        read(document)


@pytest.mark.parametrize("source", [None, 3, ["a"], object()])
def test_another_source_is_a_mistake_of_the_program(source):
    with pytest.raises(TypeError, match="`source` should be a path, bytes or a mapping"):
        read(source)


def test_places_that_are_no_file(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    (tmp_path / "there.json").write_text("{}")
    for path, reason in (
        (tmp_path, "is a folder"),
        (fifo, "is no regular file"),
        ("/dev/zero", "is no regular file"),
        ("-", "no such file"),
        ("a\0b", "cannot be read"),
        ("x" * 5000, "cannot be read"),
        ('{"auxlearn": 1}', "pass JSON as bytes"),
        (tmp_path / "not_there.json", "JSON files in this folder: there.json"),
    ):
        with pytest.raises(SpecError, match=reason):
            read(path)


BOMBS = {
    "depth": lambda: "[" * 900_000,
    "objects": lambda: '{"a":' * 190_000,
    "items": lambda: '{"a": [' + "0," * 490_000 + "0]}",
    "keys": lambda: "{" + ",".join(f'"k{number}":0' for number in range(80_000)) + "}",
    "integer": lambda: '{"seed": ' + "7" * 900_000 + "}",
    "string": lambda: '{"name": "' + "a" * 900_000 + '"}',
    "key": lambda: '{"' + "a" * 900_000 + '": 1}',
    "file": lambda: " " * 100_000_000,
}

PROGRAM = """
import resource, sys, time
from auxlearn.errors import AuxlearnError
from auxlearn.spec import load_spec
import jsonschema, jsonschema.validators, difflib  # what a first error message would import
soft = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + 200_000_000
resource.setrlimit(resource.RLIMIT_AS, (soft, soft))
before = time.process_time()
try:
    load_spec(sys.argv[1])
except AuxlearnError as error:
    print(error.exit_code, len(str(error)), time.process_time() - before)
"""


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_in_little_memory(tmp_path, bomb):
    path = tmp_path / "bomb.json"
    path.write_text(BOMBS[bomb]())
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "AUXLEARN_PLUGINS": ""},
    )
    assert done.returncode == 0, done.stderr
    code, length, _ = done.stdout.split()
    assert code == "2"
    assert int(length) < 20_000
