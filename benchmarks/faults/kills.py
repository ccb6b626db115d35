"""Faults of processes: killed, interrupted or stopped at a random moment of a run."""

from __future__ import annotations

import os
import signal
import time

import psutil

from benchmarks.faults import processes
from benchmarks.faults.dask_cluster import dask_cluster
from benchmarks.faults.season import BLOCKS
from benchmarks.faults.trial import Trial

KILLED = -signal.SIGKILL
QUICK = 15
"""Seconds in which a run has to end that was told to, or that has nobody left to wait for."""
NOBODY = 60
"""The same where a worker could still come back."""


def local_worker(trial: Trial) -> None:
    """A Dask worker on this machine: its nanny starts another, the run ends well by itself."""
    trial.start("predict", "--workers", "2")
    trial.moment()
    trial.kill(trial.chance.choice(processes.workers_below(trial.run)))
    trial.end(0)


def process(trial: Trial) -> None:
    """``geoseg predict`` with threads of its own."""
    trial.start("predict", "--workers", "0")
    trial.moment()
    trial.kill(psutil.Process(trial.run.pid))
    trial.end(KILLED)
    trial.resume()


def stitching(trial: Trial) -> None:
    """``geoseg predict`` when all blocks are done and the rasters are written."""
    trial.start("predict", "--workers", "0")
    trial.moment(BLOCKS, BLOCKS)
    processes.until(lambda: list(trial.output.glob(".*")), QUICK)
    trial.kill(psutil.Process(trial.run.pid))
    trial.end(KILLED)
    trial.resume()


def process_with_workers(trial: Trial) -> None:
    """``geoseg predict --workers 2`` and all its children at once."""
    trial.start("predict", "--workers", "2")
    trial.moment()
    trial.kill(psutil.Process(trial.run.pid), *processes.below(trial.run))
    trial.end(KILLED)
    trial.resume()


def process_without_workers(trial: Trial) -> None:
    """``geoseg predict --workers 2`` alone: its children are to notice."""
    trial.start("predict", "--workers", "2")
    trial.moment()
    trial.kill(psutil.Process(trial.run.pid))
    trial.end(KILLED)
    trial.see_no_orphan()
    trial.resume()


def flow(trial: Trial) -> None:
    """The flow process of ``geoseg run``: Prefect server and workers are its children."""
    trial.env["PREFECT_HOME"] = str(trial.folder / "prefect")
    trial.start("run")
    trial.moment()
    children = processes.below(trial.run)
    trial.kill(psutil.Process(trial.run.pid))
    trial.end(KILLED)
    # Prefect's temporary server does not notice, and nothing of ours runs in it.
    server = [child for child in children if "prefect.server" in processes.command(child)]
    trial.see_no_orphan(besides=server)
    processes.kill(*server)
    trial.resume()


def remote_worker(trial: Trial) -> None:
    """One of two workers of a scheduler, nanny and all: the other one finishes."""
    with dask_cluster(trial, workers=2) as cluster:
        trial.start("predict", "--scheduler", cluster.address)
        trial.moment()
        trial.kill(*cluster.family(trial.chance.randrange(2)))
        trial.end(0)


def every_remote_worker(trial: Trial) -> None:
    """All workers of a scheduler: nobody is left, and the run says so."""
    with dask_cluster(trial, workers=1) as cluster:
        trial.start("predict", "--scheduler", cluster.address)
        trial.moment()
        trial.kill(*cluster.family(0))
        trial.end(2, "no worker.*run the same command", within=NOBODY + QUICK)
        cluster.start_worker()
        trial.resume()


def scheduler(trial: Trial) -> None:
    """``dask scheduler``: the run ends soon, and resumes with another at the same address."""
    with dask_cluster(trial, workers=1) as cluster:
        trial.start("predict", "--scheduler", cluster.address)
        trial.moment()
        trial.kill(psutil.Process(cluster.scheduler.pid))
        trial.end(2, "scheduler went away.*run the same command", within=QUICK)
        cluster.stop()
        cluster.start_scheduler()
        cluster.start_worker()
        trial.resume()


def interrupt(trial: Trial) -> None:
    """Ctrl-C: a terminal sends it to the whole group of processes."""
    _tell(trial, signal.SIGINT, 130, "interrupted; the same command resumes")


def terminate(trial: Trial) -> None:
    """SIGTERM, what service managers and batch systems send first."""
    _tell(trial, signal.SIGTERM, -signal.SIGTERM, "")


def _tell(trial: Trial, what: signal.Signals, code: int, says: str) -> None:
    workers = trial.chance.choice(("0", "2"))
    trial.start("predict", "--workers", workers)
    trial.moment()
    if what is signal.SIGINT:
        os.killpg(trial.run.pid, what)
    else:
        trial.run.send_signal(what)
    trial.end(code, says, within=QUICK)
    trial.see_no_orphan()
    trial.resume()


def stopped_worker(trial: Trial) -> None:
    """A worker stands still for 10 s and goes on: the run ends well by itself."""
    trial.start("predict", "--workers", "2")
    trial.moment()
    victim = trial.chance.choice(processes.workers_below(trial.run))
    victim.send_signal(signal.SIGSTOP)
    time.sleep(10)
    victim.send_signal(signal.SIGCONT)
    trial.end(0)
