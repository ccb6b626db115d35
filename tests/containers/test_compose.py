"""The services of docker/compose.yaml: rights, limits, who reaches whom, secrets, settings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import prefect.settings
import pytest

from geoseg.io import plain_yaml
from tests.support.docker_files import (
    COMPOSE,
    DOCKER,
    OPEN_FILES,
    ROOT,
    SCHEDULER,
    SCRIPTS,
    SERVICES,
    STAGES,
    accepted,
    environment,
    tool,
)


def test_compose_file_follows_the_compose_specification() -> None:
    command = tool("check-jsonschema")
    accepted(command, "--builtin-schema", "vendor.compose-spec", "docker/compose.yaml")


def test_services_build_existing_targets_under_their_own_name() -> None:
    built = {name: service for name, service in SERVICES.items() if "build" in service}
    assert set(built) == set(SERVICES) - {"postgres"}
    for name, service in built.items():
        target = service["build"]["target"]
        assert target in STAGES
        assert service["image"] == f"geoseg:{target}"
        assert (target == "gpu") == (name == "dask-worker-gpu")
        assert service["command"][0] in SCRIPTS | {"prefect", "dask", "geoseg", "sh"}


def test_dependencies_exist_and_can_become_true() -> None:
    wanted = [
        item for service in SERVICES.values() for item in service.get("depends_on", {}).items()
    ]
    assert len(wanted) >= 5
    for name, how in wanted:
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[name], f"nothing ever makes {name} healthy"
        else:
            assert how["condition"] == "service_completed_successfully"
            assert SERVICES[name]["restart"] == "no", f"{name} would be started again for ever"


def test_ports_listen_on_loopback_and_the_scheduler_is_not_published() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert sorted(ports) == [f"127.0.0.1:{port}:{port}" for port in (4200, 8787, 9108)]


@pytest.mark.parametrize("name", SERVICES)
def test_services_hold_no_more_rights_than_they_need(name: str) -> None:
    service = SERVICES[name]
    assert not {"privileged", "pid", "ipc", "cap_add", "devices"} & set(service)
    assert service.get("network_mode", "none") == "none"
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert any(mount.startswith("/tmp:") for mount in service["tmpfs"])
    assert "docker.sock" not in str(service.get("volumes", []))
    # by the image, or where it is not ours, here
    assert "build" in service or service["user"] == "${GEOSEG_UID:-1000}:${GEOSEG_GID:-1000}"


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_limited(name: str) -> None:
    assert set(SERVICES[name]["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    # Docker's default lets a container swap as much again
    limit = SERVICES[name]["deploy"]["resources"]["limits"]["memory"]
    assert SERVICES[name]["memswap_limit"] == limit
    assert SERVICES[name]["logging"]["options"] == {"max-size": "10m", "max-file": "3"}


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_watched_and_come_back(name: str) -> None:
    once = SERVICES[name]["restart"] == "no"
    assert once == (name in {"register", "certificates"})
    assert once or SERVICES[name]["restart"] == "unless-stopped"
    assert once != ("healthcheck" in SERVICES[name])


def test_who_reaches_whom() -> None:
    networks = plain_yaml.load(COMPOSE.read_text())["networks"]
    # Internal alone leaves the host itself within reach, by the address of the bridge
    closed = {
        "internal": True,
        "driver_opts": {"com.docker.network.bridge.inhibit_ipv4": "true"},
    }
    assert {name for name, network in networks.items() if network == closed} == {"database", "dask"}
    joined = {name: set(service.get("networks", ["default"])) for name, service in SERVICES.items()}
    assert {n for n, on in joined.items() if "database" in on} == {
        "postgres", "prefect-server", "prefect-worker", "watch",
    }  # fmt: skip
    assert joined["postgres"] == {"database"}
    assert joined["dask-worker-cpu"] == joined["dask-worker-gpu"] == {"dask"}
    assert {n for n, on in joined.items() if "dask" in on} == {
        "dask-scheduler", "prefect-worker", "dask-worker-cpu", "dask-worker-gpu",
    }  # fmt: skip
    # For the page's published port: nobody else may find the scheduler there
    assert joined["dask-scheduler"] == {"dask", "page"}
    assert {n for n, on in joined.items() if "page" in on} == {"dask-scheduler"}


def test_volumes_are_declared_and_data_lies_at_one_path() -> None:
    declared = set(plain_yaml.load(COMPOSE.read_text())["volumes"])
    mounts = [(name, v) for name, service in SERVICES.items() for v in service.get("volumes", [])]
    named = {v.split(":")[0] if isinstance(v, str) else v["source"] for _, v in mounts}
    assert {name for name in named if re.fullmatch(r"[a-z-]+", name)} == declared
    scripts = [name for name in named if name.startswith("./")]
    assert scripts == ["./postgres/ledger.sh"]
    assert (DOCKER / scripts[0]).is_file()
    binds = {name: v for name, v in mounts if not isinstance(v, str) and v["type"] == "bind"}
    assert set(binds) == OPEN_FILES
    assert binds.pop("metrics").pop("read_only")
    assert all(bind == binds["prefect-worker"] for bind in binds.values())
    assert "mkdir /data /certificates" in " ".join(STAGES["app"].of("RUN"))
    assert binds["prefect-worker"]["target"] == "/data"


SECRET = re.compile(r"PASSWORD|AUTH|TOKEN|SECRET|LOGIN")


def test_secrets_are_files_that_only_who_needs_them_sees() -> None:
    for name, service in SERVICES.items():
        given = {k: v for k, v in service.get("environment", {}).items() if SECRET.search(k)}
        for key, value in given.items():
            assert key.endswith("_FILE"), f"{key} is a secret in the environment"
            assert value.removeprefix("/run/secrets/") in service["secrets"]
        used = {value.removeprefix("/run/secrets/") for value in given.values()}
        assert used == set(service.get("secrets", [])), f"{name} is handed what it does not use"
    assert not any(SECRET.search(key) for target in ("cpu", "gpu") for key in environment(target))
    declared = plain_yaml.load(COMPOSE.read_text())["secrets"]
    assert {f"{name}" for name in declared} == {
        "postgres_password", "ledger_password", "prefect_auth",
    }  # fmt: skip
    assert all(s == {"file": f"${{GEOSEG_SECRETS:-./secrets}}/{n}"} for n, s in declared.items())
    assert {".env", "secrets/"} <= set((DOCKER / ".gitignore").read_text().split())


def test_example_settings_name_every_variable_and_no_other() -> None:
    used = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))
    lines = (DOCKER / ".env.example").read_text().splitlines()
    offered = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert set(offered) == used | {"COMPOSE_PROFILES"}
    required = set(re.findall(r"\$\{(\w+):\?", COMPOSE.read_text()))
    optional = set(re.findall(r"\$\{(\w+):-\}", COMPOSE.read_text()))
    assert {name for name, value in offered.items() if not value} == required | optional
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]+)\}", COMPOSE.read_text()))
    assert defaults == {name: offered[name] for name in defaults}


def test_profiles_start_a_worker_that_finds_the_scheduler() -> None:
    profiles = {p: name for name, service in SERVICES.items() for p in service.get("profiles", [])}
    assert profiles == {"gpu": "dask-worker-gpu", "cpu": "dask-worker-cpu", "metrics": "metrics"}
    for name in ("prefect-worker", "dask-worker-gpu", "dask-worker-cpu"):
        assert SERVICES[name]["environment"]["GEOSEG_SCHEDULER"] == SCHEDULER
    assert {"--port=8786", "--protocol=tls"} <= set(SERVICES["dask-scheduler"]["command"])


def test_the_page_asks_nobody_but_its_server() -> None:
    settings = SERVICES["prefect-server"]["environment"]
    assert settings["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert settings["PREFECT_SERVER_UI_V2_ENABLED"] == "false"


def test_queues_are_those_of_the_deployments() -> None:
    entries = plain_yaml.load((ROOT / "prefect.yaml").read_text())["deployments"]
    queues = {entry["work_pool"]["work_queue_name"] for entry in entries}
    served = {
        word.partition("=")[2]
        for service in SERVICES.values()
        for word in service["command" if "build" in service else "networks"]
        if word.startswith("--work-queue=")
    }
    assert served == queues


SHOW_TLS = """
import sys
from distributed import Security
made = Security()
print(made.require_encryption, *made.get_tls_config_for_role(sys.argv[1]).values())
"""


@pytest.mark.parametrize(
    ("service", "role"),
    [("dask-scheduler", "scheduler"), ("dask-worker-cpu", "worker"), ("dask-worker-gpu", "worker")],
)
def test_dask_reads_its_certificates(service: str, role: str) -> None:
    """As Dask itself understands the variables."""
    environ = {k: v for k, v in SERVICES[service]["environment"].items() if k.startswith("DASK_")}
    command = [sys.executable, "-c", SHOW_TLS, role]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    encrypted, *files = done.stdout.split()
    assert encrypted == "True"
    folder = "/certificates"
    assert {f"{folder}/ca.pem", f"{folder}/{role}.pem", f"{folder}/{role}.key"} <= set(files)


def test_certificates_are_made_once(tmp_path: Path) -> None:
    shell, option, script = SERVICES["certificates"]["command"]
    bin_ = Path(sys.executable).parent
    command = [shell, option, script.replace("/certificates", str(tmp_path / "keys"))]
    environ = os.environ | {"PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"}
    made = []
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
        assert done.returncode == 0, done.stderr
        made.append({path.name: path.read_bytes() for path in (tmp_path / "keys").iterdir()})
    assert made[0] == made[1]
    tls = {value for s in SERVICES.values() for key, value in s.get("environment", {}).items()
           if "TLS" in key}  # fmt: skip
    assert {Path(path).name for path in tls} <= set(made[0])


def test_prefect_knows_the_settings() -> None:
    """Prefect passes over a misspelt variable without a word."""
    names = {key for service in SERVICES.values() for key in service.get("environment", {})}
    names |= set(environment("cpu"))
    given = {name for name in names if name.startswith("PREFECT_")}
    known = {name for name in given if hasattr(prefect.settings, name)}
    settings = known | {name.removesuffix("_FILE") for name in given - known}
    assert len(settings) >= 12
    assert [name for name in sorted(settings) if not hasattr(prefect.settings, name)] == []
