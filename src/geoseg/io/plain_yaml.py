"""YAML as configs and legends are written in it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

MOST = 50_000
"""Values in a file, aliases written out: a few nested ones can stand for more than fits in memory."""

_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class Loader(yaml.SafeLoader):
    """Plain YAML, with three habits of it mended.

    A date stays text, so that an impossible one is reported with its key; a key that comes twice
    is a mistake and does not silently win over the first; aliases may not multiply without end.
    Nothing in it is code: tags of Python objects are mistakes, as in every safe loader.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, expression) for tag, expression in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def get_single_node(self) -> yaml.Node | None:
        """The file's content; YAMLError where it is too much with its aliases written out."""
        root = super().get_single_node()
        if root is not None and _size(root, {}) > MOST:
            raise yaml.constructor.ConstructorError(
                None, None, f"more than {MOST} values with its aliases written out", root.start_mark
            )
        return root

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping whose keys are all different."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Values in a node; those of an alias count each time."""
    if id(node) not in known:
        known[id(node)] = 1  # should it come again inside itself: the key that does is told
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        flat = [part for pair in parts for part in (pair if isinstance(pair, tuple) else (pair,))]
        known[id(node)] = 1 + sum(_size(part, known) for part in flat)
    return known[id(node)]
