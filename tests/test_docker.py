"""The files in docker/, as far as they can be checked where no container engine runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from string import Template
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
OPEN_FILES = {
    "register", "prefect-worker", "watch", "dask-worker-cpu", "dask-worker-gpu", "metrics",
}  # fmt: skip
SCRIPTS = {path.name for path in (DOCKER / "bin").iterdir()}
SCHEDULER = "tls://dask-scheduler:8786"


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
    arguments: dict[str, str] = {}
    for line in lines:
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()  # type: ignore[union-attr]
            stages[name] = Stage(name, Template(base).substitute(arguments), ())
        elif not stages:
            arguments.update([rest.split("=")])
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


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_what_libraries_keep_for_themselves_goes_where_it_can_be_written(target: str) -> None:
    places = environment(target)
    for name in ("HOME", "MPLCONFIGDIR", "PREFECT_HOME", "PREFECT_UI_STATIC_DIRECTORY"):
        assert (places[name] + "/").startswith("/tmp/"), name
    assert "--home-dir /tmp " in " ".join(STAGES["app"].of("RUN"))


def test_torch_and_torchvision_come_from_one_index() -> None:
    (install, *_), *rest = (rest.split("&&") for rest in STAGES["packages"].of("RUN"))
    assert not rest
    assert re.search(r'--index-url "\$\{TORCH_INDEX\}" -c \S+ torch torchvision;', install)
    assert 'TORCH_INDEX=""' in STAGES["packages"].of("ARG")
    arguments = {name: service.get("build", {}).get("args") for name, service in SERVICES.items()}
    assert arguments["prefect-worker"]["TORCH_INDEX"] == "${GEOSEG_TORCH_INDEX:-}"
    assert arguments["dask-worker-gpu"]["TORCH_INDEX"] == "", "the GPU's torch is the ordinary one"
    assert arguments["dask-worker-gpu"]["UID"] == arguments["prefect-worker"]["UID"]


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


PINNED = re.compile(r"[a-z]+:(3\.\d+\.\d+|\d\d\.\d+)-(slim-)?[a-z]+(@sha256:[0-9a-f]{64})?")
"""Whole versions of Python (3.11.15) and PostgreSQL (16.14), and the release of Debian."""


def test_images_are_pinned_or_built_here() -> None:
    outside = [stage.base for stage in STAGES.values() if stage.base not in STAGES]
    outside += [
        re.sub(r"^\$\{\w+:-(.+)\}$", r"\1", service["image"])
        for service in SERVICES.values()
        if "build" not in service
    ]
    assert len(outside) == 2
    for image in outside:
        assert PINNED.fullmatch(image), f"{image} names no exact version"


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
    assert SERVICES[name]["logging"]["options"] == {"max-size": "10m", "max-file": "3"}


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_watched_and_come_back(name: str) -> None:
    once = SERVICES[name]["restart"] == "no"
    assert once == (name in {"register", "certificates"})
    assert once or SERVICES[name]["restart"] == "unless-stopped"
    assert once != ("healthcheck" in SERVICES[name])


def test_who_reaches_whom() -> None:
    networks = yaml.safe_load(COMPOSE.read_text())["networks"]
    assert {name for name, network in networks.items() if network == {"internal": True}} == {
        "database", "dask",
    }  # fmt: skip
    joined = {name: set(service.get("networks", ["default"])) for name, service in SERVICES.items()}
    assert {n for n, on in joined.items() if "database" in on} == {
        "postgres", "prefect-server", "prefect-worker", "watch",
    }  # fmt: skip
    assert joined["postgres"] == {"database"}
    assert joined["dask-worker-cpu"] == joined["dask-worker-gpu"] == {"dask"}
    assert {n for n, on in joined.items() if "dask" in on} == {
        "dask-scheduler", "prefect-worker", "dask-worker-cpu", "dask-worker-gpu",
    }  # fmt: skip


def test_volumes_are_declared_and_data_lies_at_one_path() -> None:
    declared = set(yaml.safe_load(COMPOSE.read_text())["volumes"])
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
    declared = yaml.safe_load(COMPOSE.read_text())["secrets"]
    assert {f"{name}" for name in declared} == {
        "postgres_password", "ledger_password", "prefect_auth",
    }  # fmt: skip
    assert all(s == {"file": f"${{GEOSEG_SECRETS:-./secrets}}/{n}"} for n, s in declared.items())
    assert {".env", "secrets/"} <= set((DOCKER / ".gitignore").read_text().split())


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    command = ["sh", str(DOCKER / "make-secrets.sh"), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    first = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(first) == set(yaml.safe_load(COMPOSE.read_text())["secrets"])
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(set(first.values())) == 3
    assert all(re.fullmatch(r"(geoseg:)?[A-Za-z0-9_-]{32}", text) for text in first.values())
    (folder / "ledger_password").unlink()
    subprocess.run(command, check=True, capture_output=True)
    again = {path.name: path.read_text() for path in folder.iterdir()}
    assert again.pop("ledger_password") != first.pop("ledger_password")
    assert again == first


def with_secrets(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    script = ["sh", str(DOCKER / "bin" / "with-secrets"), *command]
    return subprocess.run(
        script,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]} | environ,
    )


def test_entry_point_reads_secrets(tmp_path: Path) -> None:
    secret = tmp_path / "auth"
    secret.write_text("user:a b$c'\\n%\n")
    shown = [sys.executable, "-c", "import os; print(os.environ['PREFECT_API_AUTH_STRING'])"]
    done = with_secrets(*shown, PREFECT_API_AUTH_STRING_FILE=str(secret))
    assert done.stdout == "user:a b$c'\\n%\n", done.stderr
    assert STAGES["app"].of("ENTRYPOINT") == ['["with-secrets"]']


@pytest.mark.parametrize("content", [None, ""])
def test_entry_point_names_a_secret_that_is_not_there(tmp_path: Path, content: str | None) -> None:
    secret = tmp_path / "password"
    if content is not None:
        secret.write_text(content)
    done = with_secrets("echo", "started", PGPASSWORD_FILE=str(secret))
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"PGPASSWORD_FILE: {secret} is missing, empty or not readable" in done.stderr


def test_entry_point_knows_all_secrets() -> None:
    script = (DOCKER / "bin" / "with-secrets").read_text()
    known = set(re.findall(r"[A-Z_]{6,}", re.search(r"for name in (.*);", script)[1]))  # type: ignore[index]
    ours = [service for service in SERVICES.values() if "build" in service]
    keys = {key for service in ours for key in service.get("environment", {})}
    assert {key.removesuffix("_FILE") for key in keys if key.endswith("_FILE")} == {
        *known,
        "DASK_DISTRIBUTED__COMM__TLS__CA",
    }


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


def test_queues_are_those_of_the_deployments() -> None:
    entries = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
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


def test_gpu_worker_reserves_its_device_and_offers_it_as_a_resource() -> None:
    reserved = SERVICES["dask-worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert [(device["driver"], device["capabilities"]) for device in reserved] == [
        ("nvidia", ["gpu"])
    ]
    script = (DOCKER / "bin" / "geoseg-dask-worker").read_text()
    assert '--nthreads 4 --resources "GPU=4"' in script
    assert "torch.cuda.is_available()" in script
    assert STAGES["gpu"].of("CMD") == ['["geoseg-dask-worker", "gpu"]']
    assert SERVICES["dask-worker-gpu"]["command"] == ["geoseg-dask-worker", "gpu"]
    assert environment("gpu")["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert environment("cpu")["NVIDIA_VISIBLE_DEVICES"] == "void"


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        (["gpu"], {}, "GEOSEG_SCHEDULER"),
        ([], {"GEOSEG_SCHEDULER": SCHEDULER}, "usage: geoseg-dask-worker gpu|cpu"),
    ],
)
def test_dask_worker_says_what_is_missing(
    arguments: list[str], environ: dict[str, str], message: str
) -> None:
    script = ["sh", str(DOCKER / "bin" / "geoseg-dask-worker"), *arguments]
    done = subprocess.run(script, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode != 0
    assert message in done.stderr


def test_dask_knows_the_options() -> None:
    def known(main: Any) -> set[str]:
        return {
            option
            for parameter in main.params
            for option in parameter.opts + parameter.secondary_opts
        }

    def given(name: str) -> set[str]:
        return {word.split("=")[0] for word in SERVICES[name]["command"] if word.startswith("--")}

    script = (DOCKER / "bin" / "geoseg-dask-worker").read_text()
    lines = [line for line in script.splitlines() if not line.lstrip().startswith("#")]
    worker = set(re.findall(r"(?<= )--[a-z-]+", "\n".join(lines)))
    assert len(worker) >= 6
    assert worker <= known(dask_worker)
    assert given("dask-scheduler") <= known(dask_scheduler)


def test_prefect_knows_the_settings() -> None:
    """Prefect passes over a misspelt variable without a word."""
    names = {key for service in SERVICES.values() for key in service.get("environment", {})}
    names |= set(environment("cpu"))
    settings = {name.removesuffix("_FILE") for name in names if name.startswith("PREFECT_")}
    assert len(settings) >= 12
    assert [name for name in sorted(settings) if not hasattr(prefect.settings, name)] == []
