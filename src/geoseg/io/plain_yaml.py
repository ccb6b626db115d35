"""YAML 1.2 as configs and legends are written in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError, MaxDepthExceededError
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.representer import SafeRepresenter
from ruamel.yaml.resolver import VersionedResolver

from geoseg.errors import ConfigError

MOST = 50_000
"""Values in a file, aliases written out: a few nested ones can stand for more than fits in memory."""

DEEPEST = 100
"""Levels of a file: what reads and checks it calls itself once for each."""

_TAG = "tag:yaml.org,2002:"

_CORE = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("merge", r"<<", "<"),
)
"""What a bare word means, and the letters it begins with: the core schema of YAML 1.2, and ``<<``.
All else, dates too, is text."""

_WORDS = {
    letter: [
        (_TAG + tag, re.compile(rf"(?:{words})\Z")) for tag, words, some in _CORE if letter in some
    ]
    for letter in {letter for _, _, letters in _CORE for letter in letters}
}


def load(text: str, source: str | Path = "the text") -> Any:
    """What a YAML text holds: mappings, lists, text, numbers, booleans and None.

    ``source`` is the file's name for messages. A key that comes twice is a mistake and does not
    silently win over the first; aliases may not multiply without end; nothing is code. Raises
    ``ConfigError`` naming the line.
    """
    yaml = _yaml()
    try:
        return yaml.load(text.removeprefix("\ufeff"))
    except YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {_told(error, text)}") from None


def dump(content: Any) -> str:
    """As YAML that ``load`` reads back the same."""
    made = StringIO()
    _yaml().dump(content, made)
    return made.getvalue()


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver, yaml.Composer, yaml.Constructor = _Resolver, _Composer, _Constructor
    yaml.Representer = _Representer
    yaml.max_depth = DEEPEST
    yaml.default_flow_style = False
    yaml.width = 2**20  # no text is broken into lines
    return yaml


def _told(error: YAMLError, text: str) -> str:
    """What is wrong and where, in one line."""
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"the character #x{error.character:04x} has no place in it, line {line}"
    if not isinstance(error, MarkedYAMLError):
        return " ".join(str(error).split())
    deep = isinstance(error, MaxDepthExceededError)
    said = [error.context, f"more than {DEEPEST} levels" if deep else error.problem]
    mark = error.problem_mark or error.context_mark
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return " ".join(", ".join(part for part in said if part).split()) + where


class _Resolver(VersionedResolver):
    """Bare words by the core schema, for reading and for writing."""

    @property
    def versioned_resolver(self) -> Mapping[str, list[tuple[str, re.Pattern[str]]]]:
        """Tags and their words, by first letter."""
        return _WORDS

    @property
    def processing_version(self) -> tuple[int, int]:
        """Whose numbers are meant."""
        return (1, 2)


class _Composer(Composer):
    """One document, of YAML 1.2, of bounded size."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self.warn_double_anchors = False

    def get_single_node(self) -> Any:
        """The file's content; ``ComposerError`` where it is too much with its aliases written out."""
        root = super().get_single_node()
        if root is not None and _size(root, {}) > MOST:
            raise _wrong(root, f"more than {MOST} values with its aliases written out")
        return root

    def compose_document(self) -> Any:
        """A document that says no other version of YAML."""
        start = self.parser.peek_event()
        if start.version not in (None, (1, 2)):
            told = "%YAML {}.{} is not read, only 1.2; take the line out".format(*start.version)
            raise ComposerError(None, None, told, start.start_mark)
        return super().compose_document()


def _size(node: Node, known: dict[int, int]) -> int:
    """Values in a node; those of an alias count each time."""
    if id(node) not in known:
        known[id(node)] = 0
        parts = node.value if isinstance(node, CollectionNode) else ()
        flat = [part for pair in parts for part in (pair if isinstance(pair, tuple) else (pair,))]
        known[id(node)] = 1 + sum(_size(part, known) for part in flat)
    elif not known[id(node)]:
        raise _wrong(node, "an alias stands inside of what it stands for")
    return known[id(node)]


class _Constructor(SafeConstructor):
    """Plain values alone, and mappings whose keys are all different."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """A mapping; ``ConstructorError`` for a key that comes twice."""
        seen: set[Any] = set()
        for key, _ in node.value if isinstance(node, MappingNode) else ():
            if not isinstance(key, ScalarNode):
                raise _wrong(key, "a key is one word or number, not a list or a mapping")
            # The reader's own check sees nothing of a mapping that others are merged into.
            merges = key.tag == _TAG + "merge"
            name = key.tag if merges else self.construct_object(key)
            if name in seen:
                raise _wrong(key, f"the key {key.value!r} is there twice")
            seen.add(name)
        return super().construct_mapping(node, deep)


def _careful(kind: str) -> Callable[[_Constructor, Any], Any]:
    """A value of that kind; ``ConstructorError`` for text that a tag wrongly calls one."""
    plain = SafeConstructor.yaml_constructors[_TAG + kind]

    def construct(self: _Constructor, node: Any) -> Any:
        try:
            return plain(self, node)
        except (ValueError, LookupError):
            raise _wrong(node, f"{str(node.value)[:40]!r} is no {kind}") from None

    return construct


_Constructor.yaml_constructors = {
    None: SafeConstructor.construct_undefined,
    **{_TAG + kind: _careful(kind) for kind in ("null", "bool", "int", "float", "str")},
    **{_TAG + kind: SafeConstructor.yaml_constructors[_TAG + kind] for kind in ("seq", "map")},
}


class _Representer(SafeRepresenter):
    """Plain values alone, mappings in their order."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.sort_base_mapping_type_on_output = False

    def represent_str(self, data: str) -> Any:
        """Text; with breaks of lines in it, of which Unicode has several, they are escaped."""
        style = None if data.isprintable() else '"'
        return self.represent_scalar(_TAG + "str", data, style)


_Representer.add_representer(str, _Representer.represent_str)


def _wrong(node: Any, told: str) -> ConstructorError:
    return ConstructorError(None, None, told, node.start_mark)
