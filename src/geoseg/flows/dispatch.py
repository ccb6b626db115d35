"""Prefect as what starts the runs of orders: see ``geoseg.service.dispatch.Dispatcher``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Self
from uuid import UUID

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Crashed

from geoseg.errors import ConfigError, RemoteError
from geoseg.flows.orders import HELD
from geoseg.service.dispatch import Kind, RunState
from geoseg.service.orders import Order

KINDS: dict[StateType, Kind] = {
    StateType.SCHEDULED: "pending",
    # A worker has it: it must begin its order soon, or was lost while it was started.
    StateType.PENDING: "running",
    StateType.PAUSED: "pending",
    StateType.RUNNING: "running",
    StateType.CANCELLING: "running",
    StateType.COMPLETED: "completed",
    StateType.FAILED: "failed",
    StateType.CRASHED: "crashed",
    StateType.CANCELLED: "cancelled",
}


class PrefectDispatcher:
    """Runs of one deployment, for several threads. It keeps a connection, so close it, or use it as
    a context."""

    def __init__(self, deployment: str, service: str) -> None:
        """``deployment`` as ``flow/name``; ``service``: the service file, as its runs can read it."""
        self._deployment, self._service = deployment, service
        self._opened = ExitStack()
        self._client: SyncPrefectClient | None = None
        self._deployment_id: UUID | None = None
        self._opening = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def start(self, order: Order, parameters: Mapping[str, str | int], key: str) -> str:
        """See ``Dispatcher.start``. Raises ``ConfigError`` where there is no such deployment."""
        with self._asking() as client:
            run = client.create_flow_run_from_deployment(
                self._known_deployment(client),
                parameters={**parameters, "service": self._service},
                name=f"{order.area} {order.season} order {key}",
                tags=[order.area],
                idempotency_key=_once(order, key),
            )
        return str(run.id)

    def _known_deployment(self, client: SyncPrefectClient) -> UUID:
        """Asked for once: a poll may start hundreds of runs."""
        if self._deployment_id is None:
            try:
                self._deployment_id = client.read_deployment_by_name(self._deployment).id
            except ObjectNotFound:
                raise ConfigError(
                    f"deployment: Prefect knows no {self._deployment!r}; deploy it (prefect deploy), "
                    "or correct 'deployment' in the service file"
                ) from None
        return self._deployment_id

    def state(self, run_id: str) -> RunState:
        """See ``Dispatcher.state``."""
        with self._asking() as client:
            try:
                state = client.read_flow_run(UUID(run_id)).state
            except (ObjectNotFound, ValueError):  # the latter: an id that Prefect never gave
                return RunState("unknown")
        if state is None:
            return RunState("unknown")
        return RunState(KINDS[state.type], state.message or "", state.name == HELD)

    def crash(self, run_id: str, reason: str) -> None:
        """See ``Dispatcher.crash``."""
        with self._asking() as client:
            client.set_flow_run_state(UUID(run_id), Crashed(message=reason), force=True)

    @contextmanager
    def _asking(self) -> Iterator[SyncPrefectClient]:
        """A client of the server that Prefect's settings name; its failures are ``RemoteError``, its
        refusals ``ConfigError``."""
        try:
            with self._opening:
                if self._client is None:
                    self._client = self._opened.enter_context(get_client(sync_client=True))
            yield self._client
        except ObjectNotFound as error:
            raise RemoteError(f"the Prefect server knows it no longer: {error}") from None
        except PrefectHTTPStatusError as error:
            if not error.response.is_server_error:
                raise ConfigError(
                    f"the Prefect server refuses: {_told(error)}; check PREFECT_API_AUTH_STRING, and "
                    "that its deployments are of this version (python -m geoseg.flows.register)"
                ) from None
            raise RemoteError(f"the Prefect server does not answer: {_told(error)}") from None
        except (HTTPError, RuntimeError) as error:
            # RuntimeError: so says Prefect where a connection cannot be made at all.
            raise RemoteError(
                f"the Prefect server does not answer: {_told(error)}; check PREFECT_API_URL and that "
                "it runs"
            ) from None


def _once(order: Order, key: str) -> str:
    """What a run is started once under: a ledger that is made anew counts its orders anew, and a
    Prefect server that was kept has runs of the old ones."""
    return f"geoseg:{order.fingerprint[:16]}:{order.created.isoformat()}:{key}"


def _told(error: Exception) -> str:
    """In one line of bounded length."""
    return " ".join(str(error).split())[:500] or type(error).__name__
