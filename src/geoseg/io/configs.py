"""Reading a config file."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from geoseg.config import RunConfig, parse
from geoseg.errors import ConfigError

_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """Plain YAML, with two habits of it mended.

    A date stays text, so that an impossible one is reported with its key; a key that comes twice
    is a mistake and does not silently win over the first.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, expression) for tag, expression in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def load(path: Path) -> RunConfig:
    """The checked config in a YAML file; ``ConfigError`` where it is missing or wrong."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a text file; a config is YAML") from None
    except yaml.YAMLError as error:
        text = " ".join(str(error).replace('in "<unicode string>", ', "").split())
        raise ConfigError(f"{path}: not valid YAML: {text}") from None
    except OSError as error:
        kind = "is a folder, not a config file" if path.is_dir() else f"cannot be read: {error}"
        raise ConfigError(f"{path} {kind}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a config is a mapping of keys, not {type(content).__name__}")
    return parse(content, path.resolve().parent, str(path))
