"""The local stack for real: who gets in, what listens, what comes back after kill -9, what is left."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from distributed import Client

from geoseg.config import TlsConfig
from geoseg.engine.executors.tls import security
from geoseg.flows.automations import NEVER_BEGUN
from geoseg.flows.register import POOL
from geoseg.io.certificates import make_certificates
from tests.support.chromium import PROGRAM, browser
from tests.support.common import ROOT
from tests.support.postgres import free_port
from tests.support.stack_process import (
    DATABASE_PASSWORD,
    StackProcess,
    clean_environment,
    running_stack,
    wait_for,
)

pytestmark = [pytest.mark.flow, pytest.mark.slow]

SERVICES = (
    "prefect-server", "prefect-worker", "prefect-worker-polls", "dask-scheduler", "dask-worker-1",
    "dask-worker-2",
)  # fmt: skip
SLEEPER = '''
import time
from prefect import flow

@flow(name="sleeper")
def sleeper(seconds: float = 600, fail: str = "") -> None:
    """For tests."""
    time.sleep(seconds)
    if fail:
        raise ValueError(fail)
'''
PROJECT = """
deployments:
  - name: test
    entrypoint: sleeper.py:sleeper
    work_pool: {name: geoseg, work_queue_name: default}
    schedules: [{slug: yearly, interval: 31536000, active: false}]
  - name: look
    entrypoint: sleeper.py:sleeper
    work_pool: {name: geoseg, work_queue_name: polls}
  - name: training
    entrypoint: sleeper.py:sleeper
    work_pool: {name: geoseg, work_queue_name: trainings}
  - name: gone
    entrypoint: not_there.py:flow
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackProcess]:
    """A stack with the project's deployments, and a flow that only sleeps."""
    with running_stack(tmp_path_factory.mktemp("s")) as found:
        found.project = _project(tmp_path_factory.mktemp("project"))
        _register(found)
        yield found


def _project(folder: Path) -> Path:
    (folder / "sleeper.py").write_text(SLEEPER)
    (folder / "prefect.yaml").write_text(PROJECT)
    return folder


def _register(stack: StackProcess, **environment: str) -> str:
    done = stack.run("python", "-m", "geoseg.flows.register", **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _start(stack: StackProcess, **parameters: str) -> str:
    """A run of the sleeper, begun; its id."""
    assert stack.deploy("sleeper/test", watch=False, **parameters).returncode == 0
    wait_for(lambda: _sleepers(stack, "RUNNING"))
    return str(_sleepers(stack, "RUNNING")[0]["id"])


def _begun(stack: StackProcess, deployment: str, **parameters: str) -> str:
    """A run of the deployment that was asked for; its id."""
    done = stack.deploy(deployment, watch=False, **parameters)
    assert done.returncode == 0, done.stdout + done.stderr
    return re.search(r"UUID: (\S+)", done.stdout).group(1)  # type: ignore[union-attr]


def _running(stack: StackProcess, deployment: str, **parameters: str) -> str:
    run = _begun(stack, deployment, **parameters)
    wait_for(lambda: _state(stack, run)[0] == "RUNNING")
    return run


def _heard(stack: StackProcess, run: str) -> bool:
    """Whether the run's second heartbeat has come. The server may learn that it runs after the
    first, takes that for the sign of life it waited for, and waits for no other until the second."""
    asked = {
        "event": {"name": ["prefect.flow-run.heartbeat"]},
        "resource": {"id": [f"prefect.flow-run.{run}"]},
    }
    return len(stack.api("events/filter", {"filter": asked})["events"]) >= 2


def _sleepers(stack: StackProcess, state: str) -> list[dict[str, object]]:
    wanted = {"flow_runs": {"state": {"type": {"any_": [state]}}}}
    return list(stack.api("flow_runs/filter", wanted))


def _state(stack: StackProcess, run: str) -> tuple[str, str]:
    state = stack.api(f"flow_runs/{run}", method="GET")["state"]
    return str(state["type"]), str(state["message"])


def test_up_again_changes_nothing(stack: StackProcess) -> None:
    before = {name: stack.service(name).pid for name in SERVICES}
    assert stack.healthy()
    done = stack.control("up")
    assert "runs already" in done.stdout
    assert {name: stack.service(name).pid for name in SERVICES} == before


def test_another_stack_on_its_ports_is_told_so(stack: StackProcess, tmp_path: Path) -> None:
    other = StackProcess(tmp_path / "o", stack.project, stack.own)
    done = other.control("up", check=False)
    assert done.returncode == 2
    port = stack.own["GEOSEG_PREFECT_PORT"]
    assert f"GEOSEG_PREFECT_PORT: port {port} of 127.0.0.1 is taken" in done.stderr
    assert not other.members()


def test_nobody_gets_in_without_the_password(stack: StackProcess) -> None:
    url = f"{stack.settings.api}/flow_runs/filter"
    assert httpx.post(url, json={}).status_code == 401
    assert httpx.post(url, json={}, auth=("geoseg", "guessed")).status_code == 401
    assert httpx.post(url, json={}, auth=("geoseg", stack.settings.password)).status_code == 200
    done = stack.run("prefect", "flow-run", "ls", PREFECT_API_AUTH_STRING="geoseg:guessed")
    assert done.returncode != 0


def test_nobody_gets_at_dask_without_a_certificate(stack: StackProcess, tmp_path: Path) -> None:
    files, strange = stack.folder.certificates, make_certificates(tmp_path / "tls", (), 1)
    address = stack.settings.scheduler

    def tls(folder: type(files)) -> TlsConfig:  # type: ignore[valid-type]
        return TlsConfig(
            ca_file=folder.authority, cert=folder.certificate("client"), key=folder.key("client")
        )

    with Client(address, security=security(tls(files)), timeout=10) as client:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        assert len(workers) == 2
        assert all(worker.startswith("tls://127.0.0.1:") for worker in workers)
        cores = os.cpu_count() or 1
        # A network per core, and a thread of each worker that reads ahead.
        assert sum(each["nthreads"] - 1 for each in workers.values()) <= max(2, cores)
        assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.allowed_failures) == 1
    for way in (address.replace("tls://", "tcp://"), address):
        with pytest.raises((OSError, ValueError, TypeError)):
            Client(way, timeout=3)
    with pytest.raises(OSError, match=r"(?i)ssl|tls|closed|connect"):
        Client(address, security=security(tls(strange)), timeout=3)


def test_nothing_listens_beyond_this_machine(stack: StackProcess) -> None:
    found = set()
    for process in stack.members():
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                found.add(connection.laddr.port)
                assert connection.laddr.ip == "127.0.0.1", process.cmdline()
    ports = {int(port) for port in stack.own.values()}
    assert ports <= found


def test_secrets_are_for_the_owner_alone(stack: StackProcess) -> None:
    assert stack.root.stat().st_mode & 0o777 == 0o700
    for path in (stack.folder.settings, stack.folder.environment, stack.folder.supervisor):
        assert path.stat().st_mode & 0o777 == 0o600, path
    password = stack.settings.password
    assert len(password) > 30
    assert password not in stack.logs() + stack.folder.supervisor.read_text()
    for process in stack.members():
        assert password not in " ".join(process.cmdline())
        if "dask" in " ".join(process.cmdline()):
            assert "PREFECT_API_AUTH_STRING" not in process.environ()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="signals as Linux shows them")
def test_every_process_hears_ctrl_c(stack: StackProcess) -> None:
    """The tests start the stack in the background of a shell, where SIGINT is ignored; Prefect
    cancels a run with it."""
    for name in SERVICES:
        status = Path(f"/proc/{stack.service(name).pid}/status").read_text()
        ignored = int(re.search(r"SigIgn:\s*(\w+)", status).group(1), 16)  # type: ignore[union-attr]
        assert not ignored & (1 << (signal.SIGINT - 1)), name


def test_cancel(stack: StackProcess) -> None:
    run = _start(stack)
    began = time.monotonic()
    assert stack.run("prefect", "flow-run", "cancel", run).returncode == 0
    wait_for(lambda: _state(stack, run)[0] == "CANCELLED" and not stack.runs(), 30)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("name", SERVICES)
def test_what_dies_comes_back(stack: StackProcess, name: str) -> None:
    before = stack.service(name).pid
    stack.kill(name)
    wait_for(lambda: stack.service(name).pid not in (0, before))
    wait_for(stack.healthy, 90)


def test_a_run_survives_its_worker(stack: StackProcess) -> None:
    run = _start(stack, seconds="15")
    stack.kill("prefect-worker")
    wait_for(lambda: _state(stack, run)[0] == "COMPLETED", 60)


@pytest.mark.timeout(400)
def test_a_run_that_died_in_silence_is_given_up(stack: StackProcess) -> None:
    """Its process and its worker at once: nobody is left to say so but the missing heartbeats."""
    run = _start(stack)
    wait_for(lambda: _heard(stack, run))
    stack.kill("prefect-worker")
    for process in stack.runs():
        process.kill()
    wait_for(lambda: _state(stack, run)[0] == "CRASHED", 200)
    assert "no sign of life" in _state(stack, run)[1]


@pytest.mark.timeout(600)
def test_frozen_runs_keep_no_look_waiting(stack: StackProcess) -> None:
    """Prefect gives them up, and others take their places in its queue; their processes stay."""
    frozen = [_running(stack, "sleeper/test") for _ in range(2)]
    wait_for(lambda: all(_heard(stack, run) for run in frozen))
    processes = stack.runs()
    try:
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        wait_for(lambda: all(_state(stack, run)[0] == "CRASHED" for run in frozen), 200)
        for run in frozen:
            assert "frozen" in _state(stack, run)[1], "nobody knows that it was killed"
        assert all(process.status() == psutil.STATUS_STOPPED for process in processes)
        for deployment in ("sleeper/test", "sleeper/test", "sleeper/training"):
            _begun(stack, deployment)
        wait_for(lambda: len(stack.runs()) > len(processes))
        done = stack.deploy("sleeper/look", seconds="0")
        assert done.returncode == 0, done.stdout
    finally:
        for process in processes:
            process.kill()
        for run in stack.api("flow_runs/filter", _NOT_OVER):
            stack.run("prefect", "flow-run", "cancel", run["id"])
        wait_for(lambda: not stack.runs() and not stack.api("flow_runs/filter", _NOT_OVER))


_NOT_OVER = {
    "flow_runs": {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING"]}}}
}


@pytest.mark.timeout(900)
def test_a_training_outlives_its_server_and_stays_alone(stack: StackProcess) -> None:
    """A deployment's concurrency_limit would have ended it: a lease of 300 s in the server's memory,
    renewed after 225."""
    first = _running(stack, "sleeper/training", seconds="260")
    second = _begun(stack, "sleeper/training", seconds="0")
    stack.kill("prefect-server")
    wait_for(stack.healthy, 90)
    states = set()
    deadline = time.monotonic() + 330
    while (state := _state(stack, first)[0]) == "RUNNING":
        states.add(_state(stack, second)[0])
        assert time.monotonic() < deadline
        time.sleep(2)
    assert state == "COMPLETED", _state(stack, first)
    assert states == {"SCHEDULED"}, "it waits for the first"
    wait_for(lambda: _state(stack, second)[0] == "COMPLETED")


def test_trainings_wait_for_one_another(stack: StackProcess) -> None:
    """The project's own deployment, which ``up`` registered."""
    training = stack.api("deployments/name/train-model/model", method="GET")
    assert training["work_queue_name"] == "trainings"
    assert stack.api("work_pools/geoseg/queues/trainings", method="GET")["concurrency_limit"] == 1
    for deployment in stack.api("deployments/filter", {}):
        assert deployment["global_concurrency_limit"] is None, deployment["name"]


@pytest.mark.skipif(not PROGRAM, reason="wants Chromium")
def test_the_page_asks_nobody_else(stack: StackProcess) -> None:
    """Logged in, whole pages: analytics are off, and so is what asks whether they are."""
    page = stack.settings.api.removesuffix("/api")
    word = base64.b64encode(stack.settings.login.encode()).decode()
    with browser() as tab:
        tab.screen(1400)  # where its menu is open
        tab.call("Page.addScriptToEvaluateOnNewDocument",
                 source=f"localStorage.setItem('prefect-password', '{word}')")  # fmt: skip
        for path, shown in (("/", "Event Feed"), ("/work-pools", POOL)):
            tab.call("Page.navigate", url=page + path)
            wait_for(lambda word=shown: word in tab.ask("document.body?.innerText ?? ''"))
            time.sleep(3)
        tab.ask("1")  # takes in what was said meanwhile
        hosts = {urlsplit(url).netloc for url in tab.asked}
    assert hosts - {""} == {urlsplit(page).netloc}, "but for data: and blob:, which ask nobody"


def test_a_run_that_never_began_is_given_up(stack: StackProcess) -> None:
    """Its worker died while it started the run: no heartbeat was there yet."""
    patience = (
        "import datetime, geoseg.flows.automations as a; "
        "a.NEVER_BEGUN = datetime.timedelta(seconds={}); "
        "import geoseg.flows.register as r; r.register()"
    )
    assert stack.run("python", "-c", patience.format(15)).returncode == 0
    flow = stack.api("flows/filter", {"flows": {"name": {"any_": ["sleeper"]}}})[0]["id"]
    run = stack.api("flow_runs/", {"flow_id": flow, "state": {"type": "SCHEDULED"}})["id"]
    for name in ("Pending", "Submitting"):
        state = {"state": {"type": "PENDING", "name": name}, "force": True}
        stack.api(f"flow_runs/{run}/set_state", state)
    wait_for(lambda: _state(stack, run)[0] == "CRASHED", 90)
    assert "did not begin" in _state(stack, run)[1]
    assert stack.run("python", "-c", patience.format(NEVER_BEGUN.seconds)).returncode == 0


def test_registering_again_keeps_what_the_operator_set(stack: StackProcess) -> None:
    deployment = stack.api("deployments/name/sleeper/test", method="GET")
    (schedule,) = deployment["schedules"]
    assert not schedule["active"]
    done = stack.run("prefect", "deployment", "schedule", "resume", "sleeper/test", schedule["id"])
    assert done.returncode == 0, done.stdout + done.stderr
    automations = stack.api("automations/filter", {})
    off = automations[0]
    stack.api(f"automations/{off['id']}", {"enabled": False}, "PATCH")
    queues = {q["name"]: q for q in stack.api(f"work_pools/{POOL}/queues/filter", {})}
    assert {name: q["concurrency_limit"] for name, q in queues.items()} == {
        "default": 2,
        "polls": None,
        "trainings": 1,
    }
    stack.api(f"work_pools/{POOL}/queues/default", {"concurrency_limit": 5}, "PATCH")

    assert "gone: left out" in _register(stack)

    (schedule,) = stack.api("deployments/name/sleeper/test", method="GET")["schedules"]
    assert schedule["active"]
    after = {found["id"]: found for found in stack.api("automations/filter", {})}
    assert after.keys() == {found["id"] for found in automations}
    assert not after[off["id"]]["enabled"]
    for found in automations[1:]:
        assert after[found["id"]]["updated"] == found["updated"], "it forgot its runs for nothing"
    queue = stack.api(f"work_pools/{POOL}/queues/default", method="GET")
    assert queue["concurrency_limit"] == 5
    stack.api(f"automations/{off['id']}", {"enabled": True}, "PATCH")


@contextmanager
def _receiver() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A plain HTTP server, its address, and what it was sent."""
    got: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/json"
            got.append({**json.loads(body), "path": self.path})
            self.send_response(204)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        server.server_close()


def test_failures_are_told(stack: StackProcess) -> None:
    secret, cause = "SeCrEt-8f1c", 'a "quoted"\ncause'
    with _receiver() as (address, got):
        said = _register(stack, GEOSEG_WEBHOOK=f"{address}/hook/{secret}")
        assert stack.deploy("sleeper/test", seconds="0", fail=json.dumps(cause)).returncode == 1
        wait_for(lambda: got, 30)
    # Told at least once: with SQLite under load Prefect repeats what it could not write down.
    message = got[0]
    assert {each["id"] for each in got} == {message["id"]}
    assert message["path"] == f"/hook/{secret}"
    assert (message["flow"], message["state"]) == ("sleeper", "Failed")
    assert cause in message["message"]
    assert message["text"].startswith(f"sleeper {message['run']}: Failed. ")
    assert message["page"].endswith(message["id"])
    # The receiver is gone now: what the server says of that must not name it either.
    assert stack.deploy("sleeper/test", seconds="0", fail="again").returncode == 1
    failed = {"filter": {"event": {"name": ["prefect.automation.action.failed"]}}}
    wait_for(lambda: stack.api("events/filter", failed)["events"], 30)
    assert secret not in stack.logs() + said + stack.control("up").stdout
    assert secret not in json.dumps(stack.api("block_documents/filter", {}))
    assert secret not in json.dumps(stack.api("events/filter", failed))


def test_down_leaves_nothing_and_up_knows_of_it(stack: StackProcess) -> None:
    run = _start(stack)
    listened = [int(port) for port in stack.own.values()]
    kept = stack.settings
    done = stack.control("down")
    assert "runs stopped: " in done.stdout
    assert not stack.members()
    for port in listened:
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{port}")
    assert stack.control("status", check=False).returncode == 3
    assert "stopped" in stack.control("down").stdout

    stack.control("up", GEOSEG_PREFECT_PORT="", GEOSEG_DASK_PORT="", GEOSEG_DASHBOARD_PORT="")
    assert (stack.settings.password, stack.settings.api) == (kept.password, kept.api)
    assert _state(stack, run) == ("CRASHED", "stopped with the stack; the same run again resumes")


def test_up_after_everything_was_killed(stack: StackProcess) -> None:
    """As after a power cut, but for the processes of a run, which live on."""
    run = _start(stack)
    supervisord = int((stack.root / "supervisord.pid").read_text())
    alive = {each.pid for each in stack.runs()}
    for process in stack.members():
        if process.pid not in alive:
            process.kill()
    wait_for(
        lambda: not psutil.pid_exists(supervisord) and {p.pid for p in stack.members()} <= alive
    )
    assert "were left when their supervisord died" in stack.control("up").stdout
    assert not stack.runs()
    assert _state(stack, run)[0] == "CRASHED"
    assert stack.healthy()


def test_a_run_in_the_middle_of_being_cancelled(stack: StackProcess) -> None:
    """Its process is gone, so nobody is left to say that it was."""
    run = _start(stack)
    stack.kill("prefect-worker")
    for process in stack.runs():
        process.kill()
    stack.api(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
    stack.control("down")
    stack.control("up")
    assert _state(stack, run)[0] == "CANCELLED"


def test_drain_waits_for_the_run(stack: StackProcess) -> None:
    run = _start(stack, seconds="8")
    done = stack.control("down", "--drain")
    assert "waiting for the end of" in done.stdout
    assert "runs stopped" not in done.stdout
    stack.control("up")
    assert _state(stack, run)[0] == "COMPLETED"
    assert not stack.api(f"work_pools/{POOL}", method="GET")["is_paused"]


@pytest.mark.skipif(not shutil.which("sh"), reason="wants a shell")
def test_the_environment_is_for_a_shell(stack: StackProcess) -> None:
    script = f'eval "$(cat {stack.folder.environment})"; echo $PREFECT_API_URL $GEOSEG_SCHEDULER'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [stack.settings.api, stack.settings.scheduler]


def test_on_postgresql(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_stack(tmp_path_factory.mktemp("p"), "postgresql") as stack:
        stack.project = _project(tmp_path_factory.mktemp("project"))
        _register(stack)
        assert stack.deploy("sleeper/test", seconds="0").returncode == 0
        assert not (stack.folder.prefect / "prefect.db").exists()
        said = stack.logs() + stack.folder.supervisor.read_text()
        assert DATABASE_PASSWORD not in said
        assert "word%of&pass" not in said
        assert all("GEOSEG_DATABASE" not in p.environ() for p in stack.members() if _dask(p))
        stack.kill("prefect-server")
        wait_for(stack.healthy, 90)
        assert stack.deploy("sleeper/test", seconds="0").returncode == 0


def _dask(process: psutil.Process) -> bool:
    return "dask" in process.cmdline()


def test_serve(tmp_path: Path) -> None:
    """The smallest set-up: a server, and one process that takes up runs."""
    port = str(free_port())
    env = {**clean_environment(), "PREFECT_HOME": str(tmp_path), "PREFECT_API_URL": ""}
    refused = subprocess.run(
        [sys.executable, "-m", "geoseg.flows.serve"],
        env=env,
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert refused.returncode == 2
    env["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    server = _begin(env, "prefect", "server", "start", "--port", port)
    try:
        wait_for(lambda: _answers(f"{env['PREFECT_API_URL']}/ready"), 90)
        served = _begin(env, "geoseg.flows.serve")
        name = f"{env['PREFECT_API_URL']}/deployments/name/train-model/model"
        wait_for(lambda: _answers(name), 60)
        run = (
            "prefect",
            "deployment",
            "run",
            "train-model/model",
            "-p",
            "config=no.yaml",
            "--watch",
        )
        done = subprocess.run(
            [sys.executable, "-m", *run], env=env, cwd=ROOT, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert (
            "no such config file" in (tmp_path / "geoseg.flows.serve.log").read_text() + done.stdout
        )
        served.send_signal(signal.SIGINT)
        assert served.wait(30) is not None
    finally:
        server.terminate()
        server.wait(30)


def _begin(env: dict[str, str], module: str, *arguments: str) -> subprocess.Popen[bytes]:
    with (Path(env["PREFECT_HOME"]) / f"{module}.log").open("wb") as log:
        # As what a shell puts into the background with &: it begins with this signal ignored.
        deaf = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
        command = [*deaf, sys.executable, "-m", module, *arguments]
        return subprocess.Popen(command, env=env, cwd=ROOT, stdout=log, stderr=log)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.HTTPError:
        return False
