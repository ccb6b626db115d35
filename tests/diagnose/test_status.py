"""A run's progress file, ``geoseg status`` and the metrics page: on real runs, real processes, HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from geoseg.diagnose.metrics import parse_address, serve
from geoseg.diagnose.status import find, lines, read_status
from geoseg.engine.block import part_path
from geoseg.errors import ConfigError
from geoseg.feedback import Silent
from geoseg.io import files, plain_yaml
from geoseg.pipeline import progress_file
from geoseg.pipeline.progress_file import Watched, progress_path
from geoseg.service.metrics import collectors
from tests.support.common import ROOT
from tests.support.engine_season import make_bundle, make_imagery, plan, predict_here

Geoseg = Callable[..., tuple[int, str, str]]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A run that maps a small season with a model that is there."""
    make_imagery(tmp_path / "season")
    content = {
        "name": "small",
        "imagery": {"folder": "season"},
        "model": {"bundle": str(make_bundle(tmp_path / "model"))},
        "predict": {"core": 32, "margin": 32, "block": 64, "precision": "fp32"},
        "cluster": {"workers": 0, "concurrency": 1},
    }
    path = tmp_path / "small.yaml"
    path.write_text(plain_yaml.dump(content))
    return path


def _progress(output: Path) -> dict[str, Any]:
    content = files.read_json(progress_path(output))
    assert isinstance(content, dict)
    return content


def test_a_finished_run(config: Path, geoseg: Geoseg, monkeypatch: pytest.MonkeyPatch) -> None:
    output = config.parent / "out" / "small"
    assert geoseg("predict", str(config), "-o", str(output))[0] == 0
    content = _progress(output)
    assert (content["state"], content["run"], content["pid"]) == ("finished", "small", os.getpid())
    assert set(content["seconds"]) == {"select", "predict", "stitch"}
    blocks = content["blocks"]
    assert blocks["done"] == blocks["total"] == 12
    assert (blocks["in_flight"], blocks["queued"], blocks["resumed"]) == (0, 0, 0)
    assert blocks["bytes_read"] > 12 * 64 * 64 * 2 * 2 * 2
    assert all(seconds > 0 for seconds in blocks["seconds"].values())

    code, out, _ = geoseg("status", str(output))
    assert code == 0
    assert re.search(r"small: finished after [\d.]+ s", out)
    assert "12/12 done (0 before this run)" in out
    monkeypatch.chdir(config.parent)
    code, out, _ = geoseg("status", str(config), "--json")  # the config's results are in out/NAME
    assert (code, json.loads(out)["state"]) == (0, "finished")

    assert geoseg("predict", str(config), "-o", str(output))[0] == 0
    again = _progress(output)["blocks"]
    assert (again["done"], again["resumed"], again["bytes_read"]) == (12, 12, 0)


def test_a_failed_run(config: Path, geoseg: Geoseg) -> None:
    broken = config.parent / "season/2025-06-01.tif"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    output = config.parent / "out"
    code, _, err = geoseg("predict", str(config), "-o", str(output))
    assert code == 2
    code, out, _ = geoseg("status", str(output))
    assert code == 3
    assert "failed in stage predict" in out
    assert "2025-06-01.tif" in out
    trouble = _progress(output)["blocks"]["trouble"]
    assert trouble
    assert all(entry["given_up"] for entry in trouble.values())
    assert f"{min(trouble)}" in out
    assert _progress(output)["message"] in err


def test_no_run(tmp_path: Path, geoseg: Geoseg) -> None:
    code, _, err = geoseg("status", str(tmp_path))
    assert code == 2
    assert "no run was started there" in err


RUNNING = """
import sys, time
from pathlib import Path
from geoseg.feedback import Silent
from geoseg.pipeline import progress_file
from geoseg.pipeline.progress_file import Watched
work = Path(sys.argv[1]) / "work"
work.mkdir(parents=True)
file = progress_file.of(work, "valley")
with file.stage("train"), Watched(Silent(), file).start("training", 40, "epochs") as step:
    for _ in range(4):
        step.advance()
        time.sleep(0.1)
    time.sleep(60)
"""


def test_running_then_dead(tmp_path: Path, geoseg: Geoseg) -> None:
    process = subprocess.Popen([sys.executable, "-c", RUNNING, str(tmp_path / "out")])
    try:
        _until(lambda: (files.read_json(progress_path(tmp_path / "out")) or {}).get("work"))
        time.sleep(2)
        code, out, _ = geoseg("status", str(tmp_path / "out"))
        assert code == 0
        assert "valley: running for" in out
        assert re.search(
            r"training +4/40 epochs \(10%\), [\d.]+ epochs per second, done about", out
        )
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    code, out, _ = geoseg("status", str(tmp_path / "out"))
    assert code == 3
    assert "valley: dead in stage train" in out
    assert "run the same command again" in out


def _until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("age", "host", "started", "state"),
    [
        (0, "elsewhere", 1.0, "running"),
        (60, "elsewhere", 1.0, "running"),
        (180, "elsewhere", 1.0, "dead"),
        (0, socket.gethostname(), 1.0, "dead"),  # the number of a dead process was given again
    ],
)
def test_is_it_alive(tmp_path: Path, age: int, host: str, started: float, state: str) -> None:
    import datetime as dt

    then = (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age)).isoformat()
    content = {
        "state": "running", "run": "a", "host": host, "pid": os.getpid(),
        "process_started": started, "started": then, "updated": then,
    }  # fmt: skip
    files.write_json(progress_path(tmp_path), content)
    found = read_status(tmp_path)
    assert found is not None
    assert found.state == state
    told = next(lines(found))
    assert ("is gone" in told) == (state == "dead" and host == socket.gethostname())
    assert ("is frozen" in told) == (state == "dead" and host == "elsewhere")


def test_written_at_most_once_a_second_and_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_KEY", "planted-secret")
    path = progress_path(tmp_path)
    path.parent.mkdir()
    kept = progress_file.ProgressFile(path, "a")
    progress = Watched(Silent(), kept)
    seen = set()
    began = time.monotonic()
    with progress.start("predict", 10_000, "blocks") as step:
        while time.monotonic() - began < 2.6:
            step.advance()
            progress.note({"dashboard": "http://me:planted-secret@h/status"})
            seen.add(path.stat().st_mtime_ns if path.exists() else 0)
    kept.end("failed", "no planted-secret")
    assert len(seen - {0}) == 2
    text = path.read_text()
    assert "planted" not in text
    assert json.loads(text)["dashboard"] == "http://***@h/status"
    assert not list(path.parent.glob(".*"))


def test_a_removed_folder_stays_removed(tmp_path: Path) -> None:
    kept = progress_file.ProgressFile(progress_path(tmp_path / "gone"), "a")
    kept.put({"stage": "predict"})
    kept.end("finished")
    assert not (tmp_path / "gone").exists()


def test_old_receipts_resume(tmp_path: Path) -> None:
    """Receipts are as they ever were: what a block cost is told, not kept beside its bytes."""
    job = plan(make_imagery(tmp_path / "s"), make_bundle(tmp_path / "m"), tmp_path / "work").job
    predict_here(job)
    for block in job.plan:
        receipt = json.loads(part_path(job.folder, block).with_suffix(".json").read_text())
        assert set(receipt) == {"id", "fingerprint", "pixels", "sha256"}
    assert predict_here(job).resumed == 12


def _page(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def test_metrics(config: Path, geoseg: Geoseg, tmp_path: Path) -> None:
    output = tmp_path / "runs/deep/down"
    assert geoseg("predict", str(config), "-o", str(output))[0] == 0
    with serve(collectors((tmp_path / "runs",), ()), "127.0.0.1:0") as address:
        page = _page(address)
        (tmp_path / "runs/empty/work").mkdir(parents=True)
        assert _page(address).count("geoseg_blocks_done{") == 1
    labels = f'folder="{output}",run="small"'
    assert f"geoseg_blocks_done{{{labels}}} 12.0" in page
    assert f"geoseg_blocks_queued{{{labels}}} 0.0" in page
    assert f'geoseg_run_state{{{labels},state="finished"}} 1.0' in page
    assert f'geoseg_run_state{{{labels},state="dead"}} 0.0' in page
    for name in ("geoseg_read_bytes_total", "geoseg_run_updated_timestamp_seconds"):
        found = re.search(rf"^{name}{{{re.escape(labels)}}} (\S+)$", page, re.MULTILINE)
        assert found, name
        assert float(found[1]) > 0
    spent = re.findall(r'^geoseg_block_seconds_total{.*stage="(\w+)"} (\S+)$', page, re.MULTILINE)
    assert {stage for stage, _ in spent} == {"read", "wait", "predict", "write"}
    families = list(text_string_to_metric_families(page))
    assert all(family.documentation and family.name.startswith("geoseg_") for family in families)


def test_metrics_by_command(tmp_path: Path, geoseg: Geoseg) -> None:
    command = [sys.executable, "-m", "geoseg", "metrics", str(tmp_path), "--listen"]
    process = subprocess.Popen(
        [*command, "127.0.0.1:0"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        address = re.fullmatch(r"metrics: http://(127\.0\.0\.1:\d+)/metrics\n", line)
        assert address
        assert "geoseg_runs 0.0" in _page(address[1])
    finally:
        process.terminate()
        assert process.wait(20) == 0
    code, _, err = geoseg("metrics", str(tmp_path / "none"))
    assert code == 2
    assert "is not a folder" in err


@pytest.mark.parametrize("listen", ["9108", "host:", "a:b", "h:99999", ":80"])
def test_addresses_that_are_none(listen: str) -> None:
    with pytest.raises(ConfigError, match="not HOST:PORT"):
        parse_address(listen)


def test_runs_are_found_once(tmp_path: Path) -> None:
    for name in ("a", "b/c", "a/work/inside"):
        files.write_json(
            progress_path(tmp_path / name),
            {"state": "finished", "run": name, "started": "", "updated": ""},
        )
    assert [found.content["run"] for found in find((tmp_path,))] == ["a", "b/c"]
