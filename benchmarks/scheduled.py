"""What a scheduled run costs beyond the prediction itself.

With a stack running (``make up``, and its environment in this shell):

    python -m benchmarks.scheduled configs/area.yaml --rounds 3

Each round times ``geoseg predict`` and ``prefect deployment run --watch`` of the same config, one after
the other, both into new folders. The second also makes polygons, report and STAC item; how long these
steps took is told apart, so that what is left is the machinery: request, process start, states, logs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STEPS = ("select", "predict", "stitch", "vectorize", "evaluate", "report", "describe")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--deployment", default="crop-map/demo")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if "PREFECT_API_URL" not in os.environ:
        sys.exit('PREFECT_API_URL is not set: make up, then eval "$(cat .geoseg/env)"')
    rounds = [_round(given.config.resolve(), given.deployment) for _ in range(given.rounds)]
    found = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
    for key, value in found.items():
        print(f"{key:<22} {value:6.1f} s   ({', '.join(f'{each[key]:.1f}' for each in rounds)})")
    if given.json:
        given.json.write_text(json.dumps({"rounds": rounds, "median": found}, indent=1))


def _round(config: Path, deployment: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        alone, scheduled = Path(folder) / "alone", Path(folder) / "scheduled"
        environment = {k: v for k, v in os.environ.items() if k != "GEOSEG_SCHEDULER"}
        predict = _timed(
            [sys.executable, "-m", "geoseg", "predict", str(config), "-o", str(alone)],
            environment,
        )
        program = str(Path(sys.executable).parent / "prefect")
        whole = _timed(
            [program, "deployment", "run", deployment, "--param", f"config={config}",
             "--param", f"output={scheduled}", "--watch"],
            dict(os.environ),
        )  # fmt: skip
        steps = {name: _seconds(scheduled, name) for name in STEPS}
    beside = sum(steps.values()) - steps["select"] - steps["predict"] - steps["stitch"]
    return {
        "geoseg predict": predict,
        "scheduled run": whole,
        "difference": whole - predict,
        "of it, further steps": beside,
    }


def _timed(command: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return round(time.perf_counter() - began, 2)


def _seconds(output: Path, step: str) -> float:
    path = output / "work" / f"{step}.json"
    record: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return float(record.get("seconds", 0))


if __name__ == "__main__":
    main()
