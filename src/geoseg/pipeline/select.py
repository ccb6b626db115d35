"""The first step of every run: is there all that it needs, and does it fit together?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from geoseg.pipeline.checks import require_input, require_labels
from geoseg.pipeline.run import Record, Run

if TYPE_CHECKING:
    from geoseg.imagery.labels import Labels


def select_scenes(run: Run, scheduler: str = "") -> Record:
    """Open the season's scenes and check that they and all that the config names fit."""
    with run.step("select") as record:
        scenes = run.scenes
        labels = require_input(run, scheduler)
        if labels:
            record["labels"] = _tell_left_out(run, labels)
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


def _tell_left_out(run: Run, labels: Labels) -> Record:
    """Say what of the labels' file is no label, or not as it is there; the report tells it too."""
    from geoseg.imagery.labels import left_out_lines  # noqa: PLC0415

    for line in left_out_lines(labels.path, labels.left_out):
        run.progress.say(line)
    return {"file": labels.path.name, "left_out": [asdict(each) for each in labels.left_out]}
