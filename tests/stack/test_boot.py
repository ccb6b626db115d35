"""The stack started at boot: in the foreground, with the settings of before, and by a real systemd."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess

import psutil
import pytest

from geoseg.errors import ConfigError
from geoseg.stack import boot, lifecycle, orphans
from geoseg.stack.inherited import inherited
from geoseg.stack.settings import StackError, StackFolder, settle
from geoseg.stack.supervisor import Supervisor
from geoseg.stack.unit import unit
from tests.support.common import ROOT
from tests.support.postgres import free_port
from tests.support.stack_process import StackProcess, clean_environment, wait_for

SECRET = "SeCrEt-3e9a"
USER_SYSTEMD = """
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
systemd --user --unit=basic.target &
wait
"""
"""A user's systemd in namespaces of its own, where it is not process 1: that would be the machine's."""
NAMESPACES = ("unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackFolder:
    """A stack's folder with a blank in its name."""
    monkeypatch.chdir(ROOT)
    made = StackFolder(tmp_path / "a stack")
    made.make()
    return made


def test_what_runs_need_is_kept(folder: StackFolder) -> None:
    given = {
        "GEOSEG_ROOTS": "/data", "GEOSEG_LEDGER": SECRET, "AWS_PROFILE": "maps", "https_proxy": "p:1",
        "PGPASSWORD": SECRET, "TMPDIR": "/scratch", "DASK_LOGGING__DISTRIBUTED": "info",
    }  # fmt: skip
    own = {
        "GEOSEG_STATE": "s", "GEOSEG_DATABASE": "postgresql://h/d", "GEOSEG_WEBHOOK": "w",
        "GEOSEG_RUNS": "3", "GEOSEG_DASK_PORT": "9786", "GEOSEG_DASK_WORKERS": "1",
        "GEOSEG_SCHEDULER": "a", "GEOSEG_TLS_KEY": "k", "GEOSEG_STACK_MEMBER": "m",
        "PREFECT_API_URL": "u", "PATH": "/bin", "HOME": "/root", "PYTHONPATH": "p",
    }  # fmt: skip
    assert settle(folder, {**given, **own}).inherited == given
    assert SECRET not in repr(settle(folder, {}))
    assert settle(folder, {}).inherited == given
    assert folder.settings.stat().st_mode & 0o777 == 0o600


def test_the_environment_wins_and_nothing_forgets() -> None:
    last = {"GEOSEG_ROOTS": "/data", "GEOSEG_LOG": "json"}
    found = inherited({"GEOSEG_ROOTS": "/other", "GEOSEG_LOG": ""}, last)
    assert found == {"GEOSEG_ROOTS": "/other"}


def test_credentials_go_together() -> None:
    last = {"AWS_ACCESS_KEY_ID": "old", "AWS_SECRET_ACCESS_KEY": "old", "GEOSEG_ROOTS": "/data"}
    profile = {"AWS_PROFILE": "maps"}
    assert inherited(profile, last) == {**profile, "GEOSEG_ROOTS": "/data"}
    passing = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c"}
    assert inherited({**passing, "AWS_REGION": "r"}, {}) == {"AWS_REGION": "r"}


@pytest.mark.parametrize("name", ["\0geoseg-{}", "{}/notify"])
def test_systemd_is_told(name: str, tmp_path: Path) -> None:
    address = name.format(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        boot._notify(address.replace("\0", "@"), "READY=1")
        assert systemd.recv(100) == b"READY=1"
    boot._notify("", "READY=1")  # without systemd nothing happens


def test_an_end_that_was_wanted(folder: StackFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """``down`` of another process leaves a mark, and the next start takes it away."""
    with subprocess.Popen(["sleep", "600"]) as supervisord:
        monkeypatch.setattr(Supervisor, "pid", supervisord.pid)
        threading.Timer(0.5, supervisord.kill).start()
        with pytest.raises(
            StackError, match=rf"{supervisord.pid}\) is gone, and nobody said 'down'"
        ):
            boot._await_end(folder)
    monkeypatch.setattr(Supervisor, "pid", None)
    lifecycle.down(folder, print)
    boot._await_end(folder)
    monkeypatch.setattr(lifecycle, "require_ports", lambda _: None)
    lifecycle._prepare(folder, print)
    assert not folder.stopped.exists()


@pytest.mark.parametrize("user", [None, ""], ids=["user", "machine"])
def test_systemd_accepts_the_unit(user: str | None, folder: StackFolder, tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    settings = settle(folder, {"GEOSEG_LEDGER": SECRET})
    text = unit(folder, user)
    assert f'"GEOSEG_STATE={folder.root}"' in text
    assert ("User=" in text) == (user is not None)
    assert not any(secret in text for secret in (SECRET, settings.password))
    file = tmp_path / "geoseg.service"
    file.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *(["--user"] if user is None else []), str(file)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    # A key that it does not know is no error for it.
    assert (done.returncode, str(file) in done.stderr) == (0, False), done.stderr


def test_mistakes_in_a_unit(folder: StackFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no user 'nobody-here'; name the one whom"):
        unit(folder, "nobody-here")
    assert "ProtectSystem=no" in unit(StackFolder(Path("/usr/local/geoseg")), "root")
    monkeypatch.chdir(folder.root)
    with pytest.raises(ConfigError, match=r"no prefect\.yaml here"):
        unit(folder)


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackProcess]:
    """A stack of one Dask worker that does not run; nothing of it does in the end."""
    names = ("GEOSEG_PREFECT_PORT", "GEOSEG_DASK_PORT", "GEOSEG_DASHBOARD_PORT")
    ports = {name: str(free_port()) for name in names}
    made = StackProcess(tmp_path_factory.mktemp("b"), own={**ports, "GEOSEG_DASK_WORKERS": "1"})
    try:
        yield made
    finally:
        made.control("down", check=False)
        orphans.stop(made.members())


@contextmanager
def _running(stack: StackProcess, **more: str) -> Iterator[subprocess.Popen[str]]:
    """``run`` in a process of its own, healthy."""
    with (stack.root / "run.log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "geoseg.stack", "run"], cwd=stack.project, text=True,
            env={**clean_environment(), "GEOSEG_STATE": str(stack.root), **stack.own, **more},
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            wait_for(lambda: "Stop it:" in _log(stack) or process.poll() is not None, 280)
            assert process.poll() is None, _log(stack) + stack.logs()
            yield process
        finally:
            process.kill()
            process.wait()


def _log(stack: StackProcess) -> str:
    return (stack.root / "run.log").read_text()


def _supervisord(stack: StackProcess) -> int:
    return int((stack.root / "supervisord.pid").read_text())


@pytest.mark.flow
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_in_the_foreground(stack: StackProcess) -> None:
    """Its supervisord is killed; started again, with less in its environment, it is told to stop."""
    with _running(stack, GEOSEG_ROOTS=f"{ROOT}:/tmp") as process:
        assert stack.healthy()
        before = stack.members()
        os.kill(_supervisord(stack), signal.SIGKILL)
        assert process.wait(20) == 2
        assert "is gone, and nobody said 'down'" in _log(stack)

    with _running(stack) as process:
        assert "were left when their supervisord died" in _log(stack)
        assert not any(each.is_running() for each in before)
        assert stack.healthy()
        assert "environment: GEOSEG_ROOTS" in _log(stack)
        assert {each.environ()["GEOSEG_ROOTS"] for each in stack.members()} == {f"{ROOT}:/tmp"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0, _log(stack)
        assert "told to stop" in _log(stack)
        assert not stack.members()


@pytest.mark.flow
@pytest.mark.slow
def test_told_to_stop_while_it_starts(stack: StackProcess) -> None:
    with (stack.root / "run.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "geoseg.stack", "run"], cwd=stack.project,
            env={**clean_environment(), "GEOSEG_STATE": str(stack.root), **stack.own},
            stdout=log, stderr=log,
        )  # fmt: skip
    wait_for((stack.root / "supervisord.pid").exists, 60)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, _log(stack)
    assert not stack.members()


@contextmanager
def _systemd(folder: Path, text: str) -> Iterator[Callable[..., CompletedProcess[str]]]:
    """A user's systemd that knows the unit ``geoseg`` and no other; ``systemctl`` that asks it."""
    units, runtime = folder / "units", folder / "run"
    for each in (units, runtime):
        each.mkdir(mode=0o700)
    for name in ("basic.target", "shutdown.target"):
        (units / name).write_text("[Unit]\nDefaultDependencies=no\n")
    spoken = f"[Service]\nStandardOutput=append:{folder / 'log'}\nStandardError=inherit\n"
    (units / "geoseg.service").write_text(text.replace("[Service]\n", spoken))
    places = {"SYSTEMD_UNIT_PATH": units, "XDG_RUNTIME_DIR": runtime, "HOME": folder}
    env = {**clean_environment(), **{name: str(place) for name, place in places.items()}}

    def systemctl(*words: str) -> CompletedProcess[str]:
        # It answers only to what is in its namespaces.
        (first,) = psutil.Process(manager.pid).children()
        inside = ["nsenter", "--target", str(first.pid), "--mount", "--pid"]
        command = [*inside, "systemctl", "--user", *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    with (folder / "log").open("w") as log:
        command = [*NAMESPACES, "sh", "-c", USER_SYSTEMD]
        manager = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        wait_for((runtime / "systemd" / "private").exists, 20)
        yield systemctl
    finally:
        manager.kill()
        manager.wait()


def _no_systemd() -> str:
    """Why none can be started here; empty where one can."""
    if not all(map(shutil.which, ("systemd", "systemctl", "unshare", "nsenter"))):
        return "no systemd here"
    if os.getuid() or subprocess.run([*NAMESPACES, "true"], check=False).returncode:
        return "wants root, for namespaces of its own"
    return ""


@pytest.mark.flow
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_under_systemd(
    stack: StackProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started with what an ``up`` before it had kept."""
    if reason := _no_systemd():
        pytest.skip(reason)
    monkeypatch.chdir(stack.project)
    settle(stack.folder, {**stack.own, "GEOSEG_ROOTS": f"{ROOT}:/tmp"})
    with _systemd(tmp_path, unit(stack.folder)) as systemctl:

        def state() -> str:
            return systemctl("show", "geoseg", "-P", "ActiveState").stdout.strip()

        started = systemctl("start", "geoseg")
        assert started.returncode == 0, started.stderr + (tmp_path / "log").read_text()
        assert stack.healthy()
        members = stack.members()
        assert {each.environ()["GEOSEG_ROOTS"] for each in members} == {f"{ROOT}:/tmp"}
        assert not any("NOTIFY_SOCKET" in each.environ() for each in members)

        next(each for each in members if "supervisor.supervisord" in each.cmdline()).kill()
        wait_for(lambda: state() == "activating", 20)
        assert not [each for each in members if each.is_running()]
        wait_for(lambda: state() == "active", 280)
        assert stack.healthy()

        assert systemctl("stop", "geoseg").returncode == 0
        assert (state(), stack.members()) == ("inactive", [])
