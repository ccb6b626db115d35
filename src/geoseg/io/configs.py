"""Reading a config file, and answering each mistake in it with the key, the value and the remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from geoseg.config import ClassEntry, RunConfig, make_legend
from geoseg.config.base import FilePath, Section
from geoseg.config.service import GatesConfig, ServiceConfig
from geoseg.errors import ConfigError
from geoseg.io import legends, plain_yaml
from geoseg.io.access import confine

_KIND = re.compile(r"literal\[.*|constrained-\w+|function-.*|int|float|str|bool")

RENAMED = {
    "cluster.lanes": "concurrency",
    "split.held_back": "test",
    "split.block": "tile",
}
"""Keys that were called something else in versions before the first release."""


KINDS: Mapping[type[Section], str] = {
    RunConfig: "a run config", ServiceConfig: "a service file", GatesConfig: "a file of gates",
}  # fmt: skip
"""The kinds of files, in words."""

EXAMPLES: Mapping[type[Section], str] = {
    RunConfig: ", with imagery and the like, such as configs/demo.yaml",
    ServiceConfig: ", with work, publish and areas, such as configs/service.yaml",
    GatesConfig: ", with completeness, mapped, seam, agreement or control",
}


class _LegendFile(Section):
    legend: tuple[ClassEntry, ...]


def load(path: Path) -> RunConfig:
    """The checked config in a YAML file; ``ConfigError`` where it is missing or wrong."""
    return parse(mapping(path), path.resolve().parent, str(path))


def load_service(path: Path) -> ServiceConfig:
    """The checked service file; ``ConfigError`` where it is missing or wrong."""
    return _checked(ServiceConfig, mapping(path), path.resolve().parent, str(path))


def load_gates(path: Path) -> GatesConfig:
    """The checked gates in a YAML file of their own; ``ConfigError`` where it is missing or wrong."""
    return _checked(GatesConfig, mapping(path), path.resolve().parent, str(path))


def mapping(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; ``ConfigError`` where there is none."""
    confine.local(path)
    try:
        content = plain_yaml.load(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{path}, line {line}: not a text file in UTF-8; a config is YAML, saved as UTF-8"
        ) from None
    except OSError as error:
        kind = "is a folder, not a config file" if path.is_dir() else f"cannot be read: {error}"
        raise ConfigError(f"{path} {kind}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a config is a mapping of keys, not {type(content).__name__}")
    return content


def parse(content: Mapping[str, Any], base: Path, source: str) -> RunConfig:
    """Check a config's content.

    ``base`` is the folder that relative paths start from, ``source`` the file's name for messages.
    Raises ``ConfigError`` with one line per wrong key.
    """
    return _checked(RunConfig, _with_legend(content, base), base, source)


def _checked[Kind: Section](
    kind: type[Kind], content: Mapping[str, Any], base: Path, source: str
) -> Kind:
    try:
        return kind.model_validate(content, context={"base": base})
    except ValidationError as error:
        _require_kind(kind, content, source)
        lines = [_line(problem, kind) for problem in _merged(error)]
        raise ConfigError(f"{source}: " + "\n  ".join(lines)) from None


def _require_kind(kind: type[Section], content: Mapping[str, Any], source: str) -> None:
    """Raise ``ConfigError`` for a file that is another kind of file: a key at a time would mislead."""
    known = {each: len(content.keys() & _fields(each).keys()) for each in KINDS}
    meant = max(known, key=lambda each: known[each])
    if kind in known and known[meant] > known[kind]:
        shown = ", ".join(sorted(content.keys() & _fields(meant).keys())[:3])
        raise ConfigError(
            f"{source} is {KINDS[meant]} (it has {shown}), and {KINDS[kind]} is wanted here; "
            f"name one{EXAMPLES[kind]}"
        )


def _with_legend(content: Mapping[str, Any], base: Path) -> Mapping[str, Any]:
    """The content with the classes in place of the name of their file."""
    name = content.get("legend")
    if not isinstance(name, str):
        return content
    path = TypeAdapter(FilePath).validate_python(name, context={"base": base})
    return {**content, "legend": _classes(path)}


def _classes(path: Path) -> tuple[ClassEntry, ...]:
    """The classes in a legend file; a ``ConfigError`` about them names it."""
    found = _checked(_LegendFile, {"legend": legends.read(path)}, path.parent, str(path)).legend
    try:
        make_legend(found)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return found


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


def _line(problem: Mapping[str, Any], kind: type[Section]) -> str:
    """One problem as ``key: what, value, remedy``."""
    where = ".".join(str(part) for part in problem["loc"]) or "the file"
    if problem["type"] == "extra_forbidden":
        known = sorted(_keys_at(problem["loc"][:-1], kind))
        if renamed := RENAMED.get(where):
            return f"{where}: unknown key; it is called {renamed!r} now"
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return f"{where}: unknown key; {hint}"
    if problem["type"] == "missing":
        return f"{where}: missing; the run needs it"
    text = str(problem["msg"]).removeprefix("Value error, ")
    value = problem.get("input")
    if problem["type"] == "string_type" and isinstance(value, int | float):
        text += "; what looks like a number, true or false is text in quotes"
    return f"{where}: {text}" + ("" if isinstance(value, dict) else f" (got {value!r})")


def _keys_at(location: tuple[str | int, ...], kind: type[Section]) -> Iterator[str]:
    """The keys that the section at ``location`` of a config of that kind knows."""
    section: type[BaseModel] | None = kind
    for part in location:
        # What is no field is a name that the file gives, in a mapping of sections.
        if section and part in _fields(section):
            section = _section_of(_fields(section)[part].annotation)
    if section:
        yield from _fields(section)


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """The section class inside a field's annotation (``X``, ``X | None``, ``tuple[X, ...]``,
    ``dict[str, X]``)."""
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
