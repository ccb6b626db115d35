"""What every section of a config shares: exact keys, frozen values, paths relative to the file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_OURS = re.compile(r"GEOSEG_\w+|HOME|USER|TMPDIR|SCRATCH|WORK")
"""Variables that a file may name: the environment also holds what is nobody's business."""
_SECRET = re.compile(r"PASS|SECRET|TOKEN|CREDENTIAL|AUTH|(?<!TLS)_KEY|DATABASE|LEDGER|WEBHOOK")

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9]+(\+\w+)*:/")
_PREFIXED = re.compile(r"[A-Z][A-Z0-9_]+:|[<{]")
_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".kmz", ".shz", ".7z", ".rar")


def expand(text: object) -> object:
    """Replace ``${NAME}`` by the environment variable.

    ValueError where it is not set, or is not one that a file may name.
    """
    if not isinstance(text, str):
        return text
    for name in _VARIABLE.findall(text):
        if not _OURS.fullmatch(name):
            raise ValueError(
                f"environment variable {name} may not be named in a file, only GEOSEG_..., HOME, "
                f"USER, TMPDIR, SCRATCH and WORK; export GEOSEG_{name.removeprefix('GEOSEG_')} instead"
            )
        if name not in os.environ:
            raise ValueError(f"environment variable {name} is not set; export {name}=FOLDER first")
    return os.path.expanduser(_VARIABLE.sub(lambda match: os.environ[match.group(1)], text))


def _expand_path(text: object) -> object:
    """``expand`` for a path, which messages and reports show: no secret, and nothing but a path."""
    if not isinstance(text, str):
        return text
    for name in _VARIABLE.findall(text):
        if _SECRET.search(name):
            raise ValueError(f"environment variable {name} looks like a secret, not like a folder")
    expanded = expand(text)
    reason = foreign(str(expanded))
    if reason:
        raise ValueError(reason)
    return expanded


def foreign(text: str) -> str:
    """Why a text names something else than a file or folder of this machine; empty where it does not.

    GDAL and the libraries around it take more than that for a file name.
    """
    if text.startswith("/vsi"):
        return "a virtual path of GDAL's; name a file or folder of this machine"
    if _ADDRESS.match(text):
        return "an address, not a path; name a file or folder of this machine"
    if _PREFIXED.match(text):
        return (
            "a part of a file, or a description of one; convert it to a file first (gdal_translate), "
            "or begin the name of a file with ./"
        )
    if text.lower().endswith(_ARCHIVES):
        return "an archive; unpack it first"
    return ""


def resolve(path: Path, info: ValidationInfo) -> Path:
    """A path from the folder of the file that names it."""
    base = (info.context or {}).get("base", Path())
    return Path(os.path.normpath(base / path))


FilePath = Annotated[Path, BeforeValidator(_expand_path), AfterValidator(resolve)]
"""A path: ``${NAME}`` is the environment's, anything relative starts at the config file's folder."""

Share = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """One section of a config."""

    model_config = ConfigDict(extra="forbid", frozen=True)
