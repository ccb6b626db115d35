"""The processes of a stack: the command and the environment of each."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from geoseg.config import ClusterConfig
from geoseg.engine.executors.cluster import ClusterSettings
from geoseg.engine.executors.local_cluster import blame
from geoseg.model.memory import ENVIRONMENT as KEEP_MEMORY
from geoseg.stack.settings import LOOPBACK, StackFolder, StackSettings, server_database

POOL = "geoseg"
RUNNER, POLLER = "prefect-worker", "prefect-worker-polls"
"""The Prefect workers. A run whose process is frozen keeps its place in its worker, even when Prefect has
given it up: polls have a worker of their own, and wait for no map."""
RUNNERS = (RUNNER, POLLER)
POLLS_AT_ONCE = 2
"""One that hangs does not keep the next from looking."""
MARK = "GEOSEG_STACK_MEMBER"
"""Set in every process of a stack, and inherited by all it starts: what ``down`` may stop."""
DASK_MEMORY = 0.8
"""Share of the machine's memory for all Dask workers together."""
POLL_SECONDS = 2
HEARTBEAT_SECONDS = 30
_OURS = ("PREFECT_API_", "PREFECT_SERVER_", "PREFECT_PROFILE", "PREFECT_HOME", "PREFECT_UI_")


@dataclass(frozen=True)
class Service:
    """One process that is kept running."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    """What it gets beyond ``inherited``."""
    prefect: bool = False
    """Whether it is one of Prefect's; the others are not told how to reach it."""
    registered: bool = False
    """Whether it can only start when work pool and deployments are there."""


def services(folder: StackFolder, settings: StackSettings) -> tuple[Service, ...]:
    """All of a stack, in the order of their start."""
    return (
        _server(folder, settings),
        _scheduler(folder, settings),
        *_workers(folder, settings),
        # The one more is for a training: how many maps there are at once is for their queue to say.
        _runner(RUNNER, ("default", "trainings"), settings.runs + 1, folder, settings),
        _runner(POLLER, ("polls",), POLLS_AT_ONCE, folder, settings),
    )


def client_environment(folder: StackFolder, settings: StackSettings) -> dict[str, str]:
    """What a Prefect client and a run need to use the stack."""
    tls = folder.certificates
    return {
        "PREFECT_API_URL": settings.api,
        "PREFECT_API_AUTH_STRING": settings.login,
        "GEOSEG_SCHEDULER": settings.scheduler,
        "GEOSEG_TLS_CA": str(tls.authority),
        "GEOSEG_TLS_CERT": str(tls.certificate("client")),
        "GEOSEG_TLS_KEY": str(tls.key("client")),
    }


def environment_of(service: Service, folder: StackFolder) -> dict[str, str]:
    """The whole environment of a service's process: this one's without other Prefects, and its own."""
    dropped = _OURS if service.prefect else (*_OURS, "PREFECT_")
    secret = ("GEOSEG_DATABASE", "GEOSEG_WEBHOOK")
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(dropped) and name not in secret
    }
    return {**inherited, **service.environment, MARK: str(folder.root)}


def _python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *arguments)


def _server(folder: StackFolder, settings: StackSettings) -> Service:
    page = f"http://{LOOPBACK}:{settings.prefect_port}"
    environment = {
        "PREFECT_HOME": str(folder.prefect),
        "PREFECT_SERVER_API_AUTH_STRING": settings.login,
        # Its own services call it too.
        "PREFECT_API_AUTH_STRING": settings.login,
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": f"{page},http://localhost:{settings.prefect_port}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # The newer page asks a third party for its settings, analytics or not; this one asks nobody else.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        # With both, `--watch` shows what a run says, and last why it failed.
        "PREFECT_SERVER_LOGS_STREAM_OUT_ENABLED": "true",
        "PREFECT_SERVER_LOGS_STREAM_PUBLISHING_ENABLED": "true",
        "PREFECT_UI_URL": page,
        # What the browser calls; else it is the default port.
        "PREFECT_SERVER_UI_API_URL": settings.api,
    }
    if settings.database:
        url = server_database(settings.database)
        environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = url
    port = str(settings.prefect_port)
    command = _python("prefect", "server", "start", "--host", LOOPBACK, "--port", port)
    return Service("prefect-server", command, environment, prefect=True)


def _scheduler(folder: StackFolder, settings: StackSettings) -> Service:
    command = _python(
        "dask", "scheduler", "--host", LOOPBACK, "--port", str(settings.dask_port),
        "--dashboard-address", f"{LOOPBACK}:{settings.dashboard_port}", "--protocol", "tls",
        *_certificates(folder, "scheduler"),
    )  # fmt: skip
    failures = str(blame()["allowed_failures"])
    return Service(
        "dask-scheduler", command, {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": failures}
    )


def _workers(folder: StackFolder, settings: StackSettings) -> list[Service]:
    """Dask workers that share cores and GPUs of this machine without fighting for them."""
    shape = ClusterSettings.of(ClusterConfig(), workers=settings.dask_workers)
    share = DASK_MEMORY / settings.dask_workers
    made = []
    for number in range(settings.dask_workers):
        command = _python(
            "dask", "worker", settings.scheduler, "--host", LOOPBACK, "--protocol", "tls",
            "--nthreads", str(shape.threads), "--memory-limit", f"{share:.3f}",
            # The little web server for /health is there in any case, and else on all interfaces.
            "--no-dashboard", "--dashboard-address", f"{LOOPBACK}:0",
            "--local-directory", str(folder.root / "dask"), "--death-timeout", "60",
            *(("--resources", f"GPU={shape.threads}") if shape.gpus else ()),
            *_certificates(folder, "worker"),
        )  # fmt: skip
        gpu = {"CUDA_VISIBLE_DEVICES": shape.gpus[number % len(shape.gpus)]} if shape.gpus else {}
        made.append(Service(f"dask-worker-{number + 1}", command, {**_WORKER, **gpu}))
    return made


_WORKER = {
    # A block has its own memory plan and keeps what it once had: spilling frees nothing, and a pause
    # would never end. A worker is only restarted, at 95 % of its share.
    "DASK_DISTRIBUTED__WORKER__MEMORY__TARGET": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__SPILL": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "False",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    **KEEP_MEMORY,
}


def _certificates(folder: StackFolder, role: str) -> tuple[str, ...]:
    tls = folder.certificates
    return (
        "--tls-ca-file", str(tls.authority), "--tls-cert", str(tls.certificate(role)),
        "--tls-key", str(tls.key(role)),
    )  # fmt: skip


def _runner(
    name: str, queues: tuple[str, ...], limit: int, folder: StackFolder, settings: StackSettings
) -> Service:
    """A Prefect worker, which starts a process for each run of its queues."""
    command = _python(
        "prefect", "--no-prompt", "worker", "start", "--pool", POOL, "--type", "process",
        *(word for queue in queues for word in ("--work-queue", queue)),
        "--limit", str(limit), "--name", name, "--install-policy", "never",
        "--no-create-pool-if-not-found",
    )  # fmt: skip
    environment = {
        **client_environment(folder, settings),
        "PREFECT_HOME": str(folder.prefect),
        "PREFECT_UI_URL": f"http://{LOOPBACK}:{settings.prefect_port}",
        # A flow that dies together with its worker is found by its missing heartbeats.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "PREFECT_WORKER_QUERY_SECONDS": str(POLL_SECONDS),
        # For each run it makes two clients, each with a TLS context of its own, though the server is
        # reached without TLS. With one certificate instead of certifi's 117 each takes 0.7 MB and
        # 22 ms less, which a worker would gather by the dozen until Python collects them.
        "PREFECT_API_SSL_CERT_FILE": str(folder.certificates.authority),
    }
    if settings.database:  # the ledger may be there too
        environment["GEOSEG_DATABASE"] = settings.database
    return Service(name, command, environment, prefect=True, registered=True)
