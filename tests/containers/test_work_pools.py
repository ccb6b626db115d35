"""The templates of work pools: complete, and as locked down as the services."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.support.docker_files import DOCKER
from tests.support.kubernetes_files import (
    COMPOSE,
    NAME,
    SECRET,
    container,
    environment,
    pod,
    validate,
)

POOLS = {
    name: json.loads((DOCKER / "work-pools" / f"{name}.json").read_text())
    for name in ("docker", "kubernetes")
}


def defaults(pool: dict[str, Any]) -> dict[str, Any]:
    return {name: each.get("default") for name, each in pool["variables"]["properties"].items()}


def filled(value: Any, given: dict[str, Any]) -> Any:
    """The template as Prefect fills it: what has no value is left out."""
    if isinstance(value, dict):
        made = {key: filled(each, given) for key, each in value.items()}
        return {key: each for key, each in made.items() if each is not None}
    if isinstance(value, list):
        return [filled(each, given) for each in value]
    if isinstance(value, str) and (whole := re.fullmatch(r"\{\{ (\w+) \}\}", value)):
        return given[whole[1]]
    if isinstance(value, str):
        return re.sub(r"\{\{ (\w+) \}\}", lambda part: given[part[1]] or "", value)
    return value


@pytest.mark.parametrize("name", POOLS)
def test_templates_hold_together(name: str) -> None:
    pool = POOLS[name]
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(pool["job_configuration"])))
    assert used == set(pool["variables"]["properties"])
    Draft202012Validator.check_schema(pool["variables"])
    given = {key: value for key, value in defaults(pool).items() if value is not None}
    Draft202012Validator(pool["variables"]).validate(given)
    assert given["image"] == "geoseg:cpu"
    for key, value in given["env"].items():
        assert not SECRET.search(key) or key.endswith("_FILE"), f"{key}: {value}"


def test_the_job_of_the_kubernetes_template_is_as_locked_as_the_worker() -> None:
    pool = POOLS["kubernetes"]
    given = defaults(pool) | {
        "name": "run", "command": ["prefect", "flow-run", "execute"],
        "env": [{"name": k, "value": v} for k, v in defaults(pool)["env"].items()],
    }  # fmt: skip
    job = filled(pool["job_configuration"]["job_manifest"], given)
    made, worker = job["spec"]["template"]["spec"], pod("prefect-worker")["spec"]
    # prefect-kubernetes wants them in the pod, where Kubernetes does not know them and passes them by.
    assert (made.pop("completions"), made.pop("parallelism")) == (1, 1)
    validate(job)
    assert made["securityContext"] == worker["securityContext"]
    assert made["volumes"] == worker["volumes"]
    assert (
        made["containers"][0]["securityContext"] == container("prefect-worker")["securityContext"]
    )
    assert made["containers"][0]["volumeMounts"] == container("prefect-worker")["volumeMounts"]
    assert job["spec"]["template"]["metadata"]["labels"][NAME] == "prefect-worker"
    told = environment("prefect-worker")
    assert {k: told.get(k) for k in defaults(pool)["env"]} == defaults(pool)["env"]


def test_the_container_of_the_docker_template_is_as_locked_as_the_service() -> None:
    given, service = defaults(POOLS["docker"]), COMPOSE["services"]["prefect-worker"]
    options = given["container_create_kwargs"]
    assert options["read_only"] is True
    assert options["cap_drop"] == ["ALL"]
    assert options["security_opt"] == service["security_opt"]
    assert options["user"] != "root"
    assert options["pids_limit"] == service["deploy"]["resources"]["limits"]["pids"]
    assert {f"{place}:{how}" for place, how in options["tmpfs"].items()} == set(service["tmpfs"])
    assert given["networks"] == [f"geoseg_{name}" for name in service["networks"]]
    assert {volume.split(":")[1] for volume in given["volumes"]} == {
        "/data", "/certificates", "/run/secrets",
    }  # fmt: skip
    told = service["environment"]
    assert {k: told.get(k) for k in given["env"]} == given["env"]
    assert "privileged" not in given
