"""The images of docker/ and what starts in them, as far as they can be checked where no engine runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from distributed.cli.dask_scheduler import main as dask_scheduler
from distributed.cli.dask_worker import main as dask_worker

from geoseg.io import plain_yaml
from tests.support.docker_files import (
    COMPOSE,
    DOCKER,
    ROOT,
    SCHEDULER,
    SERVICES,
    STAGES,
    accepted,
    chain,
    copied,
    environment,
    tool,
)


def test_dockerfile_passes_hadolint() -> None:
    accepted(tool("hadolint"), "docker/Dockerfile")


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
    assert (ROOT / source).exists()
    assert f"!{source}" in (ROOT / ".dockerignore").read_text().split()


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


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    command = ["sh", str(DOCKER / "make-secrets.sh"), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    first = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(first) == set(plain_yaml.load(COMPOSE.read_text())["secrets"])
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
        "DASK_DISTRIBUTED__COMM__TLS__CA",  # these two are names of files by themselves
        "PREFECT_API_SSL_CERT",
    }


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
