"""A cluster class that a config names: found, checked, its workers started.

Only subclasses of Dask's ``Cluster`` from a short list of packages are called, never a function or
another class; what such a class does with its options is what the user wants of it.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from geoseg.config.cluster import CLUSTER_PACKAGES
from geoseg.engine.executors.replacement import kept_up
from geoseg.errors import ConfigError

if TYPE_CHECKING:
    from distributed import Security, SpecCluster
    from distributed.deploy.cluster import Cluster

START_SECONDS = 120
"""How long a cluster class may take to start its workers, or to hand in their jobs."""
_TROUBLE = (TypeError, ValueError, LookupError, OSError, RuntimeError, ImportError)
"""What a cluster class may raise because of an option, or because its system is not there."""


def find_class(path: str) -> type[Cluster]:
    """The cluster class at a dotted path.

    Raises ``ConfigError`` where its package is not on the list or not installed, where there is no
    such name, or where it is anything but a cluster.
    """
    from distributed import SpecCluster  # noqa: PLC0415
    from distributed.deploy.cluster import Cluster  # noqa: PLC0415

    module_name, _, name = path.rpartition(".")
    root = path.partition(".")[0]
    if root not in CLUSTER_PACKAGES:
        raise ConfigError(
            f"cluster.class: {path}: a cluster class may come from {', '.join(CLUSTER_PACKAGES)}; "
            "from nowhere else, since importing a module runs it"
        )
    found = getattr(_module(module_name, root, path), name, None)
    if isinstance(found, type) and issubclass(found, Cluster):
        # The two that others are made of: their options are classes and functions to call.
        if found in (Cluster, SpecCluster):
            raise ConfigError(f"cluster.class: {path} is a base class; name a cluster made of it")
        return found
    if found is None:
        raise ConfigError(f"cluster.class: no {name} in {module_name}{_near(module_name, name)}")
    raise ConfigError(f"cluster.class: {path} is not a cluster class of Dask's; name one that is")


def _module(name: str, root: str, path: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == root
        remedy = f"pip install {CLUSTER_PACKAGES[root]}" if missing else "check the spelling"
        raise ConfigError(
            f"cluster.class: {path} cannot be imported ({error}); {remedy}, here and where the "
            "scheduler runs"
        ) from None


def _near(module_name: str, name: str) -> str:
    from distributed.deploy.cluster import Cluster  # noqa: PLC0415

    content = vars(importlib.import_module(module_name)).items()
    classes = [key for key, x in content if isinstance(x, type) and issubclass(x, Cluster)]
    near = difflib.get_close_matches(name, classes, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; cluster classes there: {', '.join(sorted(classes)) or 'none'}"


def check_options(found: type[Cluster], options: Mapping[str, Any], tls: bool) -> None:
    """Raise ``ConfigError`` for an option that the class's constructor does not take.

    Where that takes any (``**kwargs``), only what looks like one of its own names misspelt is
    caught here; the rest it says itself when the cluster starts.
    """
    parameters = inspect.signature(found).parameters
    if tls and "security" not in parameters:
        raise ConfigError(
            f"cluster.tls: {found.__name__} takes no certificates of ours; leave 'cluster.tls' out "
            "and set up encryption where that cluster is defined"
        )
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    for name in options:
        near = difflib.get_close_matches(name, parameters, n=1, cutoff=0.85 if takes_any else 0.6)
        if name not in parameters and (near or not takes_any):
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(parameters)}"
            raise ConfigError(f"cluster.options: {found.__name__} takes no {name!r}; {hint}")


@contextmanager
def start(
    found: type[Cluster], options: Mapping[str, Any], workers: int | None, security: Security | None
) -> Iterator[Cluster]:
    """A cluster of that class, kept at ``workers`` (None: as it comes); stopped at the end.

    Raises ``ConfigError`` where it does not start, or comes without any worker.
    """
    import dask  # noqa: PLC0415

    check_options(found, options, security is not None)
    arguments = dict(options) | ({"security": security} if security else {})
    try:
        # Heard by the classes whose scheduler is in this process: most. See local.blame.
        with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
            cluster = found(**arguments)
    except _TROUBLE as error:
        call = f"{found.__name__}({', '.join(arguments)})"
        raise ConfigError(
            f"cluster.class: {call} does not start: {_root(error)}; check 'cluster.options'"
        ) from error
    with cluster:
        _scale(cluster, workers)
        _see_started(cluster)
        with kept_up(cluster, workers):
            yield cluster


def _scale(cluster: Cluster, workers: int | None) -> None:
    name = type(cluster).__name__
    if workers is not None:
        try:
            cluster.scale(workers)
        except (*_TROUBLE, NotImplementedError) as error:
            raise ConfigError(
                f"cluster.workers: {name} cannot be scaled to {workers}: {error}"
            ) from error
    elif not getattr(cluster, "worker_spec", True):
        raise ConfigError(
            f"cluster.workers: 'auto' takes a {name} as it comes, and it comes without workers; "
            "say how many"
        )


def _see_started(cluster: Cluster) -> None:
    """Raise ``ConfigError`` where a worker, or the job that will be one, could not be started.

    Scaling goes on behind the scenes, and what fails there is only logged: for want of ``sbatch``
    the run would wait for a worker until it gives up.
    """
    from distributed import SpecCluster, Status  # noqa: PLC0415

    if not isinstance(cluster, SpecCluster):
        return
    deadline = time.monotonic() + START_SECONDS
    while set(cluster.worker_spec) - set(cluster.workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    for worker in list(cluster.workers.values()):
        if worker.status in (Status.created, Status.failed):
            try:
                cluster.sync(_again, worker)
            except _TROUBLE as error:
                _give_up(cluster)
                raise ConfigError(
                    f"cluster.class: {type(cluster).__name__} cannot start a worker: "
                    f"{_root(error)}; check 'cluster.options', and that its commands work here"
                ) from error


def _give_up(cluster: SpecCluster) -> None:
    """Mark the jobs that were never handed in: Dask closes no cluster with an undecided one."""
    from distributed import Status  # noqa: PLC0415

    for worker in cluster.workers.values():
        if worker.status == Status.created:
            worker.status = Status.failed


async def _again(worker: Any) -> None:
    """Start a worker that did not start: it does now, or tells why not."""
    await worker


def _root(error: BaseException) -> str:
    """What an error comes from, as ``Class: text``."""
    while error.__cause__:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"
