"""The model card's main entries, as the report tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geoseg.product.report.format import percent

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
