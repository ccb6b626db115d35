"""What the Prefect server does by itself: give up runs that died in silence, and tell of failures."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import CallWebhook, ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.types import SecretDict
from pydantic import SecretStr
from pydantic_core import to_jsonable_python

SILENCE = timedelta(seconds=90)
"""Three heartbeats of flows/stack/services.py. Sure from the second heartbeat on: that a run is Running
may be heard after its first, and is then taken for the sign of life that was waited for."""
NEVER_BEGUN = timedelta(minutes=2)
BLOCK = "geoseg-webhook"

_UNHEARD = "was killed, is frozen, or does not reach the server"
"""All that is known of who is not heard."""

_RUNS = {"prefect.resource.id": "prefect.flow-run.*"}
_STARTING = {
    "prefect.flow-run.Pending",
    "prefect.flow-run.Submitting",
    "prefect.flow-run.InfrastructurePending",
    "prefect.flow-run.pull-step.executed",
}
"""What is heard of a run before it runs; each takes the place of the one before."""
_ANY = "prefect.flow-run.*"
"""Whatever a run does; a state with a name of its own is an end as well as Completed is."""


def register_automations(
    client: SyncPrefectClient, say: Callable[[str], None], webhook: str
) -> None:
    """Make or mend the automations; the one for failures where ``webhook``, a URL, is given."""
    wanted = [_silent(), _stuck()]
    if webhook:
        wanted.append(_failures(_block(webhook)))
    for automation in wanted:
        _put(client, automation)
        say(f"automation: {automation.name}")


def _put(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    """Create it or bring it up to date, and leave alone what is as it should be: a change makes the
    server forget which runs it was waiting for."""
    there = client.read_automations_by_name(wanted.name)
    if not there:
        client.create_automation(wanted)
    elif _content(there[0]) != _content(wanted):
        kept = wanted.model_copy(update={"enabled": there[0].enabled})
        client.update_automation(there[0].id, kept)


def _content(automation: AutomationCore) -> object:
    """What an automation does, without ids and whether it is turned on; sets in one order."""
    dumped = automation.model_dump(
        include={"description", "trigger", "actions"}, exclude={"trigger": {"id"}}
    )
    trigger = {k: sorted(v) if isinstance(v, set) else v for k, v in dumped["trigger"].items()}
    return to_jsonable_python(dumped | {"trigger": trigger})


def _silent() -> AutomationCore:
    return AutomationCore(
        name="geoseg: runs that died in silence",
        description="A run whose process and worker were killed together would stay Running for ever.",
        trigger=_missing({"prefect.flow-run.heartbeat"}, SILENCE),
        actions=[_crash(f"no sign of life for {SILENCE.seconds} s: its process {_UNHEARD}")],
    )


def _stuck() -> AutomationCore:
    return AutomationCore(
        name="geoseg: runs that never began",
        description="A run whose worker was killed while it started the run would stay Pending for ever.",
        trigger=_missing(_STARTING, NEVER_BEGUN),
        actions=[_crash(f"did not begin within {NEVER_BEGUN.seconds} s: its worker {_UNHEARD}")],
    )


def _missing(after: set[str], within: timedelta) -> EventTrigger:
    """Fires for a run of which nothing is heard any more after one of these events."""
    return EventTrigger(
        match=_RUNS,
        after=after,
        expect={_ANY},
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=within,
    )


def _crash(message: str) -> ChangeFlowRunState:
    return ChangeFlowRunState(state="CRASHED", name="Crashed", message=message)


def _failures(block: UUID) -> AutomationCore:
    names = ("Failed", "Crashed", "TimedOut", "Quarantined", "Held")
    return AutomationCore(
        name="geoseg: tell of failures",
        description="A POST to GEOSEG_WEBHOOK for each run that fails.",
        trigger=EventTrigger(
            match=_RUNS,
            expect={f"prefect.flow-run.{name}" for name in names},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[CallWebhook(block_document_id=block, payload=_MESSAGE)],
    )


_MESSAGE = """{
 "text": {{ (flow.name ~ " " ~ flow_run.name ~ ": " ~ flow_run.state.name ~ ". " ~
             (flow_run.state.message or ""))|tojson }},
 "flow": {{ flow.name|tojson }},
 "run": {{ flow_run.name|tojson }},
 "id": {{ flow_run.id|string|tojson }},
 "state": {{ flow_run.state.name|tojson }},
 "message": {{ (flow_run.state.message or "")|tojson }},
 "page": {{ flow_run|ui_url|tojson }}
}"""
"""``text`` is what chat services show; the rest is for programs."""


def _block(url: str) -> UUID:
    """The URL in Prefect's own keeping, encrypted: who has it can write into the operator's chat."""
    webhook = Webhook(
        method="POST",
        url=SecretStr(url),
        headers=SecretDict({"Content-Type": "application/json"}),
    )
    saved = webhook.save(BLOCK, overwrite=True)
    assert isinstance(saved, UUID)
    return saved
