"""Peak memory of `geoseg predict` by scene size, beside what the formula promised.

    python -m benchmarks.memory --scene data/bench --bundle out/demo/model --sizes 4096,8192,20000

The larger seasons are the given one repeated side by side (a VRT a date): the same pixels and tiles,
many times over, without tens of gigabytes of new files.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import rasterio

from geoseg.io import plain_yaml

BAND = """  <VRTRasterBand dataType="{dtype}" band="{band}" blockXSize="{tile}" blockYSize="{tile}">
    <Description>{name}</Description>
    <NoDataValue>{nodata}</NoDataValue>
{sources}
  </VRTRasterBand>"""
SOURCE = """    <SimpleSource>
      <SourceFilename>{path}</SourceFilename><SourceBand>{band}</SourceBand>
      <SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{height}"/>
      <DstRect xOff="{col}" yOff="{row}" xSize="{width}" ySize="{height}"/>
    </SimpleSource>"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", type=Path, required=True, help="folder with imagery/*.tif")
    parser.add_argument("--bundle", type=Path, required=True, help="a model bundle for it")
    parser.add_argument("--sizes", default="4096,8192", help="sides in pixels")
    parser.add_argument("--precision", default="bf16", choices=["fp32", "bf16"])
    parser.add_argument("--json", type=Path, help="where the figures go")
    given = parser.parse_args()
    rows = []
    for size in map(int, given.sizes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(_measure(Path(folder), given.scene, given.bundle, size, given.precision))
        print(
            "{size:>6} px: peak {peak_mb} MB, formula {formula_mb} MB; {seconds} s, CPU {cpu} s, "
            "{ns_per_pixel} ns of CPU per pixel, {blocks} blocks".format(**rows[-1]),
            flush=True,
        )
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


def _measure(
    folder: Path, scene: Path, bundle: Path, size: int, precision: str
) -> dict[str, float]:
    """Map one season in a process of its own."""
    (folder / "imagery").mkdir()
    for path in sorted((scene / "imagery").glob("*.tif")):
        (folder / "imagery" / f"{path.stem}.vrt").write_text(_repeated(path, size))
    config = {
        "name": "m",
        "imagery": {"folder": str(folder / "imagery"), "pattern": "{date}.vrt"},
        "model": {"bundle": str(bundle.resolve())},
        "predict": {"precision": precision},
    }
    (folder / "m.yaml").write_text(plain_yaml.dump(config))
    began = time.perf_counter()
    command = [sys.executable, "-m", "geoseg", "predict", str(folder / "m.yaml")]
    process = os.posix_spawn(
        sys.executable, [*command, "-o", str(folder / "out")], os.environ, file_actions=_quiet()
    )
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"geoseg predict failed at {size} px with status {status}")
    record = json.loads((folder / "out" / "work" / "predict.json").read_text())
    cpu = usage.ru_utime + usage.ru_stime
    return {
        "size": size,
        "blocks": record["blocks"],
        "peak_mb": usage.ru_maxrss // 1024,
        "formula_mb": record["memory"] // 2**20,
        "seconds": round(time.perf_counter() - began, 1),
        "cpu": round(cpu, 1),
        "ns_per_pixel": round(cpu / size**2 * 1e9),
    }


def _quiet() -> list[tuple[int, int, str, int, int]]:
    return [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]


def _repeated(path: Path, size: int) -> str:
    """A VRT of ``size`` x ``size`` pixels that shows a raster again and again."""
    with rasterio.open(path) as source:
        bands = [
            BAND.format(
                dtype="UInt16",
                band=band,
                tile=source.block_shapes[0][0],
                name=escape(source.descriptions[band - 1] or ""),
                nodata=source.nodata,
                sources="\n".join(_sources(path, band, source.height, source.width, size)),
            )
            for band in source.indexes
        ]
        transform = ", ".join(str(value) for value in source.transform.to_gdal())
        head = f'<VRTDataset rasterXSize="{size}" rasterYSize="{size}">\n'
        place = (
            f"  <SRS>{escape(source.crs.to_wkt())}</SRS><GeoTransform>{transform}</GeoTransform>"
        )
    return head + place + "\n" + "\n".join(bands) + "\n</VRTDataset>\n"


def _sources(path: Path, band: int, height: int, width: int, size: int) -> Iterator[str]:
    for row in range(0, size, height):
        for col in range(0, size, width):
            yield SOURCE.format(
                path=escape(str(path.resolve())), band=band, row=row, col=col,
                height=min(height, size - row), width=min(width, size - col),
            )  # fmt: skip


if __name__ == "__main__":
    main()
