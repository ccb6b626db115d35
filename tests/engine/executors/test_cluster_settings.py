"""Where blocks are predicted: what a config says, the command line, and this machine's GPUs and cores."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from geoseg.config import ClusterConfig, RunConfig, TlsConfig
from geoseg.engine.executors import local_cluster
from geoseg.engine.executors.cluster import ClusterSettings
from geoseg.errors import ConfigError
from geoseg.io.configs import parse

LOCAL_CLUSTER = "distributed.LocalCluster"


def _run_config(section: dict[str, Any]) -> RunConfig:
    content = {"name": "x", "imagery": {"folder": "i"}, "model": {"bundle": "m"}}
    return parse({**content, "cluster": section}, Path("/area"), "x.yaml")


def test_every_key_of_the_section() -> None:
    section = {
        "class": "dask_jobqueue.SLURMCluster",
        "workers": 12,
        "concurrency": 4,
        "options": {"queue": "gpu", "cores": 8},
        "resources": {"GPU": 1},
        "tls": {"ca_file": "ca.pem", "cert": "cert.pem", "key": "/keys/key.pem"},
    }
    settings = ClusterSettings.of(_run_config(section).cluster)
    assert settings.tls is not None
    assert settings == ClusterSettings(
        workers=12,
        concurrency=4,
        class_path="dask_jobqueue.SLURMCluster",
        options={"queue": "gpu", "cores": 8},
        resources={"GPU": 1},
        tls=TlsConfig(
            ca_file=Path("/area/ca.pem"), cert=Path("/area/cert.pem"), key=Path("/keys/key.pem")
        ),
    )


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"address": "tcp://a:1", "class": LOCAL_CLUSTER}, "'address' or 'class', not both"),
        ({"address": "tcp://a:1", "workers": 2}, "the scheduler at 'address' has its own"),
        ({"options": {"n_workers": 1}}, "'options' are those of a 'class'"),
        ({"class": LOCAL_CLUSTER, "workers": 0}, "no Dask at all"),
        ({"class": "LocalCluster"}, r"cluster\.class: write module\.Class"),
        ({"class": "os.system"}, r"cluster\.class: a cluster class may come from distributed, "),
        ({"class": "distributed_evil.X"}, "from nowhere else"),
        (
            {"class": LOCAL_CLUSTER, "options": {"preload": "x.py"}},
            "'preload' makes Dask load code",
        ),
        ({"class": LOCAL_CLUSTER, "options": {"security": True}}, r"made of 'cluster\.tls'"),
        ({"threads": 2}, r"cluster\.threads: unknown key"),
        ({"concurrency": 0}, r"cluster\.concurrency.*greater than or equal to 1"),
        ({"resources": {"GPU": 0}}, r"cluster\.resources\.GPU: .*greater than 0"),
        ({"tls": {"ca_file": "ca.pem", "cert": "c.pem"}}, r"cluster\.tls\.key: missing"),
        (
            {
                "address": "tcp://a:1",
                "tls": {"ca_file": "ca.pem", "cert": "c.pem", "key": "k.pem"},
            },
            "tcp://a:1 is not encrypted.*write tls://a:1",
        ),
    ],
)
def test_mistakes_are_named(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _run_config(section)


def test_options_stay_out_of_reports() -> None:
    config = _run_config({"class": LOCAL_CLUSTER, "options": {"name": "a token"}})
    assert "a token" not in config.model_dump_json()
    assert "a token" not in repr(config)
    assert "a token" not in repr(ClusterSettings.of(config.cluster))


@pytest.mark.parametrize(
    ("section", "workers", "scheduler", "wanted"),
    [
        ({"workers": 3}, None, "", (None, 3, None)),
        ({"workers": 3}, 0, "", (None, 0, None)),
        ({"workers": 3}, None, "tcp://b:1", ("tcp://b:1", 3, None)),
        ({"address": "tcp://a:1"}, None, "", ("tcp://a:1", None, None)),
        ({"address": "tcp://a:1"}, 2, "", (None, 2, None)),
        ({"class": LOCAL_CLUSTER}, None, "", (None, None, LOCAL_CLUSTER)),
        ({"class": LOCAL_CLUSTER, "workers": 5}, 2, "", (None, 2, LOCAL_CLUSTER)),
        ({"class": LOCAL_CLUSTER}, 0, "", (None, 0, None)),
        ({"class": LOCAL_CLUSTER}, None, "tcp://b:1", ("tcp://b:1", None, None)),
    ],
)
def test_the_command_line_wins(
    section: dict[str, Any], workers: int | None, scheduler: str, wanted: tuple[Any, ...]
) -> None:
    settings = ClusterSettings.of(ClusterConfig.model_validate(section), workers, scheduler)
    assert (settings.address, settings.workers, settings.class_path) == wanted
    assert settings.dask == (wanted != (None, 0, None))


def _gpu_driver(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put an nvidia-smi of our own first on the path: the only way to have GPUs where none are."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


FOUR = 'for i in 0 1 2 3; do echo "GPU $i: NVIDIA H200 (UUID: GPU-$i)"; done'


@pytest.mark.parametrize(
    ("script", "visible", "gpus"),
    [
        (FOUR, None, ("0", "1", "2", "3")),
        (FOUR, "2,3", ("2", "3")),
        (FOUR, "GPU-1", ("GPU-1",)),
        (FOUR, "1,-1,2", ("1",)),
        (FOUR, "", ()),
        ("echo 'NVIDIA-SMI has failed'; exit 9", None, ()),
        ("echo 'No devices were found'", "0", ()),
    ],
)
def test_gpus(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    visible: str | None,
    gpus: tuple[str, ...],
) -> None:
    _gpu_driver(tmp_path, monkeypatch, script)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local_cluster.visible_gpus() == gpus
    settings = ClusterSettings.of(ClusterConfig())
    assert settings.workers == max(1, len(gpus))
    assert settings.gpus == gpus
    assert settings.concurrency == (1 if gpus else local_cluster.cores())


def test_a_gpu_has_one_lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _gpu_driver(tmp_path, monkeypatch, FOUR)
    with pytest.raises(ConfigError, match=r"cluster\.concurrency: 3 .*a GPU runs one"):
        ClusterSettings.of(ClusterConfig(concurrency=3))
    monkeypatch.setattr(local_cluster, "cores", lambda: 16)
    assert ClusterSettings.of(ClusterConfig()).threads == 4
    assert ClusterSettings.of(ClusterConfig(workers=1)).threads == 8


def test_lanes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_cluster, "visible_gpus", lambda: ())
    monkeypatch.setattr(local_cluster, "cores", lambda: 8)
    made = {n: ClusterSettings.of(ClusterConfig(workers=n)).concurrency for n in (0, 1, 3, 16)}
    assert made == {0: 8, 1: 8, 3: 2, 16: 1}
    assert ClusterSettings.of(ClusterConfig(workers=2, concurrency=3)).threads == 4
