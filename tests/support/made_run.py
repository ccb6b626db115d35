"""A small run that was really predicted, for tests of what comes after; and S3 served by moto."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geoseg.io import files, plain_yaml
from geoseg.pipeline.describe import describe_products
from geoseg.pipeline.evaluate import evaluate_map
from geoseg.pipeline.predict import predict_blocks
from geoseg.pipeline.report import write_reports
from geoseg.pipeline.run import Run, RunFolder
from geoseg.pipeline.select import select_scenes
from geoseg.pipeline.stitch import finish_map
from geoseg.pipeline.vectorize import vectorize_map
from tests.support.engine_season import make_bundle, make_imagery

TESTS = Path(__file__).parent


def make_run(folder: Path) -> Run:
    """Imagery, a model of random weights and a finished run in ``folder/out``."""
    make_imagery(folder / "images")
    config = {
        "name": "small",
        "title": "A small «map»",
        "imagery": {"folder": str(folder / "images")},
        "model": {"bundle": str(make_bundle(folder / "bundle"))},
        "predict": {"core": 64, "margin": 32, "block": 64, "precision": "fp32"},
        "cluster": {"workers": 0},
    }
    (folder / "small.yaml").write_text(plain_yaml.dump(config))
    run = Run.open(folder / "small.yaml", folder / "out")
    select_scenes(run)
    predict_blocks(run)
    finish_map(run)
    vectorize_map(run)
    evaluate_map(run)
    write_reports(run)
    describe_products(run)
    return run


KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

_SERVER = """
import sys
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
app = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", 0, app)  # one request at a time: moto does not lock
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def s3_server() -> Iterator[str]:
    """moto's server in a process of its own, on a port that the system picks; yields its URL."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **KEYS},
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def light(run: Run) -> Run:
    """The run without its model among the products, which is most of their bytes."""
    item = json.loads(run.folder.item.read_text("utf-8"))
    item["assets"] = {k: v for k, v in item["assets"].items() if not k.startswith("model")}
    run.folder.item.write_text(json.dumps(item), encoding="utf-8")
    return run


def variant(run: Run, folder: Path) -> Run:
    """The same run in another folder, with other bytes in its report."""
    shutil.copytree(run.folder.root, folder)
    path = folder / "report.md"
    path.write_text(path.read_text("utf-8") + "\nwritten another time\n", encoding="utf-8")
    other = Run(run.config, RunFolder(folder, run.folder.name))
    item = json.loads(other.folder.item.read_text("utf-8"))
    item["assets"]["report_md"] |= {
        "file:size": path.stat().st_size,
        "file:checksum": "1220" + files.sha256(path),
    }
    other.folder.item.write_text(json.dumps(item), encoding="utf-8")
    return other
