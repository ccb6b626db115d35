"""``prefect.yaml``: which deployments there are, for a worker (``register``) and without (``serve``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geoseg.errors import ConfigError
from geoseg.io import plain_yaml

PROJECT = Path("prefect.yaml")

Entry = dict[str, Any]
"""One deployment, as the file has it."""


def deployments() -> list[Entry]:
    """All deployments of the file in this folder. Raises ``ConfigError`` where there is none."""
    if not PROJECT.is_file():
        raise ConfigError(
            f"{PROJECT.resolve()}: no such file; go where it is, into geoseg's folder with the configs"
        )
    content = plain_yaml.load(PROJECT.read_text(encoding="utf-8"), PROJECT)
    listed = content.get("deployments") if isinstance(content, dict) else None
    if not isinstance(listed, list) or not all(
        isinstance(entry, dict) and {"name", "entrypoint"} <= entry.keys() for entry in listed
    ):
        raise ConfigError(
            f"{PROJECT}: 'deployments' is a list of deployments, each with a name and an entrypoint"
        )
    return listed


def is_there(entry: Entry) -> bool:
    """Whether the file with the deployment's flow is there."""
    return Path(entry["entrypoint"].partition(":")[0]).is_file()
