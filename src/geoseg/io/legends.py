"""A legend in a file of its own: YAML, CSV, a QGIS style (QML), or a QGIS palette (CLR, TXT).

Every reader gives the same list of code, name and colour that ``legend`` holds in a config; checking
it is the config's. Mistakes name the file and the line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from geoseg.errors import ConfigError
from geoseg.io import plain_yaml
from geoseg.io.access import confine

Entry = dict[str, Any]
"""One class: ``code``, ``name`` and, where the file has it, ``color`` (``#rrggbb``)."""

LARGEST = 2**20
"""Bytes of the largest file that is read: a legend has 255 classes at most."""

_COLUMNS = {
    "code": ("code", "value"),
    "name": ("name", "label", "class"),
    "color": ("color", "colour"),
}
"""Headings of a CSV file, each with the names it goes by."""

_COMMAS = re.compile(r"(\d+)" + 4 * r"\s*,\s*(\d+)" + r"\s*(?:,(.*))?")
_BLANKS = re.compile(r"(\d+)" + 4 * r"\s+(\d+)" + r"(?:\s+(.*))?")
"""A line of a palette."""


def read(path: Path) -> list[Entry]:
    """The classes in a file, in its order. Raises ``ConfigError``."""
    confine.local(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(sorted(_READERS))
        raise ConfigError(f"{path}: not a kind of legend that geoseg reads; these are {known}")
    entries = reader(path, _text(path))
    if not entries:
        raise ConfigError(f"{path}: no class in it; a map needs at least two")
    return entries


def _text(path: Path) -> str:
    """The file as text, without a byte order mark."""
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path} is larger than {LARGEST} bytes: not a legend")
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such legend file; check 'legend'") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{path}, line {line}: not UTF-8; save it again as UTF-8 (in a spreadsheet: 'CSV UTF-8')"
        ) from None


def _lines(text: str) -> list[str]:
    """Lines as editors count them; ``splitlines`` also parts at characters that names may hold."""
    return re.split(r"\r\n?|\n", text)


def _yaml(path: Path, text: str) -> list[Entry]:
    """A list of classes, or a mapping with the key ``legend`` (another run's config)."""
    content = plain_yaml.load(text, path)
    entries = content.get("legend") if isinstance(content, dict) else content
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(
            f"{path}: a legend is a list of classes, each a line such as "
            "'- {code: 1, name: wheat, color: \"#e6b800\"}'"
        )
    return entries


def _csv(path: Path, text: str) -> list[Entry]:
    """Columns code, name and color in any order, parted by comma, semicolon or tab."""
    heading = next((line for line in _lines(text) if line.strip()), "")
    reader = csv.reader(
        StringIO(text, newline=""), delimiter=max(",;\t", key=heading.count), strict=True
    )
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num}: not valid CSV: {error}") from None
    if not rows:
        return []
    columns = _columns(path, rows[0][1])
    return [_csv_entry(f"{path}, line {line}", row, columns) for line, row in rows[1:]]


def _columns(path: Path, heading: list[str]) -> dict[str, int]:
    """Which column holds what."""
    names = [cell.strip().lower() for cell in heading]
    found = {
        key: names.index(name) for key, known in _COLUMNS.items() for name in known if name in names
    }
    missing = {"code", "name"}.difference(found)
    if missing:
        raise ConfigError(
            f"{path}, line 1: no column {sorted(missing)[0]!r}, only {', '.join(map(repr, names))}; "
            "the first line names the columns: code, name, color"
        )
    return found


def _csv_entry(where: str, row: list[str], columns: dict[str, int]) -> Entry:
    cells = {key: row[i].strip() if i < len(row) else "" for key, i in columns.items()}
    entry = _entry(where, cells["code"], cells["name"])
    return {**entry, "color": _color(where, cells["color"])} if cells.get("color") else entry


def _entry(where: str, code: str, name: str) -> Entry:
    if not re.fullmatch(r"\d{1,3}", code, re.ASCII) or int(code) > 254:
        raise ConfigError(f"{where}: code {code!r} is not a whole number from 0 to 254")
    if not name:
        raise ConfigError(f"{where}: code {code} has no name; people read names, not codes")
    return {"code": int(code), "name": name}


def _color(where: str, text: str) -> str:
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ConfigError(f"{where}: colour {text!r} is not #rrggbb, such as #e6b800")
    return text.lower()


def _qml(path: Path, text: str) -> list[Entry]:
    """The classes of a paletted raster renderer."""
    if "<!ENTITY" in text:
        raise ConfigError(f"{path} declares XML entities; QGIS styles have none")
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise ConfigError(f"{path}, line {error.position[0]}: not valid XML: {error}") from None
    found = root.findall(".//rasterrenderer[@type='paletted']//paletteEntry")
    if not found:
        raise ConfigError(
            f"{path}: no paletted raster style in it; in QGIS choose 'Paletted/Unique values' and "
            "save the style again"
        )
    seen = (e for e in found if e.get("alpha", "255") != "0")
    return [_palette_entry(f"{path}, paletteEntry {e.get('value')!r}", e) for e in seen]


def _palette_entry(where: str, element: ET.Element) -> Entry:
    entry = _entry(where, element.get("value", ""), element.get("label", "").strip())
    return {**entry, "color": _color(where, element.get("color", ""))}


def _palette(path: Path, text: str) -> list[Entry]:
    """A line per class: value, red, green, blue, alpha and name, parted by commas (QGIS's colour map
    of a pseudocolour layer, TXT) or blanks (that of a paletted layer, CLR)."""
    return list(_palette_lines(path, text))


def _palette_lines(path: Path, text: str) -> Iterator[Entry]:
    for number, raw in enumerate(_lines(text), 1):
        line = raw.strip()
        if not line or line.startswith(("#", "INTERPOLATION:")):
            continue
        where = f"{path}, line {number}"
        match = _COMMAS.fullmatch(line) or _BLANKS.fullmatch(line)
        if not match:
            raise ConfigError(f"{where}: {line[:60]!r} is not 'value,red,green,blue,alpha,name'")
        code, *rgba, name = match.groups()
        if any(int(part) > 255 for part in rgba):
            raise ConfigError(f"{where}: colour {','.join(rgba)} has a part above 255")
        red, green, blue, alpha = map(int, rgba)
        if alpha:  # what is not drawn is nodata
            yield {
                **_entry(where, code, (name or "").strip()),
                "color": f"#{red:02x}{green:02x}{blue:02x}",
            }


_READERS: dict[str, Callable[[Path, str], list[Entry]]] = {
    ".yaml": _yaml,
    ".yml": _yaml,
    ".csv": _csv,
    ".qml": _qml,
    ".clr": _palette,
    ".txt": _palette,
}
