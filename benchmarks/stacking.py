"""One file of all channels, for the peers that want one; made before anything is timed.

Tiles of 256 pixels, band by band: of a virtual raster over the dates' files, a pixel-interleaved and
a band-interleaved file, this was the quickest for each of the three peers that read it.
"""

from __future__ import annotations

from pathlib import Path

import rasterio
import rasterio.shutil

from benchmarks.scene import Scene

LAYOUT = {"tiled": True, "blockxsize": 256, "blockysize": 256, "interleave": "band"}
PACKING = {"compress": "deflate", "predictor": 2, "num_threads": "all_cpus", "bigtiff": "if_safer"}


def stack(scene: Scene, work: Path) -> Path:
    """The stacked GeoTIFF of a scene, made once."""
    path = work / f"stack-{scene.key}.tif"
    if not path.is_file():
        print(f"stack for the peers: {path}", flush=True)
        listing, part = path.with_suffix(".vrt"), path.with_suffix(".part")
        listing.write_text(_virtual(scene.files))
        rasterio.shutil.copy(listing, part, driver="GTiff", **LAYOUT, **PACKING)
        part.rename(path)
    return path


def _virtual(files: list[Path]) -> str:
    """GDAL's VRT of all bands of all files; without a nodata value, which only slows readers down."""
    with rasterio.open(files[0]) as source:
        place, crs = source.transform.to_gdal(), source.crs
        size = f'rasterXSize="{source.width}" rasterYSize="{source.height}"'
        count = source.count
    bands = [
        f'<VRTRasterBand dataType="UInt16" band="{i * count + band}"><SimpleSource>'
        f"<SourceFilename>{path}</SourceFilename><SourceBand>{band}</SourceBand>"
        "</SimpleSource></VRTRasterBand>"
        for i, path in enumerate(files)
        for band in range(1, count + 1)
    ]
    head = f"<SRS>{crs.to_wkt()}</SRS><GeoTransform>{', '.join(map(repr, place))}</GeoTransform>"
    return f"<VRTDataset {size}>{head}{''.join(bands)}</VRTDataset>\n"
