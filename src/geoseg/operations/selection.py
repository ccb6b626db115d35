"""The first step of every run: is there all that it needs, and does it fit together?"""

from __future__ import annotations

from geoseg.operations.checks import require_input, require_labels
from geoseg.operations.run import Record, Run


def select_scenes(run: Run, scheduler: str = "") -> Record:
    """Open the season's scenes and check that they and all that the config names fit."""
    with run.step("select") as record:
        scenes = run.scenes
        labels = require_input(run, scheduler)
        if labels and run.config.model.named:  # else training asks for more, and at once
            require_labels(run, labels)
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
