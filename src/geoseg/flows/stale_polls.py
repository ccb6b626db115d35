"""Polls that a later one has overtaken, or that died in silence: they end here.

After hours without a worker, every poll that was due meanwhile would be made one after the other. And
a poll that was being started while the server's database was away stays Pending for good.
"""

from __future__ import annotations

import datetime as dt
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled, Crashed

SILENT = dt.timedelta(minutes=10)
"""No poll takes so long that it should be given up earlier."""
AT_ONCE = 200


def end_overtaken() -> int:
    """End the other polls of this run's deployment that are late or dead; returns how many.

    Where this run has no deployment there are none.
    """
    if runtime.deployment.id is None:
        return 0
    with get_client(sync_client=True) as client:
        found = [run for run in _unfinished(client) if str(run.id) != runtime.flow_run.id]
        now = dt.datetime.now(dt.UTC)
        return sum(_end(client, run, now) for run in found)


def _unfinished(client: SyncPrefectClient) -> list[FlowRun]:
    kinds = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=kinds))
    deployment = DeploymentFilterId(any_=[UUID(str(runtime.deployment.id))])
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=state),
        deployment_filter=DeploymentFilter(id=deployment),
        limit=AT_ONCE,
    )


def _end(client: SyncPrefectClient, run: FlowRun, now: dt.datetime) -> bool:
    late = now - (run.expected_start_time or now)
    if run.state_type == StateType.SCHEDULED and late > dt.timedelta(0):
        client.set_flow_run_state(run.id, Cancelled(message="a later poll was made"), force=True)
        return True
    if run.state_type != StateType.SCHEDULED and late > SILENT:
        told = f"no end after {SILENT.seconds // 60} min; a later poll was made"
        client.set_flow_run_state(run.id, Crashed(message=told), force=True)
        return True
    return False
