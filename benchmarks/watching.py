"""What watching costs: a poll of many areas with nothing new, and the ledger's claims.

python -m benchmarks.watching --areas 200 --images 12 [--ledger postgresql+psycopg://...]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from geoseg.feedback import Silent
from geoseg.io import configs, plain_yaml
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.poll import poll
from tests.support.service_season import Runs, describe_model, image


def make(folder: Path, areas: int, images: int, ledger: str | None) -> Path:
    """A service whose areas have an image in each slot."""
    days = [f"2025-{1 + n % 12:02d}-{1 + n // 12:02d}" for n in range(images)]
    describe_model(folder / "model", tuple(days))
    run: dict[str, Any] = {
        "name": "area",
        "imagery": {"band_names": ["red", "nir"]},
        "model": {"bundle": "model"},
    }
    (folder / "run.yaml").write_text(plain_yaml.dump(run))
    season = {"start": "2025-01-01", "end": "2025-12-31", "slots": sorted(days), "tolerance": 0}
    content: dict[str, Any] = {
        "work": "work",
        "ledger": ledger,
        "publish": {"destination": "maps"},
        "areas": {},
    }
    for number in range(areas):
        name = f"area-{number}"
        for day in days:
            image(folder / "drop" / name / f"{day}.tif", seed=number)
        drop = {"folder": f"drop/{name}", "settle": 0}
        content["areas"][name] = {"run": "run.yaml", "season": season, "drop": drop}
    path = folder / "service.yaml"
    path.write_text(plain_yaml.dump(content))
    return path


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--areas", type=int, default=200)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--claims", type=int, default=500)
    parser.add_argument("--ledger", help="URL of an empty database; a SQLite file by default")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        service = configs.load_service(make(place, given.areas, given.images, given.ledger))
        with Ledger.open(service) as ledger:
            for what in ("everything new", "nothing new", "nothing new"):
                began = time.perf_counter()
                record = poll(service, ledger, Runs(place / "runs"), Silent())
                seconds = time.perf_counter() - began
                claimed = record.get("claimed", 0)
                print(f"{what}: {seconds:.2f} s, {record['seen']} seen, {claimed} claimed")
            began = time.perf_counter()
            for number in range(given.claims):
                ledger.claim("area-0", "2030", f"{number:064x}", (), place, place)
            rate = given.claims / (time.perf_counter() - began)
            print(f"claims: {rate:.0f} a second (each supersedes the one before)")


if __name__ == "__main__":
    main()
