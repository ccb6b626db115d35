"""Content of a report, as a run puts it together: what the tests of the report share."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any


def scores(accuracy: float) -> dict[str, Any]:
    return {
        "source": "truth",
        "pixels": 1000,
        "unmapped": 3,
        "overall_accuracy": accuracy,
        "mean_iou": 0.8101,
        "mean_class_accuracy": 0.88,
        "macro_f1": 0.87,
        "kappa": 0.791,
        "classes": [
            {"code": 1, "name": "wheat", "pixels": 600, "iou": 0.9, "precision": 0.95,
             "recall": 0.94, "f1": 0.945},
            {"code": 2, "name": "<maize>", "pixels": 400, "iou": 0.72, "precision": None,
             "recall": 0.82, "f1": None},
        ],
        "confusion": [[564, 36], [72, 328]],
    }  # fmt: skip


def confidence() -> dict[str, Any]:
    histogram = [0.0] * 101
    histogram[20], histogram[62], histogram[100] = 0.125, 0.25, 0.625
    place = {
        "lon": 9.9616,
        "lat": -52.6916,
        "col": 499.4,
        "row": 660.0,
        "hectares": 1.09,
        "pixels": 109,
        "low_share": 0.5677,
    }
    return {"threshold": 50, "histogram": histogram, "low_share": 0.125, "mean": 80.5, "p10": 20,
            "classes": [], "cell": 8, "places": [place]}  # fmt: skip


def content() -> dict[str, Any]:
    return {
        "name": "demo",
        "title": "Crops of <script>alert(1)</script> & more",
        "created": "2024-11-05T10:11:12+00:00",
        "geoseg": "0.1.0",
        "grid": {"crs": "EPSG:32631", "width": 1800, "height": 1135,
                 "transform": [10.0, 0, 5e5, 0, -10.0, 5.8e6], "bounds": [0, 1, 2, 3]},
        "outputs": {"class": "demo_class.tif", "report": "report.html", "model": None,
                    "quicklook": "quicklook.png", "x": "/elsewhere/model"},
        "run": {"fingerprint": "90152faa699e593aedd91f10858891b8"},
        "inputs": [{"id": "2024-01-15", "date": dt.date(2024, 1, 15), "files": [Path("a/b.tif")],
                    "clear_share": 0.625}],
        "clear_read": 0.25,
        "areas": [
            {"code": 1, "name": "wheat", "color": "#e69f00", "pixels": 123456,
             "hectares": 1234.56, "share": 0.75, "mean_confidence": 91.27,
             "p10_confidence": 71, "low_share": 0.03},
            {"code": 2, "name": "<maize>", "color": "#56b4e9", "pixels": 41152,
             "hectares": 411.52, "share": 0.25, "mean_confidence": None},
        ],
        "nodata_pixels": 777,
        "confidence": confidence(),
        "quality": {
            "seam": {"core": 512, "border_pairs": 2000, "border_changes": 50, "other_pairs": 90000,
                     "other_changes": 1800, "score": 1.25, "chance": 0.013671875},
            "completeness": {"blocks": 4, "planned": 4, "pixels_with_data": 164610,
                             "pixels_mapped": 164608, "holes": 2, "share": 164608 / 164610},
        },
        "gates": [
            {"name": "mapped", "value": 0.8, "limit": 0.5, "passed": True, "judged": True,
             "why": "80.00 % of the pixels of <the grid> have a class; at least 50.00 %: as required"},
            {"name": "agreement", "value": None, "limit": None, "passed": True, "judged": False,
             "why": "no map has been published before: not judged"},
        ],
        "polygons": 4321,
        "vectors": [{"code": 1, "name": "wheat", "polygons": 120, "raster_ha": 1234.56,
                     "polygons_ha": 1234.11, "difference_ha": -0.45, "difference_percent": -0.036,
                     "merged_regions": 7, "merged_pixels": 19}],
        "parcels": {
            "parcels": 812, "hectares": 1500.5, "place": {"inside": 800, "outside": 12, "partly": 0},
            "mended": 3, "crops": {"wheat": {"parcels": 500, "hectares": 900.0}},
            "checks": {"agrees": {"parcels": 700, "hectares": 1300.0},
                       "contradicted": {"parcels": 29, "hectares": 40.25}},
            "unknown_declarations": {"<hop>": 4}},
        "change": {
            "before": "2023_class.tif", "after": "2024_class.tif", "above": None,
            "rows": ["wheat", "<maize>", "no data"], "columns": ["wheat", "<maize>", "no data"],
            "pixels": [[500, 315, 0], [7, 600, 1], [0, 0, 90]],
            "hectares": [[5.0, 31.5, 0.0], [0.7, 6.0, 0.01], [0.0, 0.0, 0.9]],
            "changed": {"pixels": 322, "hectares": 32.2}},
        "scores": {"test_scores": scores(0.9314), "training": scores(0.977)},
        "baselines": {"random_forest": {"overall_accuracy": 0.7412, "mean_iou": 0.52,
                                        "pixels": 900, "trained_on": 400}},
        "model": {
            "id": "12657c6c9be4",
            "card": {"network": {"encoder": "resnet18", "channels": 60}, "bands": ["red", "nir"],
                     "dates": ["2024-01-15"], "normalization": {"transform": "asinh"},
                     "training": {"samples": 312, "settings": {"seed": 0}},
                     "metrics": {"overall_accuracy": 0.93, "mean_iou": 0.81},
                     "context": {"receptive_field_radius": 311, "margin": 64, "exact_margin": 320,
                                 "tiling_error": {"core": 256, "margin": 64, "pixels": 589824,
                                          "share": 0.00012}}},
            "history": [{"epoch": i, "loss": 1 / i, "overall_accuracy": 1 - 0.5 / i,
                         "mean_iou": 0.8 - 0.5 / i} for i in range(1, 13)],
        },
        "plan": {"blocks": 4, "core": 512, "margin": 64, "block": 1024, "workers": 2},
        "seconds": {"select": 0.4, "train": 402.0, "predict": 31.66},
        "versions": {"torch": "2.15.0"},
        "config": {"name": "demo"},
    }  # fmt: skip
