"""Jobs that end before the run does: real jobs of dask-jobqueue, in a queue of two shell scripts."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import dask
import pytest

from geoseg.engine.executors import replacement
from geoseg.engine.executors.cluster import ABSENT_SECONDS, QUEUE_SECONDS, ClusterSettings, connect

PROGRAMS = {
    "sbatch": '#!/bin/sh\ncp "$1" "$0.job"\nsetsid sh "$0.job" > /dev/null 2>&1 &\necho "job $!"\n',
    "scancel": '#!/bin/sh\nkill -- "-$1"\n',
}
OPTIONS = {
    "cores": 1,
    "processes": 1,
    "memory": "1GiB",
    "scheduler_options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"},
}


def settings(folder: Path) -> ClusterSettings:
    options = {**OPTIONS, "local_directory": str(folder)}
    return ClusterSettings(
        class_path="dask_jobqueue.SLURMCluster", workers=1, options=options, resources={}
    )


@pytest.fixture(autouse=True)
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue's programs come first; losses are seen at once."""
    pytest.importorskip("dask_jobqueue")
    for name, script in PROGRAMS.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(replacement, "LOOK_SECONDS", 0.2)


def test_a_job_that_is_gone_is_replaced(tmp_path: Path) -> None:
    """The whole job, nanny and all: Dask alone would wait for ever."""
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}),
        connect(settings(tmp_path)) as client,
    ):
        first = client.submit(os.getpid, pure=False).result(timeout=60)
        os.killpg(os.getsid(first), signal.SIGKILL)
        assert client.submit(os.getpid, pure=False).result(timeout=60) != first


def test_who_may_wait_for_a_queue(tmp_path: Path) -> None:
    assert settings(tmp_path).absent_seconds == QUEUE_SECONDS
    here = ClusterSettings(address="tcp://127.0.0.1:1", workers=None)
    assert here.absent_seconds == ABSENT_SECONDS
