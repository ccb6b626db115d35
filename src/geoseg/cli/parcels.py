"""``geoseg parcels`` and ``geoseg change``: a map against parcels, and against another map."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.feedback import Console

ClassMap = Annotated[
    Path, typer.Argument(help="A class raster that geoseg wrote.", metavar="CLASS_MAP")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command(
        epilog="Examples: `geoseg parcels out/demo/demo_class.tif lpis.gpkg --declared crop`, "
        "`geoseg parcels map_class.tif lpis.gml --declared code --mapping codes.csv -o checked.gpkg`"
    )(parcels)
    app.command(
        epilog="Example: `geoseg change out/2024/area_class.tif out/2025/area_class.tif -o out/change`"
    )(change)


def parcels(  # noqa: PLR0913
    class_map: ClassMap,
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
    from geoseg.pipeline import parcels as operation  # noqa: PLC0415

    request = operation.ParcelRequest(
        class_map,
        confidence or operation.default_confidence(class_map),
        parcels,
        layer,
        declared,
        mapping,
        operation.Limits(above, share, mapped),
    )
    target, lines = operation.check_file(request, output, Console())
    for line in (f"parcels: {target}", *lines):
        typer.echo(line)


def change(
    before: Annotated[Path, typer.Argument(help="The earlier class raster.")],
    after: Annotated[Path, typer.Argument(help="The later one, on the same grid.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the results.")],
    above: Annotated[
        float | None,
        typer.Option(
            min=0, max=100, help="Count changes only where both maps are this confident (percent)."
        ),
    ] = None,
    parcels: Annotated[
        Path | None, typer.Option(help="Also say of each of these parcels what changed.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Needed where the file has several.")] = None,
) -> None:
    """Compare two maps of one grid: transition matrix, change raster, changed parcels."""
    from geoseg.analysis.change import files as operation  # noqa: PLC0415

    request = operation.ChangeRequest(before, after, above, parcels, layer)
    for line in operation.compare_files(request, output, Console()):
        typer.echo(line)
