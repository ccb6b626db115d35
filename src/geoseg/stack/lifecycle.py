"""Starting and stopping the stack, and what it says of itself."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import httpx
from filelock import FileLock, Timeout

from geoseg.io.certificates import make_certificates
from geoseg.stack import orphans
from geoseg.stack.health import Health, await_health
from geoseg.stack.runs import Runs
from geoseg.stack.services import RUNNER, RUNNERS, client_environment, environment_of, services
from geoseg.stack.settings import (
    StackError,
    StackFolder,
    StackSettings,
    load,
    require_ports,
    settle,
)
from geoseg.stack.supervisor import Supervisor

Say = Callable[[str], None]
CERTIFICATE_DAYS = 3650
"""They never leave the stack's folder; running out they would stop a stack that nobody looks at."""


def up(folder: StackFolder, say: Say) -> None:
    """Start what does not run, and return when all is healthy.

    Raises ``ConfigError`` for a port that is taken and the like, ``StackError`` for a service that
    does not come up.
    """
    folder.make()
    with _alone(folder):
        supervisor = Supervisor(folder)
        settings = load(folder) if supervisor.pid else None
        if settings is None:
            settings = _prepare(folder, say)
            supervisor.start(services(folder, settings), settings)
            _await_services(folder, settings, say)
            Runs(settings).give_up("its process was gone when the stack was started")
        else:
            say(f"stack: supervisord runs already (process {supervisor.pid})")
            _await_services(folder, settings, say)
        _register(folder, settings, say)
        _start_runners(folder, settings, say)
    for line in summary(folder, settings):
        say(line)


def _prepare(folder: StackFolder, say: Say) -> StackSettings:
    """What must be there before the first process."""
    lost = orphans.members(folder)
    if lost:
        say(f"stack: stopping {len(lost)} processes that were left when their supervisord died")
        orphans.stop(lost)
    for left in (folder.socket, folder.stopped):
        left.unlink(missing_ok=True)
    settings = settle(folder, os.environ)
    _take_over(settings, say)
    require_ports(settings)
    _certificates(folder, say)
    lines = client_environment(folder, settings).items()
    text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in lines)
    folder.write(folder.environment, text)
    return settings


def _take_over(settings: StackSettings, say: Say) -> None:
    """Set what the last start was given and this one was not: at boot nobody says it again."""
    missing = settings.inherited.keys() - os.environ.keys()
    if missing:
        names = ", ".join(sorted(missing))  # never the values
        say(f"environment: {names} as at the last start; NAME= make up forgets one")
    os.environ.update({name: settings.inherited[name] for name in missing})


def _certificates(folder: StackFolder, say: Say) -> None:
    made = folder.certificates
    if all(path.is_file() for path in made.files):
        return
    for path in made.files:  # a start that was interrupted
        path.unlink(missing_ok=True)
    make_certificates(made.root, (), CERTIFICATE_DAYS)
    say(f"certificates: made in {made.root}")


def _await_services(folder: StackFolder, settings: StackSettings, say: Say) -> None:
    health = Health(folder, settings)
    last = f"dask-worker-{settings.dask_workers}"
    for service, question, what in (
        ("prefect-server", health.server, settings.api),
        ("dask-scheduler", health.scheduler, settings.scheduler),
        (last, health.dask_workers, f"{settings.dask_workers} Dask workers"),
    ):
        await_health(question, service, folder)
        say(f"{service}: healthy, {what}")


def _register(folder: StackFolder, settings: StackSettings, say: Say) -> None:
    """Work pool, deployments and automations, in a process with the stack's environment."""
    runner = next(each for each in services(folder, settings) if each.name == RUNNER)
    environment = environment_of(runner, folder)
    if os.environ.get("GEOSEG_WEBHOOK"):
        environment["GEOSEG_WEBHOOK"] = os.environ["GEOSEG_WEBHOOK"]
    command = [sys.executable, "-m", "geoseg.flows.register"]
    command += ["--runs", str(settings.runs)] if os.environ.get("GEOSEG_RUNS") else []
    done = subprocess.run(
        command, env=environment, cwd=settings.project, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise StackError(f"registration failed: {done.stderr.strip() or done.stdout.strip()}")
    for line in done.stdout.splitlines():
        say(line)


def _start_runners(folder: StackFolder, settings: StackSettings, say: Say) -> None:
    health = Health(folder, settings)
    for name in RUNNERS:
        Supervisor(folder).start_service(name)
    for name in RUNNERS:
        await_health(partial(health.runner, name), name, folder)
    await_health(health.supervised, RUNNER, folder)
    say(f"{RUNNER}: healthy, {settings.runs} maps at once")


def down(folder: StackFolder, say: Say, drain: bool = False) -> None:
    """Stop all processes of the stack; with ``drain`` only when the runs under way have ended."""
    if not folder.root.is_dir():
        say(f"stack: there is none in {folder.root}")
        return
    with _alone(folder):
        supervisor = Supervisor(folder)
        settings = load(folder) if supervisor.pid else None
        if settings:
            _stop_runs(folder, settings, say, drain)
        folder.stopped.touch()  # before the end, which somebody may be waiting for
        if settings:
            supervisor.shutdown()
        # Flow runs have process groups of their own, which supervisord does not know.
        orphans.stop(orphans.members(folder))
        say("stack: stopped")


def _stop_runs(folder: StackFolder, settings: StackSettings, say: Say, drain: bool) -> None:
    runs = Runs(settings)
    try:
        with runs.no_new_ones() if drain else nullcontext():
            if drain:
                runs.await_end(say)
            for name in RUNNERS:
                Supervisor(folder).stop_service(name)
            orphans.stop([each for each in orphans.members(folder) if orphans.is_run(each)])
        names = runs.give_up("stopped with the stack; the same run again resumes")
    except httpx.HTTPError as error:
        if drain:
            raise StackError(
                f"the Prefect server does not answer ({error}), so nobody knows which runs are under "
                "way; stop the stack without --drain"
            ) from None
        say(
            f"prefect-server: does not answer ({error}); the runs under way are given up at the next up"
        )
        return
    if names:
        say(f"runs stopped: {', '.join(names)}")


def summary(folder: StackFolder, settings: StackSettings) -> list[str]:
    """Where everything is and how to use it."""
    page = settings.api.removesuffix("/api")
    return [
        "",
        f"Prefect   {page}   log in with PREFECT_API_AUTH_STRING of {folder.environment}",
        f"Dask      {settings.scheduler}, {settings.dask_workers} workers; health: "
        f"{settings.dashboard}/health",
        f"Logs      {folder.logs}",
        "",
        "Use it:",
        f'  eval "$(cat {shlex.quote(str(folder.environment))})"',
        "  prefect deployment run 'crop-map/demo' --watch",
        "Look for new imagery every 5 minutes (off at first):",
        "  python -m geoseg.flows.schedule on --service configs/service.yaml",
        "Stop it: make down, or 'python -m geoseg.stack down --drain' to let runs end first",
    ]


def status(folder: StackFolder) -> tuple[list[str], bool]:
    """A line for each service, and whether all is well."""
    settings, found = load(folder), Supervisor(folder).processes()
    if settings is None or not found:
        return [f"stack: does not run ({folder.root}); 'make up' starts it"], False
    health = Health(folder, settings)
    questions = {"prefect-server": health.server, "dask-scheduler": health.scheduler}
    questions |= {name: partial(health.runner, name) for name in RUNNERS}
    problems = {name: question() for name, question in questions.items()}
    lines = [
        f"{each.name:20} {each.state:9} {each.pid or '':>7}  {problems.get(each.name, '')}".rstrip()
        for each in found
    ]
    missing = health.dask_workers()
    lines += [f"Dask workers: {missing}"] if missing else []
    return lines, not (missing or any(problems.values()) or health.supervised())


@contextmanager
def _alone(folder: StackFolder) -> Iterator[None]:
    """Keep others from starting or stopping the same stack meanwhile."""
    try:
        with FileLock(folder.lock, timeout=0, preserve_lock_file=True):
            yield
    except Timeout:
        raise StackError(
            f"{folder.root}: somebody else is starting or stopping this stack; wait for it to end"
        ) from None
