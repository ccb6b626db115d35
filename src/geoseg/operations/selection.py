"""The first step of every run: is there all that it needs, and does it fit together?"""

from __future__ import annotations

from dataclasses import asdict

from geoseg.engine.cluster import ClusterSettings, check
from geoseg.operations.run import Record, Run, require_fit


def select_scenes(run: Run, scheduler: str = "") -> Record:
    """Open the season's scenes and check that they and all that the config names fit."""
    with run.step("select") as record:
        scenes = run.scenes
        require_fit(run.config, scenes)
        check(ClusterSettings.of(run.config.cluster, scheduler=scheduler))
        if run.config.parcels:
            from geoseg.operations.parcels import require_run  # noqa: PLC0415

            require_run(run)
        if run.config.labels:
            # Its imports take half a second, which mapping with a trained model need not wait for.
            from geoseg.imagery.labels import open_labels  # noqa: PLC0415
            from geoseg.imagery.left_out import left_out_lines  # noqa: PLC0415

            labels = open_labels(run.config.labels, scenes[0].grid, run.legend)
            for line in left_out_lines(labels.path, labels.left_out):
                run.progress.say(line)
            record["labels"] = {
                "file": labels.path.name,
                "left_out": [asdict(each) for each in labels.left_out],
            }
        record["inputs"] = [
            {
                "id": scene.id,
                "date": str(scene.date) if scene.date else None,
                "files": [str(path) for path in scene.files],
            }
            for scene in scenes
        ]
        record["bands"] = list(scenes[0].bands)
    return record
