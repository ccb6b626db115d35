"""docker/slurm/: the jobs that its configs make, and the worker that hands over to its successor."""

from __future__ import annotations

import os
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from geoseg.config import RunConfig
from geoseg.engine.executors import tls as certificates
from geoseg.engine.executors.cluster import ClusterSettings
from geoseg.engine.executors.cluster_class import check_options, find_class
from geoseg.io import configs
from geoseg.io.certificates import make_certificates
from tests.support.common import ROOT

SLURM = ROOT / "docker/slurm"
SCHEDULER = "tls://10.0.0.5:8786"


def area(name: str, tmp_path: Path) -> RunConfig:
    """The config, with certificates where it looks for them."""
    place = tmp_path / "area.yaml"
    place.write_text((SLURM / f"{name}.yaml").read_text())
    make_certificates(tmp_path / "keys", [], 1)
    return configs.load(place)


def job_script(settings: ClusterSettings) -> str:
    """As the cluster class would submit it, without a scheduler and its network."""
    jobs = pytest.importorskip("dask_jobqueue.slurm")
    options: dict[str, Any] = dict(settings.options)
    options.pop("scheduler_options")
    options.pop("interface")  # one of the cluster's, which is not there to be looked up
    security = certificates.security(settings.tls)
    return str(jobs.SLURMJob(SCHEDULER, name="worker-1", security=security, **options).job_script())


@pytest.mark.parametrize("name", ["area", "area-apptainer"])
def test_jobs_are_what_the_config_says(name: str, tmp_path: Path) -> None:
    settings = ClusterSettings.of(area(name, tmp_path).cluster)
    script = job_script(settings).splitlines()
    header = {line.removeprefix("#SBATCH ") for line in script if line.startswith("#SBATCH")}
    assert header == {
        "-J dask-worker", "-p gpu", "-A crops", "-n 1", "--cpus-per-task=4", "--mem=32G",
        "-t 02:00:00", "--gres=gpu:1", "-e logs/dask-worker-%J.err", "-o logs/dask-worker-%J.out",
    }  # fmt: skip
    words = shlex.split(script[-1])
    start = words.index("-m") + 1
    assert words[start : start + 2] == ["distributed.cli.dask_worker", SCHEDULER]
    given = dict(pair for pair in pairwise(words) if pair[0].startswith("--"))
    assert given["--nthreads"] == "4"
    assert given["--memory-limit"] == "32.00GiB"
    assert given["--resources"] == "GPU=4"
    assert given["--lifetime"] == "110m"
    assert given["--local-directory"] == "/tmp"
    keys = tmp_path / "keys"
    assert given["--tls-ca-file"] == str(keys / "ca.pem")
    assert given["--tls-key"] == str(keys / "client.key")
    python = words[: start - 1]
    if name == "area":
        assert len(python) == 1
    else:
        assert python == shlex.split(
            "apptainer exec --nv --containall --bind /scratch/geoseg --bind /tmp "
            "/scratch/geoseg/geoseg-gpu.sif python"
        )


@pytest.mark.parametrize("name", ["area", "area-apptainer"])
def test_the_class_knows_the_options(name: str, tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    settings = ClusterSettings.of(area(name, tmp_path).cluster)
    assert settings.class_path is not None
    check_options(find_class(settings.class_path), dict(settings.options), tls=True)
    # a worker holds as many blocks as its resource allows, and ends before SLURM ends it
    assert settings.resources == {"GPU": 1}
    assert settings.workers == 8


def test_the_variants_differ_by_the_interpreter_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    plain = area("area", tmp_path / "a").cluster.options
    packed = dict(area("area-apptainer", tmp_path / "b").cluster.options)
    assert packed.pop("python").startswith("apptainer exec --nv ")
    assert packed == plain


# --- the worker job: programs of SLURM and Prefect that write down how they were called -------

PROGRAM = """#!/bin/bash
echo "$(basename "$0") $*" >> "$CALLS"
"""
PREFECT = (
    PROGRAM
    + """
[ "$1 $2" = "worker start" ] || exit 0
echo "auth $PREFECT_API_AUTH_STRING" >> "$CALLS"
mkfifo "$CALLS.nothing"
/bin/sleep 1 & run=$!   # a flow run: a child of the worker
stop() {
    kill -0 $run 2> /dev/null && echo "stopped during the run" >> "$CALLS"
    echo "stopped" >> "$CALLS"
    exit
}
trap stop TERM
kill -USR1 $PPID
while true; do read -rt 0.1 <> "$CALLS.nothing"; done
"""
)


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def _job(home: Path) -> list[str]:
    """What was called by the job when SLURM tells it that its time ends."""
    calls = home / "calls"
    _program(home / "bin" / "sbatch", PROGRAM)
    _program(home / ".venv" / "bin" / "prefect", PREFECT)
    # the waits of minutes, in hundredths
    _program(
        home / "bin" / "sleep", '#!/bin/bash\nexec /bin/sleep "$(echo "$1" | sed "s/^/0.0/")"\n'
    )
    (home / "prefect.env").write_text("PREFECT_API_AUTH_STRING=user:secret\n")
    given = {
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "GEOSEG_HOME": str(home), "CALLS": str(calls), "SLURM_JOB_ACCOUNT": "crops",
        "SLURM_JOB_NAME": "geoseg-worker", "SLURM_JOB_PARTITION": "service",
    }  # fmt: skip
    script = str(SLURM / "prefect-worker.sbatch")
    done = subprocess.run(
        ["bash", script], env=given, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return calls.read_text().splitlines()


def test_a_worker_job_hands_over_and_lets_its_run_end(tmp_path: Path) -> None:
    calls = _job(tmp_path)
    copy = tmp_path / ".geoseg-worker-default.sbatch"
    assert copy.read_text() == (SLURM / "prefect-worker.sbatch").read_text()
    assert calls == [
        f"sbatch --job-name=geoseg-worker --account=crops --partition=service {copy}",
        "prefect work-queue resume default --pool geoseg",
        "prefect worker start --pool geoseg --work-queue default --type process --limit 1 "
        "--install-policy never",
        "auth user:secret",
        "prefect work-queue pause default --pool geoseg",
        "stopped",
    ]
