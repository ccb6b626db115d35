"""The report of a run: the same figures for people (one HTML file) and for programs (JSON)."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from geoseg.io import files
from geoseg.product.charts import line_chart

HTML, JSON = "report.html", "report.json"

_TEMPLATE = "report.html.j2"


def write_report(content: Mapping[str, Any], folder: Path, picture: Path) -> None:
    """Write ``report.json`` and ``report.html`` (self-contained, ``picture`` inside) to ``folder``.

    ``content`` may lack any part but ``name``; the report leaves it out. Its keys: ``name``, ``title``,
    ``created``, ``geoseg``, ``grid``, ``outputs`` (paths from the folder), ``inputs``, ``areas`` (as
    ``areas.ClassArea``), ``nodata_pixels``, ``quality`` (``seam``, ``completeness``), ``polygons``,
    ``scores`` (``unseen``, ``training``), ``baselines``, ``model`` (``card``, ``history``), ``plan``,
    ``seconds``, ``versions``, ``config``. Raises ``OutputError`` where there is no room.
    """
    plain = to_plain(content)
    files.write_json(folder / JSON, plain)
    files.write_text(folder / HTML, render(plain, picture))


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


def render(content: Mapping[str, Any], picture: Path) -> str:
    """The HTML page of a report's plain content."""
    environment = Environment(
        loader=PackageLoader("geoseg", "product"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=_count,
        percent=_percent,
        part=_part,
        hectares=_hectares,
        seconds=_seconds,
        pretty=_pretty,
    )
    return environment.get_template(_TEMPLATE).render(_view(content, picture))


def _view(content: Mapping[str, Any], picture: Path) -> dict[str, Any]:
    """Everything the template names; missing parts are None or empty."""
    scores = content.get("scores") or {}
    unseen = _scores_view(scores.get("unseen"), content.get("areas") or [])
    model = content.get("model") or {}
    history = model.get("history") or []
    grid = content.get("grid") or {}
    parts = ("outputs", "inputs", "nodata_pixels", "polygons", "plan", "versions", "config")
    return {
        **{key: content.get(key) for key in (*parts, "geoseg", "quality")},
        "created": _moment(content.get("created")),
        "title": content.get("title") or content["name"],
        "name": content["name"],
        "grid": grid,
        "crs": _crs_name(grid.get("crs")),
        "picture": base64.b64encode(picture.read_bytes()).decode("ascii"),
        "areas": _areas_view(content.get("areas") or []),
        "unseen": unseen,
        "training": scores.get("training"),
        "bars": _comparison(unseen, content.get("baselines") or {}),
        "card": _card_view(model.get("card") or {}),
        "charts": _charts(history),
        "epochs": len(history),
        "seconds": _durations(content.get("seconds") or {}),
    }


def _areas_view(areas: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The table of areas, each with the length of its bar in percent of the longest."""
    if not areas:
        return None
    longest = max((a["share"] for a in areas), default=0) or 1
    known = all(a.get("hectares") is not None for a in areas)
    return {
        "rows": [{**a, "bar": round(100 * a["share"] / longest, 2)} for a in areas],
        "known": known,
        "hectares": sum(a["hectares"] for a in areas) if known else None,
        "pixels": sum(a["pixels"] for a in areas),
    }


def _scores_view(
    scores: Mapping[str, Any] | None, areas: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Scores with each class's colour, and the confusion matrix as shares of its rows."""
    if not scores or not scores.get("pixels"):
        return None
    colors = {a["code"]: a["color"] for a in areas}
    classes = [{"color": colors.get(c["code"]), **c} for c in scores.get("classes") or []]
    matrix: list[dict[str, Any]] = []
    for entry, row in zip(classes, scores.get("confusion") or [], strict=False):
        total = sum(row) or 1
        cells = [{"pixels": n, "share": n / total, "right": i == len(matrix)}
                 for i, n in enumerate(row)]  # fmt: skip
        matrix.append({"entry": entry, "cells": cells, "pixels": sum(row)})
    source = {
        "truth": "the given truth, without the pixels whose labels training was given",
        "held_back": "the labels that were held back from training",
    }.get(scores.get("source") or "", scores.get("source") or "labels not used in training")
    return {**scores, "classes": classes, "matrix": matrix, "against": source}


_BASELINES = {"random_forest": "Random forest, pixel by pixel"}


def _comparison(
    unseen: Mapping[str, Any] | None, baselines: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The map beside its baselines; empty where there is nothing to compare."""
    if not unseen or not baselines:
        return []
    bars = [{"label": "This map", "own": True, **unseen}]
    for key, scores in baselines.items():
        bars.append({"label": _BASELINES.get(key, key), "own": False, **scores})
    return [bar for bar in bars if bar.get("overall_accuracy") is not None]


def _card_view(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The model card's main entries as name and text."""
    network = card.get("network") or {}
    dates = card.get("dates") or []
    lines = [
        ("Network", f"U-Net, encoder {network['encoder']}" if network.get("encoder") else ""),
        ("Input channels", str(network.get("channels") or "")),
        ("Bands", ", ".join(card.get("bands") or [])),
        ("Dates", ", ".join(str(date) for date in dates)),
        ("Normalization", str((card.get("normalization") or {}).get("transform") or "")),
    ]
    lines += _context_lines(card.get("context"))
    training = card.get("training") or {}
    lines += [(key.replace("_", " ").capitalize(), _short(item)) for key, item in training.items()]
    metrics = card.get("metrics") or {}
    for key, name in (("overall_accuracy", "overall accuracy"), ("mean_iou", "mean IoU")):
        if metrics.get(key) is not None:
            lines.append((f"Validation, {name}", _percent(metrics[key])))
    return [(name, text) for name, text in lines if text]


def _context_lines(context: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """How far the network looks, and what its default margin costs."""
    if not context:
        return []
    reach, seam = context.get("reach"), context.get("seam")
    text = "everywhere: no margin makes a map of patches exact" if reach is None else f"{reach} px"
    lines = [("Network looks", text)]
    if seam:
        share = f"{100 * seam['share']:.3g} % of {seam['pixels']:,} pixels"
        lines.append(
            (
                "Changed by patches",
                f"{share} (cores of {seam['core']} px with {seam['margin']} px around them)",
            )
        )
    return lines


def _short(value: Any) -> str:
    """A scalar as text; nothing for what belongs into the JSON only."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _charts(history: Sequence[Mapping[str, Any]]) -> list[Any]:
    accuracy, iou = "overall accuracy", "mean IoU"
    quality = {
        "overall_accuracy": accuracy,
        "mean_iou": iou,
        "validation_accuracy": accuracy,
        "validation_iou": iou,
    }
    drawn = [
        line_chart("Loss on the training samples", history, {"loss": "loss"}),
        line_chart("Scores on the validation part", history, quality),
    ]
    return [chart for chart in drawn if chart]


def _durations(seconds: Mapping[str, float | None]) -> dict[str, Any]:
    """Steps with the length of their bars in percent; ``total`` is a line of its own."""
    steps = {k: v for k, v in seconds.items() if v is not None and k != "total"}
    longest = max(steps.values(), default=0) or 1
    rows = [
        {"step": key.replace("_", " "), "seconds": value, "bar": round(100 * value / longest, 2)}
        for key, value in steps.items()
    ]
    return {"rows": rows, "total": seconds.get("total") or sum(steps.values())}


def _crs_name(wkt: str | None) -> str:
    """The quoted name at the start of a WKT, or the text itself (``EPSG:32632``)."""
    if not wkt:
        return "no CRS"
    return wkt.split('"')[1] if '"' in wkt else wkt


def _moment(text: str | None) -> str:
    """An ISO time to the minute; any other text as it is."""
    try:
        moment = dt.datetime.fromisoformat(text or "")
    except ValueError:
        return text or ""
    return f"{moment:%Y-%m-%d %H:%M %Z}".strip()


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def _part(value: float | None, digits: int = 2) -> str:
    """Percent; what is neither nothing nor all never looks so."""
    if value is not None and 0 < value < 1:
        least = 10.0 ** -(digits + 2)
        value = min(max(value, least), 1 - least)
    return _percent(value, digits)


def _hectares(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.1f}" if value >= 10 else f"{value:.2f}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return (
        f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
    )


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
