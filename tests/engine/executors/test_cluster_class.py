"""A cluster class of the config: started, scaled, stopped, and its mistakes told."""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from distributed import KilledWorker, LocalCluster, SpecCluster

from geoseg.config import TlsConfig
from geoseg.engine.executors import cluster, cluster_class
from geoseg.engine.executors.capacity import Capacity, capacity
from geoseg.engine.executors.cluster import ClusterSettings, check, connect
from geoseg.errors import ClusterError, ConfigError
from tests.support.dask_process import die

LOCAL_CLUSTER = "distributed.LocalCluster"
SMALL = {"threads_per_worker": 1, "memory_limit": "1GiB", "dashboard_address": "127.0.0.1:0"}


def test_a_class_is_started_scaled_and_stopped(certificates: TlsConfig) -> None:
    settings = ClusterSettings(
        class_path=LOCAL_CLUSTER,
        workers=2,
        options={**SMALL, "n_workers": 1, "resources": {"GPU": 1}},
        resources={"GPU": 1},
        tls=certificates,
    )
    with connect(settings) as client:
        started = client.cluster
        assert type(started) is LocalCluster
        client.wait_for_workers(2, timeout=30)
        assert capacity(client, {"GPU": 1}) == Capacity(2, 1, 2**30)
        assert client.scheduler.address.startswith("tls://")
        with pytest.raises(KilledWorker, match="on 2 different workers"):
            client.submit(die, pure=False).result(timeout=60)
    assert started.status.name == "closed"


def test_a_class_is_stopped_after_an_error() -> None:
    started: list[LocalCluster] = []
    settings = ClusterSettings(class_path=LOCAL_CLUSTER, workers=None, options={**SMALL})
    with pytest.raises(KeyError), connect(settings) as client:
        started.append(client.cluster)
        raise KeyError
    assert started[0].status.name == "closed"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "distributed.LocalClutser",
            r"no LocalClutser in distributed; did you mean LocalCluster\?",
        ),
        ("distributed.Nothing", "cluster classes there: LocalCluster, "),
        ("distributed.Client", "is not a cluster class"),
        ("distributed.wait", "is not a cluster class"),
        ("distributed.SpecCluster", "is a base class"),
        ("distributed.deploy.cluster.Cluster", "is a base class"),
        ("distributed.depoly.LocalCluster", "No module named 'distributed.depoly'.*the spelling"),
        ("coiled.Cluster", "cannot be imported .*; pip install coiled"),
        ("antigravity.Cluster", "a cluster class may come from distributed, dask_jobqueue"),
    ],
)
def test_a_class_that_is_not_there(path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"cluster\.class: .*{message}"):
        check(ClusterSettings(class_path=path))
    assert "antigravity" not in sys.modules, "a module off the list was run"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_worker": 1}, r"LocalCluster takes no 'n_worker'; did you mean 'n_workers'\?"),
        ({**SMALL, "n_workers": "x"}, r"does not start: TypeError: .*; check 'cluster\.options'"),
        ({**SMALL, "n_workers": 1, "nthread": 1}, r"unexpected keyword argument 'nthread'"),
        ({**SMALL, "n_workers": 0}, r"comes without workers; say how many"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    settings = ClusterSettings(class_path=LOCAL_CLUSTER, workers=None, options=options)
    with pytest.raises(ConfigError, match=message), connect(settings):
        pass


class Strict(SpecCluster):
    """A cluster class with names of its own only, and no certificates."""

    def __init__(self, queue: str = "", walltime: str = "") -> None:
        raise AssertionError("never started")


def test_options_of_a_strict_class() -> None:
    cluster_class.check_options(Strict, {"queue": "long"}, tls=False)
    with pytest.raises(ConfigError, match=r"Strict takes no 'waltime'; did you mean 'walltime'\?"):
        cluster_class.check_options(Strict, {"waltime": "1:00"}, tls=False)
    with pytest.raises(ConfigError, match=r"Strict takes no 'x'; known: queue, walltime"):
        cluster_class.check_options(Strict, {"x": 1}, tls=False)
    with pytest.raises(ConfigError, match=r"Strict takes no certificates"):
        cluster_class.check_options(Strict, {}, tls=True)


def test_no_worker_of_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "QUEUE_SECONDS", 0.2)
    settings = ClusterSettings(
        class_path=LOCAL_CLUSTER, workers=0, options={**SMALL, "n_workers": 0}
    )
    message = r"has had no worker for 0\.2 s.*jobs or pods"
    with pytest.raises(ClusterError, match=message), connect(settings):
        pass


def test_a_worker_that_cannot_start() -> None:
    """Scaled up, and not at once: Dask only logs what fails then."""
    options = {**SMALL, "n_workers": 0, "nthread": 1}
    settings = ClusterSettings(class_path=LOCAL_CLUSTER, workers=1, options=options)
    message = "LocalCluster cannot start a worker: TypeError: .*'nthread'"
    with pytest.raises(ConfigError, match=message), connect(settings):
        pass


# A queue of our own: jobs start at once, in a session that scancel can end.
SBATCH = """#!/bin/sh
job="$(dirname "$0")/job.sh"
cp "$1" "$job"
setsid sh "$job" > /dev/null 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
kill -- "-$1"
"""


def test_jobs_of_a_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificates: TlsConfig
) -> None:
    """dask-jobqueue writes the job and submits it; only the queue is not SLURM's."""
    pytest.importorskip("dask_jobqueue")
    settings = ClusterSettings(
        class_path="dask_jobqueue.SLURMCluster",
        workers=1,
        options={
            "cores": 2,
            "processes": 1,
            "memory": "1GiB",
            "local_directory": str(tmp_path),
            "scheduler_options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"},
            "worker_extra_args": ["--resources", "GPU=2"],
        },
        resources={"GPU": 1},
        tls=certificates,
    )
    with monkeypatch.context() as nowhere, pytest.raises(ConfigError) as told:
        nowhere.setenv("PATH", str(tmp_path))  # whatever is installed
        connect(settings).__enter__()
    assert "cannot start a worker: FileNotFoundError" in str(told.value)
    assert "'sbatch'" in str(told.value)
    for name, script in {"sbatch": SBATCH, "scancel": SCANCEL}.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with connect(settings) as client:
        pid = client.submit(os.getpid, resources={"GPU": 1}).result(timeout=30)
        assert capacity(client, {"GPU": 1}) == Capacity(1, 2, 2**30)
        assert client.scheduler.address.startswith("tls://")
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists(), "the job outlives the run"
