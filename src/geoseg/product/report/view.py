"""What the report's templates name: the plain content, arranged for reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geoseg.product.charts import histogram, line_chart, timeline
from geoseg.product.pictures import RAMP
from geoseg.product.report import findings
from geoseg.product.report.format import NONE, day, moment, part, percent
from geoseg.product.report.products import (
    change_view,
    gates_view,
    output_lines,
    parcels_view,
    vectors_view,
)
from geoseg.product.report.scores import comparison, scores_view

PARTS = (
    "name", "geoseg", "run", "nodata_pixels", "polygons", "quality", "versions", "config",
    "citation", "summary", "findings", "clear_read", "released",
)  # fmt: skip
"""What templates get as it is, None where it is missing."""

PLAN = {
    "resumed": "blocks found finished",
    "core": "core of a patch, pixels",
    "margin": "margin around it, pixels",
    "block": "block, pixels",
}
"""Words for the plan's keys; the others say it themselves."""

Content = Mapping[str, Any]


def view(content: Content) -> dict[str, Any]:
    """Everything the templates name; missing parts are None or empty."""
    areas = content.get("areas") or []
    model = content.get("model") or {}
    history = model.get("history") or []
    grid = content.get("grid") or {}
    test_scores = scores_view((content.get("scores") or {}).get("test_scores"), areas)
    return {
        **{key: content.get(key) for key in PARTS},
        "title": content.get("title") or content["name"],
        "created": moment(content.get("created")),
        "grid": grid,
        "crs": crs_name(grid.get("crs")),
        "areas": _areas(areas),
        "confidence": _confidence(content.get("confidence")),
        "season": _season(content.get("inputs") or []),
        "test_scores": test_scores,
        "training": (content.get("scores") or {}).get("training"),
        "bars": comparison(test_scores, content.get("baselines") or {}),
        "card": card_lines(model),
        "charts": _charts(history),
        "epochs": len(history),
        "plan": _plan(content.get("plan") or {}),
        "seconds": _durations(content.get("seconds") or {}),
        "outputs": output_lines(content.get("outputs") or {}),
        "quicklook": (content.get("outputs") or {}).get("quicklook"),
        "vectors": vectors_view(content.get("vectors") or []),
        "parcels": parcels_view(content.get("parcels")),
        "change": change_view(content.get("change")),
        "gates": gates_view(content.get("gates") or []),
    }


def _areas(areas: Sequence[Content]) -> dict[str, Any] | None:
    """The table of areas, the largest first, each with its bar in percent of the longest."""
    if not areas:
        return None
    longest = max(a["share"] for a in areas) or 1
    known = all(a.get("hectares") is not None for a in areas)
    ordered = sorted(areas, key=lambda a: -float(a["share"]))
    return {
        "rows": [{**a, "bar": round(100 * a["share"] / longest, 2)} for a in ordered],
        "known": known,
        "hectares": sum(a["hectares"] for a in areas) if known else None,
        "pixels": sum(a["pixels"] for a in areas),
    }


def _confidence(found: Content | None) -> dict[str, Any] | None:
    """The histogram as a chart, and the shares of the classes of confidence that the map shows."""
    if not found or not found.get("histogram"):
        return None
    shares, steps = found["histogram"], [*RAMP, 101]
    ramp = [
        {
            "color": color,
            "text": f"{low} to {min(high, 100)} %",
            "share": sum(shares[low:high]),
        }
        for (low, color), high in zip(RAMP.items(), steps[1:], strict=True)
    ]
    return {**found, "ramp": ramp[::-1], "chart": histogram(shares)}


def _season(inputs: Sequence[Content]) -> dict[str, Any] | None:
    """Images in time order, with their timeline and the files by name and folder."""
    if not inputs:
        return None
    known = [item["clear_share"] for item in inputs if item.get("clear_share") is not None]
    rows = [
        {
            **item,
            "files": [
                "/".join(str(f).replace("\\", "/").split("/")[-2:]) for f in item.get("files") or []
            ],
            "clear_share": item.get("clear_share"),
            "date": item.get("date"),
        }
        for item in inputs
    ]
    return {
        "rows": rows,
        "chart": timeline(inputs, findings.GAP),
        "known": known,
        "looks": sum(known),
        "dated": sum(day(item.get("date")) is not None for item in inputs),
    }


def _plan(plan: Content) -> list[tuple[str, str]]:
    """How the map was computed, in words."""
    lines = []
    for key, value in plan.items():
        text = NONE if value is None else f"{value:,}" if isinstance(value, int) else str(value)
        if key == "agreement" and isinstance(value, float):
            text = f"{part(value, 3)} of the classes as in fp32"
        lines.append((PLAN.get(key, key), text))
    return lines


def _charts(history: Sequence[Content]) -> list[Any]:
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


def crs_name(wkt: str | None) -> str:
    """The quoted name at the start of a WKT, or the text itself (``EPSG:32632``)."""
    if not wkt:
        return "no CRS"
    return wkt.split('"')[1] if '"' in wkt else wkt


_WORDS = {
    "labels": "Label file",
    "device": "Trained on",
    "precision": "Trained in",
    "seconds": "Training, seconds",
}


def card_lines(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and text of what a reader may ask of the model; ``model``: ``id``, ``card``."""
    card = model.get("card") or {}
    network = card.get("network") or {}
    lines = [
        ("Model id", str(model.get("id") or "")),
        ("Network", f"U-Net, encoder {network['encoder']}" if network.get("encoder") else ""),
        ("Input channels", str(network.get("channels") or "")),
        ("Bands", ", ".join(card.get("bands") or [])),
        ("Trained on dates", ", ".join(str(date) for date in card.get("dates") or [])),
        ("Normalization", str((card.get("normalization") or {}).get("transform") or "")),
        *_context_lines(card.get("context")),
        *_training_lines(card.get("training") or {}),
    ]
    metrics = card.get("metrics") or {}
    for key, name in (("overall_accuracy", "overall accuracy"), ("mean_iou", "mean IoU")):
        if metrics.get(key) is not None:
            lines.append((f"Validation, {name}", percent(metrics[key])))
    return [(name, text) for name, text in lines if text]


def _training_lines(training: Mapping[str, Any]) -> list[tuple[str, str]]:
    pixels = sum(((training.get("pixels") or {}).get("train") or {}).values())
    lines = [("Labelled pixels", f"{pixels:,}" if pixels else "")]
    return lines + [
        (_WORDS.get(key, key.replace("_", " ").capitalize()), _short(value))
        for key, value in training.items()
    ]


def _context_lines(context: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """How far the network looks, and what its default margin costs."""
    if not context:
        return []
    radius, tiling = context.get("receptive_field_radius"), context.get("tiling_error")
    text = (
        "everywhere: no margin makes a map of patches exact" if radius is None else f"{radius} px"
    )
    lines = [("Network looks", text)]
    if tiling:
        share = f"{100 * tiling['share']:.3g} % of {tiling['pixels']:,} pixels"
        patches = f"cores of {tiling['core']} px with {tiling['margin']} px around them"
        lines.append(("Changed by patches", f"{share} ({patches})"))
    return lines


def _short(value: Any) -> str:
    """A scalar as text; nothing for what belongs into the JSON only."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
