"""On which workers the map is computed."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from geoseg.config.base import FilePath, Section

CLUSTER_PACKAGES = {
    "distributed": "distributed",
    "dask_jobqueue": "dask-jobqueue",
    "dask_kubernetes": "dask-kubernetes",
    "dask_cuda": "dask-cuda",
    "dask_cloudprovider": "dask-cloudprovider",
    "coiled": "coiled",
}
"""The modules a cluster class may come from, and what to install for each.

Importing a module runs it, so a config that could name any would be a program.
"""

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_LOADS_CODE = re.compile(r"preload.*|(job|scheduler)_cls|worker_(class|module)|remote_python")
"""Options with which Dask itself imports or runs what they name."""


class TlsConfig(Section):
    """The files that prove who one is; the same three for client, scheduler and workers."""

    ca_file: FilePath
    """Certificate of the authority that signed all the others, PEM."""
    cert: FilePath
    """Certificate of this side, PEM; for use as client and as server."""
    key: FilePath
    """Its private key, PEM."""


class ClusterConfig(Section):
    """Where blocks are predicted: here, on a running scheduler, or on a cluster class's workers."""

    address: str | None = None
    """A running Dask scheduler; where not named, workers are started."""
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Worker processes to start; 0: no Dask at all. ``auto``: one per GPU, one where there is none;
    with ``class`` as many as the class starts by itself."""
    concurrency: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Networks that run at once in a worker process, one core each; ``auto``: one per core."""
    class_path: str | None = Field(default=None, alias="class")
    """A cluster class, such as ``dask_jobqueue.SLURMCluster``."""
    # Kept out of dumps, and so out of reports: people put tokens into such options.
    options: dict[str, Any] = Field(default_factory=dict, exclude=True, repr=False)
    """Keyword arguments of ``class``."""
    resources: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """What a block needs of a worker's resources, such as ``{GPU: 1}``."""
    tls: TlsConfig | None = None

    @field_validator("class_path")
    @classmethod
    def _allowed(cls, path: str | None) -> str | None:
        if path is None:
            return None
        if not _DOTTED.fullmatch(path):
            raise ValueError("write module.Class, for example dask_jobqueue.SLURMCluster")
        if path.split(".")[0] not in CLUSTER_PACKAGES:
            known = ", ".join(CLUSTER_PACKAGES)
            raise ValueError(f"a cluster class may come from {known}; from nowhere else")
        return path

    @field_validator("options")
    @classmethod
    def _harmless(cls, options: dict[str, Any]) -> dict[str, Any]:
        for key in options:
            if _LOADS_CODE.fullmatch(key):
                raise ValueError(f"'{key}' makes Dask load code; a config may not, leave it out")
            if key == "security":
                raise ValueError("'security' is made of 'cluster.tls'; give the files there")
            if key == "asynchronous":
                raise ValueError("'asynchronous' is not for a run; leave it out")
        return options

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.address and self.class_path:
            raise ValueError("give 'address' or 'class', not both")
        if self.options and not self.class_path:
            raise ValueError("'options' are those of a 'class'; name it, or leave them out")
        if self.address and self.workers != "auto":
            raise ValueError(
                "'workers' are started here, the scheduler at 'address' has its own; "
                "leave one of the two out"
            )
        if self.class_path and self.workers == 0:
            raise ValueError("'workers: 0' is no Dask at all, and 'class' names a cluster of it")
        problem = address_problem(self.address, self.tls is not None)
        if problem:
            raise ValueError(f"address: {problem}")
        return self


def address_problem(address: str | None, tls: bool) -> str | None:
    """Why an address does not go with certificates; None where it does."""
    if not address or not tls or address.startswith("tls://"):
        return None
    place = address.split("://")[-1]
    return f"{address} is not encrypted, and 'cluster.tls' asks for it; write tls://{place}"
