"""The report's map: its pictures, and all that is drawn around them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from affine import Affine

from geoseg.grid import Grid
from geoseg.product.map_frame import MapFrame, Spot, round_length
from geoseg.product.pictures import LONGEST, MapPictures
from geoseg.product.report.format import place

FRAME = (0.45, 1.2)
"""Least and most height of the frame over its width: a longer map stands in the middle of it."""

COARSE = 900
"""Longest side up to which a map is drawn with hard pixels from the start."""


def map_view(content: Mapping[str, Any], pictures: MapPictures) -> dict[str, Any]:
    """What the map's template names. ``content``: ``grid``, and ``confidence`` with its places."""
    drawn = MapFrame(_grid(content["grid"]))
    aspect = drawn.aspect
    frame = min(max(aspect, FRAME[0]), FRAME[1])
    wide, high = min(1.0, frame / aspect), min(1.0, aspect / frame)
    corners = drawn.corners
    degrees = [(c.lon, c.lat) for c in corners]
    return {
        "classes": _data(pictures.classes),
        "confidence": _data(pictures.confidence),
        "frame": round(100 * frame, 3),
        "wide": round(100 * wide, 3),
        "high": round(100 * high, 3),
        "left": round(50 * (1 - wide), 3),
        "top": round(50 * (1 - high), 3),
        "long": aspect < FRAME[0],
        "coarse": max(drawn.grid.height, drawn.grid.width) <= COARSE,
        "thinned": max(drawn.grid.height, drawn.grid.width) > LONGEST,
        "corners": [corner_text(c, drawn.grid.crs is not None) for c in corners],
        "degrees": None if (None, None) in degrees else json.dumps(degrees),
        "scale": _scale(drawn, wide),
        "north": drawn.north,
        "marks": _marks(content),
    }


def _grid(plain: Mapping[str, Any]) -> Grid:
    return Grid(plain["crs"], Affine(*plain["transform"]), plain["height"], plain["width"])


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def corner_text(spot: Spot, has_crs: bool) -> str:
    """Degrees, else map coordinates, else nothing."""
    return place(spot.lon, spot.lat) or (f"{spot.x:,.0f}, {spot.y:,.0f}" if has_crs else "")


def _scale(drawn: MapFrame, wide: float) -> dict[str, Any] | None:
    """A round length of about a fifth of the frame; None where lengths are not known."""
    metres = drawn.width_metres
    if not metres:
        return None
    length = round_length(metres / wide / 5)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    return {
        "metres": round(metres, 3),
        "width": round(100 * length / metres * wide, 3),
        "text": text,
    }


def _marks(content: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Numbers on the places of low confidence, in percent of the map."""
    grid = content["grid"]
    return [
        {"left": _inside(p["col"] / grid["width"]), "top": _inside(p["row"] / grid["height"])}
        for p in (content.get("confidence") or {}).get("places") or []
    ]


def _inside(share: float) -> float:
    """Percent, far enough from the edge that a number can be read."""
    return round(100 * min(max(share, 0.015), 0.985), 3)
