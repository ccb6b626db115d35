"""Reading a config file, and answering each mistake in it with the key, the value and the remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from geoseg.config import RunConfig
from geoseg.config.base import FilePath
from geoseg.errors import ConfigError
from geoseg.io import confine, legends
from geoseg.io.plain_yaml import Loader

_KIND = re.compile(r"literal\[.*|constrained-\w+|function-.*|int|float|str|bool")


def load(path: Path) -> RunConfig:
    """The checked config in a YAML file; ``ConfigError`` where it is missing or wrong."""
    confine.local(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)
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


def parse(content: Mapping[str, Any], base: Path, source: str) -> RunConfig:
    """Check a config's content.

    ``base`` is the folder that relative paths start from, ``source`` the file's name for messages.
    Raises ``ConfigError`` with one line per wrong key.
    """
    try:
        whole = _with_legend(content, base)
        return RunConfig.model_validate(whole, context={"base": base})
    except ValidationError as error:
        lines = [_line(problem) for problem in _merged(error)]
        raise ConfigError(f"{source}: " + "\n  ".join(lines)) from None


def _with_legend(content: Mapping[str, Any], base: Path) -> Mapping[str, Any]:
    """The content with the classes in place of the name of their file."""
    name = content.get("legend")
    if not isinstance(name, str):
        return content
    path = TypeAdapter(FilePath).validate_python(name, context={"base": base})
    return {**content, "legend": legends.read(path)}


def _merged(error: ValidationError) -> list[dict[str, Any]]:
    """The problems, one per key: a key that may be a number or a word fails once for each."""
    merged: dict[tuple[str | int, ...], dict[str, Any]] = {}
    for problem in error.errors():
        place = _without_kinds(problem["loc"])
        if place in merged:
            merged[place]["msg"] += f", or: {problem['msg']}"
        else:
            merged[place] = {**problem, "loc": place}
    return list(merged.values())


def _without_kinds(location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """A place without what pydantic adds to it: the kind of value it tried (``literal['auto']``)."""
    last = location[-1] if location else ""
    return location[:-1] if isinstance(last, str) and _KIND.fullmatch(last) else location


def _fields(section: type[BaseModel]) -> dict[str, Any]:
    """The fields of a section by the keys that a config names them with."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _line(problem: Mapping[str, Any]) -> str:
    """One problem as ``key: what, value, remedy``."""
    where = ".".join(str(part) for part in problem["loc"]) or "the file"
    if problem["type"] == "extra_forbidden":
        known = sorted(_keys_at(problem["loc"][:-1]))
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return f"{where}: unknown key; {hint}"
    if problem["type"] == "missing":
        return f"{where}: missing; the run needs it"
    text = str(problem["msg"]).removeprefix("Value error, ")
    value = problem.get("input")
    return f"{where}: {text}" + ("" if isinstance(value, dict) else f" (got {value!r})")


def _keys_at(location: tuple[str | int, ...]) -> Iterator[str]:
    """The keys that the section at ``location`` knows."""
    section: type[BaseModel] | None = RunConfig
    for part in location:
        if section and isinstance(part, str):
            section = _section_of(_fields(section)[part].annotation)
    if section:
        yield from _fields(section)


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """The section class inside a field's annotation (``X``, ``X | None`` or ``tuple[X, ...]``)."""
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
