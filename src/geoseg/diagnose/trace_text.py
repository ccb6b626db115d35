"""The trace of a pixel as people read it on a terminal, from the record that ``trace`` makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from geoseg.legend import NODATA
from geoseg.pipeline.run import Record


def lines(found: Record) -> Iterator[str]:
    """What is known of the pixel, a line each, in the order in which it comes about."""
    yield from _place(found["place"])
    yield from _work(found)
    yield from _dates(found)
    yield from _decision(found)
    yield from _files(found)
    for polygon in found["polygons"]:
        yield "polygon"
        for name, value in polygon.items():
            yield f"  {name:<17} {'none' if value is None else value}"


def _place(place: Record) -> Iterator[str]:
    yield "place"
    if place["lon"] is not None:
        yield f"  {'lon, lat':<17} {place['lon']:.7f}, {place['lat']:.7f}"
    yield f"  {'x, y':<17} {place['x']:.10g}, {place['y']:.10g} (CRS {place['crs']})"
    yield f"  {'column, row':<17} {place['col']}, {place['row']} (from 0)"


def _work(found: Record) -> Iterator[str]:
    """Patches, block and networks."""
    for patch in found["patches"]:
        yield "patch"
        yield from (f"  {name:<17} {_span(patch[name])}" for name in ("core", "extent"))
    block = found["block"]
    yield "block"
    yield f"  {'id':<17} {block['id']}"
    yield f"  {'file':<17} {block['file']}"
    yield f"  {'receipt':<17} {'yes' if block['receipt'] else 'no: not finished, or changed since'}"
    yield f"  {'fingerprint':<17} {block['fingerprint']}"


def _span(window: Record) -> str:
    row, col = window["row"], window["col"]
    return (
        f"columns {col} to {col + window['width'] - 1}, rows {row} to {row + window['height'] - 1}"
    )


def _dates(found: Record) -> Iterator[str]:
    """A line per date and band; normalized values are those that each network is given."""
    longest = max(len(b["band"]) for date in found["dates"] for b in date["bands"])
    width = min(max(longest, 4), 30)
    several = len(found["networks"]) > 1
    for number, network in enumerate(found["networks"], 1):
        yield f"network{f' {number}' if several else '':<12} {network}"
    yield f"dates{'':<14} {'band':<{width}} {'raw':>12} {'normalized':>12}"
    for date in found["dates"]:
        for number, band in enumerate(date["bands"]):
            head = date["id"][:17] if number == 0 else ""
            inputs = " ".join(f"{value:>12.5g}" for value in band["normalized"])
            yield f"  {head:<17} {band['band'][:width]:<{width}} {_raw(band['raw']):>12} {inputs}"
        if not date["valid"]:
            reasons = "; ".join(date["reasons"]) or "no data"
            yield f"  {'':<17} not valid, so 0 for the network: {reasons}"


def _raw(value: Any) -> str:
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _decision(found: Record) -> Iterator[str]:
    decision = found["decision"]
    yield f"classes{'':<17} probability, as the networks give it now"
    if decision is None:
        yield "  not computed: the run had a GPU and there is none here; run trace where one is"
        return
    for entry in found["probabilities"]:
        yield f"  {entry['code']:>3} {entry['name'][:24]:<24} {entry['probability']:>10.6f}"
    if decision["name"] is None:
        yield "  none: no date is valid here, so no network is asked"
        yield f"{'decision':<19} {NODATA}, no class"
    else:
        text = f"{decision['code']} {decision['name']}, confidence {decision['confidence']} %"
        yield f"{'decision':<19} {text}"


VERDICTS = {True: "agrees", False: "differs", None: ""}


CLASSED = ("block file", "class raster", "polygons")
"""Files whose first value is a class code; the others are percents."""


def _files(found: Record) -> Iterator[str]:
    """What each file says of the decision."""
    yield "files"
    width = max(15, *(min(len(_shown(entry)), 40) for entry in found["files"]))
    for entry in found["files"]:
        line = f"  {entry['file']:<17} {_shown(entry):<{width}}  {VERDICTS[entry['agrees']]}"
        yield line.rstrip()
    if any(entry["agrees"] is False for entry in found["files"]):
        yield (
            "  note: a file that differs was changed, was made from other blocks, or was computed on "
            "another kind of processor"
        )


def _shown(entry: Record) -> str:
    """What the file holds, or why that cannot be told."""
    if entry["note"]:
        return str(entry["note"])
    words = ["nodata" if value == NODATA else f"{value} %" for value in entry["values"]]
    if entry["file"] in CLASSED and entry["values"][0] != NODATA:
        words[0] = f"class {entry['values'][0]}"
    return ", ".join(words)
