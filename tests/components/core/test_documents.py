"""YAML of anyone is read within bounds, or refused in one message; nothing else ever happens."""

from __future__ import annotations

import os
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.documents import DEEPEST, LARGEST, MOST, parse_yaml, read_yaml
from components.core.errors import ConfigError
from components.profile import load_profile

LETTERS = "abcdefghi"
LAUGHS = f"a: &a [{', '.join('1' * 10)}]\n" + "\n".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]" for before, name in pairwise(LETTERS)
)
BAD = {
    "digits": "seed: " + "9" * 6000,
    "brackets": "seed: " + "[" * 100_000,
    "mappings": "seed: " + "{a: " * 5000,
    "indents": "\n".join(" " * i + "a:" for i in range(3000)),
    "aliases": LAUGHS,
    "within itself": "a: &a [*a]",
    "values": "a: [" + "1," * (MOST + 1) + "]",
    "length": "a: " + "x" * LARGEST,
    "date": "a: 2020-99-99",
    "truth": "a: !!bool maybe",
    "number": "a: !!int many",
    "python": "a: !!python/object/apply:os.getcwd []",
    "tag": "a: !<x:y> 1",
    "two documents": "a: 1\n---\nb: 2",
    "key named twice": "a: 1\na: 2",
    "NUL": "a: \0",
    "merge": "a:\n  <<: 3",
    "half a character": 'a: ["x", "y\\ud800"]',
    "half a character in a key": '"y\\udfff": 1',
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_a_bad_document_is_one_message_at_once(text, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    begin = time.process_time()
    with pytest.raises(ConfigError, match=r"bad\.yaml") as raised:
        read_yaml(path)
    assert time.process_time() - begin < 10  # seconds; unbounded ones never end
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: [1, {b: c}]", {"a": [1, {"b": "c"}]}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("base: &b {lr: 1}\nmine: {<<: *b, n: 2}", {"base": {"lr": 1}, "mine": {"lr": 1, "n": 2}}),
        ("a: " + "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1), None),
        ("", None),
    ],
)
def test_what_people_write_is_read(text, value):
    assert value is None or parse_yaml(text) == value


@given(st.text(alphabet=st.sampled_from("ab01.:-?[]{}&*!|>%@\"'#, \n\t<=~\\x\x1b"), max_size=60))
def test_any_text_is_a_value_or_one_message(text):
    try:
        parse_yaml(text)
    except ConfigError as error:
        assert str(error)


@pytest.mark.parametrize(
    "text",
    [*BAD.values(), "seed: 0x" + "f" * 6000, "- a", "prepare: 3", "description: [a"],
)
def test_a_bad_profile_is_an_error_that_lists_of_profiles_can_show(text, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_profile(path)


@pytest.mark.parametrize("name", ["a b", "$(touch x)", "A", "-a", "a\nb", "x" * 64])
def test_a_file_whose_name_is_no_profiles_name_is_refused(name, tmp_path):
    path = tmp_path / f"{name}.yaml"
    path.write_text("models: {kind: tiny}")
    with pytest.raises(ConfigError, match="name"):
        load_profile(path)


@pytest.mark.parametrize("expression", ["(" * 100_000, "a{99999999999999999999}", "[a", "(?P<x>a"])
def test_an_expression_that_does_not_compile_is_one_message(expression, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "prepare: {sources: [{name: x, path: x.csv, licence: MIT, drop: '" + expression + "'}]}\n"
        "models: {kind: tiny}\nregistration: {name: x}\n"
    )
    with pytest.raises(ConfigError, match="does not compile") as raised:
        load_profile(path)
    assert len(str(raised.value)) < 1000


def test_a_folder_or_a_pipe_in_place_of_a_file_is_one_message(tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    for name in ("folder.yaml", "pipe.yaml", "none.yaml"):
        with pytest.raises(ConfigError, match=name):
            read_yaml(tmp_path / name)
