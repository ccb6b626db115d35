"""What every section of a config shares: exact keys, frozen values, paths relative to the file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def expand(text: object) -> object:
    """Replace ``${NAME}`` by the environment variable; ValueError where it is not set."""
    if not isinstance(text, str):
        return text
    for name in _VARIABLE.findall(text):
        if name not in os.environ:
            raise ValueError(f"environment variable {name} is not set; export {name}=FOLDER first")
    return os.path.expanduser(_VARIABLE.sub(lambda match: os.environ[match.group(1)], text))


def _resolve(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base", Path())
    return Path(os.path.normpath(base / path))


FilePath = Annotated[Path, BeforeValidator(expand), AfterValidator(_resolve)]
"""A path: ``${NAME}`` is the environment's, anything relative starts at the config file's folder."""

Share = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """One section of a config."""

    model_config = ConfigDict(extra="forbid", frozen=True)
