"""Reading a config file."""

from __future__ import annotations

from pathlib import Path

import yaml

from geoseg.config import RunConfig, parse
from geoseg.errors import ConfigError


def load(path: Path) -> RunConfig:
    """The checked config in a YAML file; ``ConfigError`` where it is missing or wrong."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder, not a config file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a text file; a config is YAML") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a config is a mapping of keys, not {type(content).__name__}")
    return parse(content, path.resolve().parent, str(path))
