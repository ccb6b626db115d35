"""The report of a run: the same figures for people (one HTML file, and Markdown) and for programs.

The page is self-contained: its pictures, style and script are inside, and a content security policy
keeps browsers from fetching anything. ``docs/report.md`` describes ``report.json``.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from geoseg.io import files
from geoseg.product.pictures import MapPictures
from geoseg.product.report.findings import findings, summary
from geoseg.product.report.format import FILTERS, citation
from geoseg.product.report.map import map_view
from geoseg.product.report.view import view

HTML, JSON, MARKDOWN = "report.html", "report.json", "report.md"

SCHEMA = "geoseg-report-1"
"""Of ``report.json``: keys may be added to a version, none is taken away or changes its meaning."""

_PARTS = "parts"


def write_report(
    content: Mapping[str, Any], folder: Path, pictures: MapPictures | None = None
) -> None:
    """Write ``report.json``, ``report.md`` and ``report.html`` (``pictures`` inside) to ``folder``.

    ``content`` may lack any part but ``name``; the report leaves it out. Its keys: ``title``,
    ``created``, ``geoseg``, ``run`` (``fingerprint``), ``grid``, ``outputs`` (paths from the folder),
    ``inputs`` (``id``, ``date``, ``files``, ``clear_share``), ``clear_read``, ``labels`` (``file``,
    ``left_out``: a list of ``reason``, ``rows``, ``row``, ``name``, ``used``), ``areas`` (as
    ``areas.ClassArea``, with ``p10_confidence`` and ``low_share``), ``nodata_pixels``, ``confidence``
    (as ``confidence_stats.ConfidenceStats``), ``quality`` (``seam``, ``completeness``), ``gates``
    (a list: ``name``, ``judged``, ``passed``, ``why``), ``released`` (``gates``, ``at``, ``by``, of a
    map that fails some and is published all the same), ``scores`` (``test_scores``, ``training``),
    ``baselines``, ``model`` (``id``, ``card``, ``history``), ``plan``, ``seconds``, ``versions``,
    ``config``; and what only some runs have: ``polygons`` (their number),
    ``vectors`` (a list with the areas of each class), ``parcels``, ``change``: see ``products`` for the
    keys that are shown.

    ``schema``, ``summary``, ``findings`` and ``citation`` are added here. Raises ``OutputError`` where
    there is no room.
    """
    plain = _told(to_plain(content))
    files.write_json(folder / JSON, plain)
    files.write_text(folder / MARKDOWN, render_markdown(plain))
    files.write_text(folder / HTML, render(plain, pictures))


def _told(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The content with what follows from it."""
    return {
        "schema": SCHEMA,
        **plain,
        "summary": summary(plain),
        "findings": findings(plain),
        "citation": citation(plain),
    }


def to_plain(value: Any) -> Any:
    """The value in JSON's types: paths and dates as text, nan and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return to_plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, bool, int)) else str(value)


def render(content: Mapping[str, Any], pictures: MapPictures | None) -> str:
    """The HTML page of a report's plain content."""
    drawn = map_view(content, pictures) if pictures and content.get("grid") else None
    script = _part("map.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _environment(html=True).get_template("report.html.j2").render(
        **view(content),
        map=drawn,
        script=Markup(script),
        script_digest=digest,
        style=Markup(_part("page.css") + _part("map.css")),
    )  # fmt: skip


def render_markdown(content: Mapping[str, Any]) -> str:
    """The same as Markdown, without HTML."""
    text = _environment(html=False).get_template("report.md.j2").render(**view(content))
    return text.strip() + "\n"


@cache
def _environment(html: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("geoseg.product.report", _PARTS),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return environment


@cache
def _part(name: str) -> str:
    return (resources.files("geoseg.product.report") / _PARTS / name).read_text(encoding="utf-8")
