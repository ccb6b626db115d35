"""``geoseg parcels``: a map against parcels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.feedback import Console


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(
        epilog="Examples: `geoseg parcels out/demo/demo_class.tif lpis.gpkg --declared crop`, "
        "`geoseg parcels map_class.tif lpis.gml --declared code --mapping codes.csv -o checked.gpkg`"
    )(parcels)


def parcels(  # noqa: PLR0913
    class_map: Annotated[
        Path, typer.Argument(help="A class raster that geoseg wrote.", metavar="CLASS_MAP")
    ],
    parcels: Annotated[Path, typer.Argument(help="Polygons in any format GDAL reads, any CRS.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help=".gpkg, .parquet or .csv [default: *_parcels.gpkg beside the map]",
        ),
    ] = None,
    confidence: Annotated[
        Path | None, typer.Option(help="[default: *_confidence.tif beside the class raster]")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Needed where the file has several.")] = None,
    declared: Annotated[
        str | None, typer.Option(help="Column with the declared crop: names or codes of the map.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="CSV with columns declared,class for values of your own.")
    ] = None,
    above: Annotated[
        float, typer.Option(min=0, max=100, help="Least confidence (percent) for a verdict.")
    ] = 80.0,
    share: Annotated[
        float, typer.Option(min=0, max=100, help="Least share (percent) of the majority crop.")
    ] = 50.0,
    mapped: Annotated[
        float, typer.Option(min=0, max=100, help="Least part (percent) of a parcel with a class.")
    ] = 50.0,
) -> None:
    """Give each parcel its crop by the map, and check what was declared for it."""
    from geoseg.analysis.parcels.check import ParcelRequest, check_file, default_confidence
    from geoseg.analysis.parcels.verdicts import Limits

    request = ParcelRequest(
        class_map,
        confidence or default_confidence(class_map),
        parcels,
        layer,
        declared,
        mapping,
        Limits(above, share, mapped),
    )
    target, lines = check_file(request, output, Console())
    for line in (f"parcels: {target}", *lines):
        typer.echo(line)
