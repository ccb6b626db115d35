"""What a stack is made with: settings kept, ports, and a configuration that supervisord reads."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from geoseg.errors import ConfigError
from geoseg.flows.register import deployments
from geoseg.io.certificates import make_certificates
from geoseg.stack.services import (
    POLLER,
    RUNNER,
    RUNNERS,
    client_environment,
    environment_of,
    services,
)
from geoseg.stack.settings import (
    StackError,
    StackFolder,
    StackSettings,
    load,
    require_ports,
    server_database,
    settle,
)
from geoseg.stack.supervisor import configuration
from tests.support.common import ROOT


@pytest.fixture
def folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> StackFolder:
    """A stack's folder with signs that supervisord could mind; short, for the sockets in it."""
    monkeypatch.chdir(ROOT)
    made = StackFolder(tmp_path_factory.mktemp("s") / "a 'b'; c#d $e")
    made.make()
    return made


def test_settings_are_kept_and_the_environment_wins(folder: StackFolder) -> None:
    first = settle(folder, {"GEOSEG_PREFECT_PORT": "5200", "GEOSEG_DATABASE": "postgres://u:p@h/d"})
    assert (first.prefect_port, first.dask_port, first.dask_workers) == (5200, 8786, 2)
    assert first.project == str(ROOT)
    again = settle(folder, {"GEOSEG_DASK_PORT": "9786"})
    assert (again.prefect_port, again.dask_port) == (5200, 9786)
    assert (again.password, again.database) == (first.password, "postgres://u:p@h/d")
    assert load(folder) == again
    assert folder.settings.stat().st_mode & 0o777 == 0o600


def test_passwords_differ_and_are_not_shown(tmp_path: Path, folder: StackFolder) -> None:
    other = StackFolder(tmp_path / "other")
    other.make()
    one, two = settle(folder, {}), settle(other, {})
    assert one.password != two.password
    assert one.password not in repr(one)


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "80.5"])
def test_a_port_that_is_none(folder: StackFolder, port: str) -> None:
    with pytest.raises(ConfigError, match=r"GEOSEG_DASK_PORT: .* is no number from 1 to 65535"):
        settle(folder, {"GEOSEG_DASK_PORT": port})


def test_damaged_settings(folder: StackFolder) -> None:
    folder.settings.write_text("{")
    with pytest.raises(ConfigError, match=r"stack\.json: not what 'up' wrote"):
        load(folder)


def test_elsewhere_there_is_no_stack(
    folder: StackFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"no prefect\.yaml here"):
        settle(folder, {})


def test_a_taken_port_is_told(folder: StackFolder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = settle(folder, {"GEOSEG_DASHBOARD_PORT": str(port)})
        with pytest.raises(ConfigError, match=f"GEOSEG_DASHBOARD_PORT: port {port} .* is taken"):
            require_ports(StackSettings("", _free(), _free(), settings.dashboard_port))


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_folder_too_deep_for_a_socket(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"GEOSEG_STATE: .* is too long"):
        StackFolder(tmp_path / ("x" * 90)).make()


def test_databases() -> None:
    assert server_database("") == ""
    for kind in ("postgresql", "postgres", "postgresql+psycopg"):
        assert server_database(f"{kind}://u:p@h/d") == "postgresql+asyncpg://u:p@h/d"
    with pytest.raises(ConfigError, match="GEOSEG_DATABASE: not a URL") as error:
        server_database("mysql://u:secret@h/d")
    assert "secret" not in str(error.value)


def test_supervisord_reads_its_configuration(folder: StackFolder) -> None:
    settings = settle(folder, {})
    all_of_it = services(folder, settings)
    folder.write(folder.supervisor, configuration(folder, all_of_it, settings))
    options = ServerOptions()
    options.realize(["-c", str(folder.supervisor)])
    options.process_config(do_usage=False)
    programs = {group.name: group.process_configs[0] for group in options.process_group_configs}
    assert list(programs) == sorted(each.name for each in all_of_it)
    for name, program in programs.items():
        words = [sys.executable, "-m", "geoseg.stack.launch", str(folder.root), name]
        assert shlex.split(program.command) == words
        assert program.stopasgroup
        assert program.killasgroup
        assert program.stdout_logfile == str(folder.logs / f"{name}.log")
        assert program.autostart == (name not in RUNNERS)
    (reached,) = options.server_configs
    assert (reached["family"], reached["file"]) == (socket.AF_UNIX, str(folder.socket))
    assert settings.password not in folder.supervisor.read_text()


@pytest.mark.parametrize("name", ['a "quoted" one', "a %(here)s", "a ;b", "a #b"])
def test_a_folder_that_supervisord_cannot_name(folder: StackFolder, name: str) -> None:
    odd = StackFolder(folder.root / name)
    with pytest.raises(StackError, match="name it without quotes"):
        configuration(odd, (), settle(folder, {}))


def test_secrets_reach_only_those_who_need_them(
    folder: StackFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOSEG_WEBHOOK", "https://hooks/secret-hook")
    monkeypatch.setenv("GEOSEG_DATABASE", "postgresql://u:secret-word@h/d")
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere/api")
    settings = settle(folder, os.environ)
    for service in services(folder, settings):
        text = json.dumps(environment_of(service, folder))
        assert "secret-hook" not in text
        assert "elsewhere" not in text
        assert ("secret-word" in text) == service.prefect
        assert (settings.password in text) == service.prefect
        assert settings.password not in " ".join(service.command)


def test_each_queue_has_a_worker_and_looks_one_of_their_own(folder: StackFolder) -> None:
    queues = {entry["work_pool"]["work_queue_name"] for entry in deployments()}
    made = {
        each.name: each.command for each in services(folder, settle(folder, {"GEOSEG_RUNS": "4"}))
    }
    served = {
        name: {word for flag, word in pairwise(made[name]) if flag == "--work-queue"}
        for name in RUNNERS
    }
    assert served[POLLER] == {"polls"}
    assert served[RUNNER] == queues - {"polls"}
    assert made[RUNNER][made[RUNNER].index("--limit") + 1] == "5", "four maps and a training"


def test_a_client_of_the_worker_reads_one_certificate(folder: StackFolder) -> None:
    """Else each run leaves holes of megabytes in the worker's memory."""
    made = services(folder, settle(folder, {}))
    make_certificates(folder.certificates.root, (), 1)
    (runner,) = (each for each in made if each.name == RUNNER)
    code = """\
import ssl
made, make = [], ssl.create_default_context
ssl.create_default_context = lambda *a, **k: made.append(make(*a, **k)) or made[-1]
from prefect import get_client  # libraries that it imports make theirs, once
made.clear()
get_client()
print([len(each.get_ca_certs()) for each in made])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment_of(runner, folder),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[1]\n"


def test_the_environment_file_is_what_a_client_needs(folder: StackFolder) -> None:
    settings = settle(folder, {})
    found = client_environment(folder, settings)
    assert found["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert found["GEOSEG_SCHEDULER"] == "tls://127.0.0.1:8786"
    assert found["PREFECT_API_AUTH_STRING"] == f"geoseg:{settings.password}"


@pytest.mark.parametrize("module", ["geoseg.stack", "geoseg.flows.register", "geoseg.flows.serve"])
def test_help_has_an_example(module: str) -> None:
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "xample" in done.stdout
    assert f"python -m {module}" in done.stdout


def test_deployments_name_flows_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.flows import Flow, load_flow_from_entrypoint

    monkeypatch.chdir(ROOT)
    for entry in deployments():
        assert entry["description"].endswith(".")
        assert entry["work_pool"]["name"] == "geoseg"
        assert isinstance(load_flow_from_entrypoint(entry["entrypoint"]), Flow)
