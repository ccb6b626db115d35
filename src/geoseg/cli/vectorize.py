"""``geoseg vectorize``: polygons of any class raster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.feedback import Console


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(
        epilog="Example: `geoseg vectorize out/demo/demo_class.tif --simplify 1 -o fields.parquet`"
    )(vectorize)


def vectorize(
    class_map: Annotated[Path, typer.Argument(help="A class raster that geoseg wrote.")],
    confidence: Annotated[
        Path | None, typer.Option(help="[default: *_confidence.tif beside the class raster]")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="*.gpkg, *.parquet, *.fgb [default: *_crops.gpkg]"),
    ] = None,
    simplify: Annotated[
        float, typer.Option(min=0, max=64, help="How far a border may move, in pixels; 0: not.")
    ] = 0,
    smooth: Annotated[
        int, typer.Option(min=0, max=4, help="Round corners off: 1 coarsely to 4 finely.")
    ] = 0,
    minimum_area: Annotated[
        float, typer.Option(min=0, max=1e9, help="Smaller fields (hectares) join a neighbour.")
    ] = 0,
    minimum_pixels: Annotated[int, typer.Option(min=0, help="The same in pixels.")] = 0,
) -> None:
    """Turn a class raster into crop polygons with area and confidence."""
    from geoseg.config import VectorsConfig
    from geoseg.pipeline import vectorize as step

    shape = VectorsConfig(
        simplify=simplify,
        smooth=smooth,
        minimum_area=minimum_area,
        minimum_pixels=minimum_pixels,
    )
    (target,), found = step.vectorize_file(class_map, confidence, output, shape, Console())
    typer.echo(f"polygons: {target} ({found.polygons})")
    for row in found.classes:
        if row.difference_ha:
            typer.echo(
                f"  {row.name}: {row.polygons_ha} ha, {row.difference_ha:+} ha "
                f"({row.difference_percent:+} %) against the raster"
            )
