"""The Kubernetes manifests of the repository, read and validated."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml  # as kubectl, of YAML 1.1: 0440 is a number in base 8

from tests.support.common import ROOT

DOCKER = ROOT / "docker"


FILES = sorted(
    path
    for folder in ("kubernetes", "postgres")
    for path in (DOCKER / folder).glob("*.yaml")
    if path.name != "kustomization.yaml"
)


DOCUMENTS: list[dict[str, Any]] = [
    document for path in FILES for document in yaml.safe_load_all(path.read_text())
]


COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())


SECRET = re.compile(r"PASSWORD|AUTH|TOKEN|SECRET|LOGIN")


NAME = "app.kubernetes.io/name"


def of(kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in DOCUMENTS if each["kind"] == kind}


WORKLOADS = of("Deployment") | of("StatefulSet") | of("Job")


def pod(name: str) -> dict[str, Any]:
    template: dict[str, Any] = WORKLOADS[name]["spec"]["template"]
    return template


def container(name: str) -> dict[str, Any]:
    (only,) = pod(name)["spec"]["containers"]
    return dict(only)


def environment(name: str) -> dict[str, str]:
    """What the container is told, the ConfigMaps' share included."""
    given: dict[str, str] = {}
    for source in container(name).get("envFrom", []):
        given |= of("ConfigMap")[source["configMapRef"]["name"]]["data"]
    return given | {each["name"]: each.get("value", "") for each in container(name).get("env", [])}


def validate(document: dict[str, Any]) -> None:
    library = pytest.importorskip("kubernetes_validate")
    library.validate(document, library.latest_version(), strict=True)
