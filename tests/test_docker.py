"""The files in docker/, as far as they can be checked where no container engine runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import prefect.settings
import pytest
import yaml
from distributed.cli.dask_scheduler import main as dask_scheduler
from distributed.cli.dask_worker import main as dask_worker

REPOSITORY = Path(__file__).parents[1]
DOCKER = REPOSITORY / "docker"
COMPOSE = DOCKER / "compose.yaml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
OPEN_FILES = {"deployments", "prefect-worker", "dask-worker-cpu", "dask-worker-gpu"}


@dataclass(frozen=True)
class Stage:
    """One ``FROM ... AS name`` and what follows it."""

    name: str
    base: str
    instructions: tuple[tuple[str, str], ...]

    def of(self, keyword: str) -> list[str]:
        return [rest for word, rest in self.instructions if word == keyword]


def dockerfile() -> dict[str, Stage]:
    text = re.sub(r"^\s*#.*\n", "", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    stages: dict[str, Stage] = {}
    for line in lines:
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()  # type: ignore[union-attr]
            stages[name] = Stage(name, base, ())
        else:
            name, stage = stages.popitem()
            stages[name] = Stage(name, stage.base, (*stage.instructions, (word, rest)))
    return stages


STAGES = dockerfile()


def chain(name: str) -> list[Stage]:
    """The stage and all it is built on, the base first."""
    stage = STAGES[name]
    return [*(chain(stage.base) if stage.base in STAGES else []), stage]


def copied(stage: Stage) -> list[str]:
    """What the stage takes from the build context."""
    copies = [rest.split() for rest in stage.of("COPY") if "--from=" not in rest]
    return [word for words in copies for word in words[:-1] if not word.startswith("--")]


def environment(target: str) -> dict[str, str]:
    pairs = [pair for stage in chain(target) for rest in stage.of("ENV") for pair in rest.split()]
    return dict(pair.split("=", 1) for pair in pairs)


def tool(name: str) -> str:
    folders = [str(Path(sys.executable).parent), None]
    found = next(filter(None, (shutil.which(name, path=folder) for folder in folders)), None)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def accepted(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr


def test_dockerfile_passes_hadolint() -> None:
    accepted(tool("hadolint"), "docker/Dockerfile")


def test_compose_file_follows_the_compose_specification() -> None:
    command = tool("check-jsonschema")
    accepted(command, "--builtin-schema", "vendor.compose-spec", "docker/compose.yaml")


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_targets_run_as_an_ordinary_user(target: str) -> None:
    users = [user for stage in chain(target) for user in stage.of("USER")]
    assert users[-1] == "${UID}:${GID}"
    assert STAGES["app"].of("ARG") == ["UID=1000", "GID=1000"]


def test_targets_hold_the_same_packages() -> None:
    cpu, gpu = chain("cpu"), chain("gpu")
    assert cpu[:-1] == gpu[:-1]
    assert not any("pip" in rest for rest in cpu[-1].of("RUN") + gpu[-1].of("RUN"))


def test_editing_code_leaves_the_layer_with_torch() -> None:
    below = chain("packages")
    assert [source for stage in below for source in copied(stage)] == ["constraints.txt"]
    # requirements.txt is the one other input, and it is made from pyproject.toml alone
    assert [rest.split()[0] for rest in below[-1].of("COPY")][1:] == ["--from=requirements"]
    assert copied(STAGES["requirements"]) == ["pyproject.toml"]


@pytest.mark.parametrize("source", sorted({s for stage in STAGES.values() for s in copied(stage)}))
def test_copied_paths_exist_and_reach_the_build(source: str) -> None:
    assert (REPOSITORY / source).exists()
    assert f"!{source}" in (REPOSITORY / ".dockerignore").read_text().split()


def test_images_are_pinned_or_built_here() -> None:
    outside = [stage.base for stage in STAGES.values() if stage.base not in STAGES]
    outside += [service["image"] for service in SERVICES.values() if "build" not in service]
    assert outside
    for image in outside:
        assert re.search(r":(3\.\d+\.\d+|\d\d\.\d+)-(slim-)?[a-z]+$", image), (
            f"{image} names no exact version"
        )


def test_services_build_existing_targets_under_their_own_name() -> None:
    built = {name: service for name, service in SERVICES.items() if "build" in service}
    assert set(built) == set(SERVICES) - {"postgres"}
    for name, service in built.items():
        target = service["build"]["target"]
        assert target in STAGES
        assert service["image"] == f"geoseg:{target}"
        assert (target == "gpu") == (name == "dask-worker-gpu")


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
    assert sorted(ports) == ["127.0.0.1:4200:4200", "127.0.0.1:8787:8787"]


def test_services_hold_no_more_rights_than_they_need() -> None:
    for name, service in SERVICES.items():
        assert not {"privileged", "pid", "ipc", "network_mode", "cap_add", "devices"} & set(service)
        assert "no-new-privileges:true" in service["security_opt"]
        assert name == "postgres" or service["cap_drop"] == ["ALL"]
        assert "docker.sock" not in str(service.get("volumes", []))


def test_volumes_are_declared_and_data_lies_at_one_path() -> None:
    declared = set(yaml.safe_load(COMPOSE.read_text())["volumes"])
    mounts = [(name, v) for name, service in SERVICES.items() for v in service.get("volumes", [])]
    assert {v.split(":")[0] for _, v in mounts if isinstance(v, str)} == declared
    binds = {name: v for name, v in mounts if not isinstance(v, str)}
    assert set(binds) == OPEN_FILES
    assert all(bind == binds["prefect-worker"] for bind in binds.values())
    assert "mkdir /data" in " ".join(STAGES["app"].of("RUN"))
    assert binds["prefect-worker"]["target"] == "/data"


def test_secrets_come_from_outside() -> None:
    secret = re.compile(r"PASSWORD|AUTH|TOKEN|SECRET")
    pairs = [p for service in SERVICES.values() for p in service.get("environment", {}).items()]
    named = [(key, value) for key, value in pairs if secret.search(key)]
    assert {key for key, _ in named} >= {"POSTGRES_PASSWORD", "PREFECT_SERVER_API_AUTH_STRING"}
    for key, value in named:
        assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), f"{key} is not a required variable"
    assert not any(secret.search(key) for target in ("cpu", "gpu") for key in environment(target))


def test_example_settings_name_every_variable_and_no_other() -> None:
    used = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))
    lines = (DOCKER / ".env.example").read_text().splitlines()
    offered = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert set(offered) == used | {"COMPOSE_PROFILES"}
    required = set(re.findall(r"\$\{(\w+):\?", COMPOSE.read_text()))
    assert {name for name, value in offered.items() if not value} == required


def test_profiles_start_a_worker_that_finds_the_scheduler() -> None:
    profiles = {p: name for name, service in SERVICES.items() for p in service.get("profiles", [])}
    assert profiles == {"gpu": "dask-worker-gpu", "cpu": "dask-worker-cpu"}
    address = "tcp://dask-scheduler:8786"
    assert SERVICES["prefect-worker"]["environment"]["GEOSEG_SCHEDULER"] == address
    assert SERVICES["dask-worker-gpu"]["environment"]["GEOSEG_SCHEDULER"] == address
    assert address in SERVICES["dask-worker-cpu"]["command"]
    assert "--port=8786" in SERVICES["dask-scheduler"]["command"]


def test_gpu_worker_reserves_its_device_and_offers_it_as_a_resource() -> None:
    reserved = SERVICES["dask-worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert [(device["driver"], device["capabilities"]) for device in reserved] == [
        ("nvidia", ["gpu"])
    ]
    script = (DOCKER / "gpu-worker.sh").read_text()
    assert '--nthreads 4 --resources "GPU=4"' in script
    assert "torch.cuda.is_available()" in script
    assert STAGES["gpu"].of("CMD") == ['["geoseg-gpu-worker"]']
    assert SERVICES["dask-worker-gpu"]["command"] == ["geoseg-gpu-worker"]
    assert environment("gpu")["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert environment("cpu")["NVIDIA_VISIBLE_DEVICES"] == "void"


def test_gpu_worker_without_a_scheduler_says_what_is_missing() -> None:
    script = ["sh", str(DOCKER / "gpu-worker.sh")]
    done = subprocess.run(script, capture_output=True, text=True, check=False, env={})
    assert done.returncode != 0
    assert "GEOSEG_SCHEDULER" in done.stderr


def test_dask_knows_the_options() -> None:
    def known(main: Any) -> set[str]:
        return {
            option
            for parameter in main.params
            for option in parameter.opts + parameter.secondary_opts
        }

    def given(name: str) -> set[str]:
        return {word.split("=")[0] for word in SERVICES[name]["command"] if word.startswith("--")}

    started = (DOCKER / "gpu-worker.sh").read_text().split("exec dask worker")[1]
    worker = given("dask-worker-cpu") | set(re.findall(r"--[a-z-]+", started))
    assert len(worker) >= 7
    assert worker <= known(dask_worker)
    assert given("dask-scheduler") <= known(dask_scheduler)


def test_prefect_knows_the_settings() -> None:
    """Prefect passes over a misspelt variable without a word."""
    names = {key for service in SERVICES.values() for key in service.get("environment", {})}
    settings = {name for name in names if name.startswith("PREFECT_")}
    assert len(settings) >= 10
    assert [name for name in sorted(settings) if not hasattr(prefect.settings, name)] == []
