"""YAML 1.2: what a word in a config means, what is refused, and that what is written reads back."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import ConfigError
from geoseg.io import configs, legends
from geoseg.io.plain_yaml import DEEPEST, dump, load

RUN = "name: x\nimagery: {folder: i}\nmodel: {bundle: m}\n"

WORDS = {
    **dict.fromkeys(["010", "+10", "10", "0xA"], 10),
    **dict.fromkeys(["1e3", "1000.", "1.0E+3", "+1e3"], 1000.0),
    **dict.fromkeys(["1e-3", ".001", "0.001"], 0.001),
    **{"0o10": 8, "0x1F": 31, "-0": 0, ".inf": float("inf"), "-.INF": float("-inf")},
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
    **dict.fromkeys(["~", "null", "Null", "NULL", ""], None),
}
"""By the core schema of YAML 1.2 (section 10.3 of its specification)."""

TEXTS = [
    *("yes", "Yes", "no", "NO", "on", "off", "y", "n", "12:30", "12:30:00", "1:2.5", "1_000"),
    *("2025-04-10", "2025-02-30", "2025-04-10T10:00:00Z", "0b11", "0o8", "-0x1", "1e", "=", "nan"),
]


@pytest.mark.parametrize(("word", "value"), WORDS.items())
def test_words_that_are_no_text(word: str, value: object) -> None:
    found = load(f"key: {word}")["key"]
    assert (found, type(found)) == (value, type(value))
    assert load(f"key: '{word}'")["key"] == word, "in quotes"


@pytest.mark.parametrize("word", TEXTS)
def test_words_that_are_text(word: str) -> None:
    assert load(f"{word}: {word}") == {word: word}


def test_codes_and_names_of_a_legend(tmp_path: Path) -> None:
    path = tmp_path / "legend.yaml"
    path.write_text("- {code: 010, name: no}\n- {code: 08, name: 12:30:00}\n")
    classes = configs.parse({**load(RUN), "legend": legends.read(path)}, tmp_path, "x.yaml").legend
    assert classes is not None
    assert [(c.code, c.name) for c in classes] == [(10, "no"), (8, "12:30:00")]


@pytest.mark.parametrize(("word", "value"), [("yes", True), ("on", True), ("NO", False)])
def test_yes_and_no_for_a_switch(word: str, value: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"{RUN}predict: {{flips: {word}}}\n")
    assert configs.load(path).predict.flips is value
    path.write_text(f"{RUN}predict: {{flips: perhaps}}\n")
    with pytest.raises(ConfigError, match=r"predict\.flips: .*boolean.*'perhaps'"):
        configs.load(path)


@pytest.mark.parametrize("word", ["010", "1e3", "true"])
def test_a_number_where_text_is_wanted(word: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"{RUN}title: {word}\n")
    with pytest.raises(ConfigError, match=r"title: .*text in quotes"):
        configs.load(path)


def nested(levels: int) -> str:
    return "key: " + "[" * (levels - 1) + "]" * (levels - 1)


WRONG = {
    "twice": ("a: 1\nb: 2\na: 3", "the key 'a' is there twice", 3),
    "twice by value": ("1: a\n0x1: b", "the key '0x1' is there twice", 2),
    "twice beside a merge": ("x: &x {b: 1}\na:\n  <<: *x\n  c: 1\n  c: 2", "'c' is there twice", 5),
    "tag of code": ("a: 1\nb: !!python/object/apply:os.system [x]", "python/object", 2),
    "tag of an application": ("a: 1\nb: !mine x", "'!mine'", 2),
    "tag of a date": ("a: !!timestamp 2025-01-01", "timestamp", 1),
    "tag that lies": ("a: 1\nb: !!int x", "'x' is no int", 2),
    "tag of nothing": ("a: !!float ''", "'' is no float", 1),
    "tag of a truth": ("a: !!bool perhaps", "'perhaps' is no bool", 1),
    "digits": ("a: 1\nb: " + 5000 * "9", "is no int", 2),
    "too deep": ("a: 1\n" + nested(DEEPEST + 1), "more than 100 levels", 2),
    "far too deep": (100_000 * "[", "more than 100 levels", 1),
    "far too deep in lines": (5000 * "- " + "x", "more than 100 levels", 1),
    "bomb": (
        "a: &a [x, x]\n"
        + "\n".join(f"{b}: &{b} [{9 * f'*{a}, '}]" for a, b in pairwise("abcdefg")),
        "more than 50000 values", 1,
    ),
    "inside itself": ("a: 1\nb: &b [1, *b]", "inside of what it stands for", 2),
    "no anchor": ("a: *b", "undefined alias 'b'", 1),
    "documents": ("a: 1\n---\nb: 2", "another document", 2),
    "version": ("%YAML 1.1\n---\na: no", "%YAML 1.1 is not read", 2),
    "tab": ("a:\n\tb: 1", "'\\t' that cannot start", 2),
    "nul": ("a: 1\nb: \0", "the character #x0000", 2),
    "bell": ("a: 1\n\nb: \a", "the character #x0007", 3),
    "key": ("? [a, b]\n: c", "a key is one word", 1),
    "open": ("a: 1\nb: {c: 1", "expected ',' or '}'", 2),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.filterwarnings("error")
def test_what_is_refused_names_file_and_line(name: str, tmp_path: Path) -> None:
    text, told, line = WRONG[name]
    path = tmp_path / "wrong.yaml"
    path.write_bytes(text.encode())
    for read in (configs.load, configs.load_service, configs.load_gates, legends.read):
        with pytest.raises(ConfigError) as caught:
            read(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: not valid YAML: ")
        assert told in message
        assert f", line {line}" in message
        assert "\n" not in message


def test_as_deep_as_may_be() -> None:
    assert load(nested(DEEPEST))["key"]


def test_a_config_in_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + RUN.replace("\n", "\r\n").encode())
    assert configs.load(path).name == "x"
    path.write_bytes(RUN.encode() + "title: Äcker".encode("latin-1"))
    with pytest.raises(ConfigError, match=rf"{path}, line 4: not a text file in UTF-8"):
        configs.load(path)


def test_merged_mappings_and_anchors_that_come_again() -> None:
    merged = load("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\ne: &x [4]\nf: *x")
    assert merged["d"] == {"b": 1, "c": 3}
    assert merged["f"] == [4]


odd = st.sampled_from(
    [*WORDS, *TEXTS, "<<", "-", "- a", "a: b", "# x", " x", "x ", "\n", "a\nb", "\ta", "x\r\ny", "\x85",
     "\u2028", "\ufeff", "!x", "&x", "*x", "%x", "@", "`", "? a", "a #b", "'", '"', "{", "---", "..."]
)  # fmt: skip
text = odd | st.text(st.characters(exclude_categories=["Cs"]))
scalars = text | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none()
trees = st.recursive(
    scalars, lambda t: st.lists(t, max_size=4) | st.dictionaries(text, t, max_size=4), max_leaves=12
)


@settings(max_examples=400, deadline=None)
@given(trees)
def test_what_is_written_reads_back_the_same(content: Any) -> None:
    again = load(dump(content))
    assert again == content
    assert repr(again) == repr(content), "of the same kinds, in the same order"


def test_names_stay_readable() -> None:
    assert dump({"title": "Äcker", "no": "010"}) == "title: Äcker\nno: '010'\n"
