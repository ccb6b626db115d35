"""The manifests in docker/kubernetes/ and the templates of work pools, where no cluster can be asked."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # as kubectl, of YAML 1.1: 0440 is a number in base 8

from tests.support.kubernetes_files import (
    COMPOSE,
    DOCKER,
    DOCUMENTS,
    FILES,
    NAME,
    SECRET,
    WORKLOADS,
    container,
    environment,
    of,
    pod,
    validate,
)

JOBS = DOCKER / "kubernetes-jobs"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_manifests_follow_the_schemas_of_kubernetes(path: Path) -> None:
    documents = list(yaml.safe_load_all(path.read_text()))
    assert documents
    for document in documents:
        validate(document)


def test_the_validator_refuses_a_misspelt_key() -> None:
    library = pytest.importorskip("kubernetes_validate")
    wrong = json.loads(json.dumps(WORKLOADS["watch"]))
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(library.ValidationError, match="livenesProbe"):
        validate(wrong)


def kustomized(folder: Path) -> list[dict[str, Any]]:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    command = [kubectl, "kustomize", str(folder)]
    built = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    made = list(yaml.safe_load_all(built))
    inside = {each["metadata"].get("namespace") for each in made if each["kind"] != "Namespace"}
    assert inside == {"geoseg"}
    return made


def test_kustomize_takes_every_file_and_builds() -> None:
    bases = {
        folder: DOCKER / folder / "kustomization.yaml" for folder in ("kubernetes", "postgres")
    }
    listed = {
        (path.parent / resource).resolve()
        for path in bases.values()
        for resource in yaml.safe_load(path.read_text())["resources"]
    }
    assert listed == {*FILES, DOCKER / "postgres"}
    made = kustomized(DOCKER / "kubernetes")
    assert len(made) == len(DOCUMENTS) + 1, "the generated ConfigMap is the one more"


def test_the_overlay_with_jobs_changes_the_worker_and_no_more() -> None:
    plain = {
        (each["kind"], each["metadata"]["name"]): each for each in kustomized(DOCKER / "kubernetes")
    }
    made = {(each["kind"], each["metadata"]["name"]): each for each in kustomized(JOBS)}
    for document in made.values():
        validate(document)
    assert {key for key, each in made.items() if plain.get(key) != each} == {
        ("Deployment", "prefect-worker"), ("ServiceAccount", "prefect-worker"),
        ("Role", "prefect-worker"), ("RoleBinding", "prefect-worker"),
        ("NetworkPolicy", "prefect-worker-to-api"),
    }  # fmt: skip
    assert set(plain) < set(made)
    (worker,) = made["Deployment", "prefect-worker"]["spec"]["template"]["spec"]["containers"]
    assert "--type=kubernetes" in worker["args"]
    assert worker["securityContext"] == container("prefect-worker")["securityContext"]
    assert {each["name"] for each in worker["volumeMounts"]} >= {"tmp", "prefect-secret"}
    rules = made["Role", "prefect-worker"]["rules"]
    assert not any("secrets" in rule["resources"] or "*" in rule["verbs"] for rule in rules)


@pytest.mark.parametrize("name", WORKLOADS)
def test_pods_hold_no_more_rights_than_they_need(name: str) -> None:
    """The level "restricted" of Kubernetes, and a root file system that is read-only besides."""
    spec, locked = pod(name)["spec"], container(name)["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert locked == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    labels = of("Namespace")["geoseg"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("name", WORKLOADS)
def test_pods_are_limited_and_watched(name: str) -> None:
    resources = container(name)["resources"]
    assert set(resources["requests"]) == {"cpu", "memory"}
    assert set(resources["limits"]) - {"nvidia.com/gpu"} == {"cpu", "memory"}
    probes = {key for key in container(name) if key.endswith("Probe")}
    assert name == "register" or {"startupProbe", "livenessProbe"} <= probes


@pytest.mark.parametrize("name", WORKLOADS)
def test_pods_mount_what_they_declare_and_secrets_are_files(name: str) -> None:
    volumes = {volume["name"]: volume for volume in pod(name)["spec"].get("volumes", [])}
    claims = WORKLOADS[name]["spec"].get("volumeClaimTemplates", [])
    mounts = {mount["name"]: mount for mount in container(name)["volumeMounts"]}
    assert set(mounts) == set(volumes) | {claim["metadata"]["name"] for claim in claims}
    assert mounts["tmp"]["mountPath"] == "/tmp"
    secrets = {n: volume["secret"] for n, volume in volumes.items() if "secret" in volume}
    assert all(secret["defaultMode"] == 0o440 for secret in secrets.values())
    assert all(mounts[n]["readOnly"] for n in secrets)
    places = tuple(mounts[n]["mountPath"] + "/" for n in secrets)
    for key, value in environment(name).items():
        if SECRET.search(key):
            assert key.endswith("_FILE"), f"{key} is a secret in a manifest"
            assert value.startswith(places), f"{value} is not mounted"
        if "TLS" in key:
            assert value.startswith(places)
    used = {Path(v).parent for k, v in environment(name).items() if v.startswith(places)}
    assert {str(path) + "/" for path in used} == set(places), "handed what it does not use"


def test_no_secret_is_in_a_file() -> None:
    assert not of("Secret")
    variables = [
        each for name in WORKLOADS for each in container(name).get("env", []) if "valueFrom" in each
    ]
    assert [each["name"] for each in variables] == ["GEOSEG_WEBHOOK"]


@pytest.mark.parametrize("name", WORKLOADS)
def test_pods_run_what_the_services_of_compose_run(name: str) -> None:
    """One list of commands and variables: what holds for the one holds for the other."""
    service = COMPOSE["services"][name]
    image = re.sub(r"^\$\{\w+:-(.+)\}$", r"\1", service["image"])
    assert container(name)["image"] == image
    if name == "postgres":
        return
    loopback = {"--dashboard-address=127.0.0.1:8787": "--dashboard-address=:8787"}
    args = [loopback.get(word, word) for word in container(name)["args"]]
    assert args == [word.replace("${GEOSEG_RUNS:-1}", "1") for word in service["command"]]
    told = set(service["environment"])
    assert set(environment(name)) - {"GEOSEG_CPUS"} == told - {"GEOSEG_CPUS"}
    values = {
        k: v for k, v in service["environment"].items() if "${" not in v and "/secrets" not in v
    }
    assert {k: environment(name)[k] for k in values} == values


def test_all_services_of_compose_have_a_place() -> None:
    # certificates: a Secret that `geoseg certificates` fills; metrics: not yet
    assert set(COMPOSE["services"]) - set(WORKLOADS) == {"certificates", "metrics"}


def test_who_reaches_the_scheduler() -> None:
    policies = of("NetworkPolicy")
    assert policies["nobody"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (rule,) = policies["dask-scheduler"]["spec"]["ingress"]
    assert rule["ports"] == [{"port": 8786, "protocol": "TCP"}]
    (peer,) = rule["from"]
    (expression,) = peer["podSelector"]["matchExpressions"]
    assert expression["values"] == ["dask-worker", "prefect-worker"]


def test_policies_speak_of_pods_that_there_are() -> None:
    there = {pod(name)["metadata"]["labels"][NAME] for name in WORKLOADS}
    named = set(re.findall(rf"{NAME}: ([\w-]+)", str(of("NetworkPolicy")).replace("'", "")))
    for values in re.findall(r"values: \[([^\]]+)\]", str(of("NetworkPolicy")).replace("'", "")):
        named |= set(values.split(", "))
    assert named == there
    for name, service in of("Service").items():
        assert service["spec"]["selector"][NAME] in there, name
        assert service["spec"].get("type", "ClusterIP") == "ClusterIP", "not beyond the cluster"
