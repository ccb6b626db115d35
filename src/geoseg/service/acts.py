"""What an operator does about orders: send them on their way again, release, publish again."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from geoseg.config.service import ServiceConfig
from geoseg.errors import OrderError
from geoseg.feedback import Progress
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.orders import SENDABLE, STATES, Order, State
from geoseg.service.republish import republish

ALL = ("--all", "all")

BY_ITSELF: tuple[State, ...] = ("failed", "waiting")
"""What many are sent from at once: cancelled and quarantined ones somebody meant to stop, so they go
by their number or where their state is named."""


@dataclass(frozen=True, slots=True)
class ActRequest:
    """What the operator asked for."""

    retry: str | None = None
    """A number, an area, a state, or all."""
    release: int | None = None
    republish: int | None = None
    area: str | None = None
    """Of several orders only those of this one."""


def act(
    service: ServiceConfig, ledger: Ledger, wanted: ActRequest, progress: Progress
) -> Iterator[str]:
    """Do it; yields what was done, nothing where nothing was asked for. Raises ``OrderError``."""
    if wanted.retry is not None:
        yield from _retry(service, ledger, wanted.retry, wanted.area)
    if wanted.release is not None:
        yield _sent(ledger.release(wanted.release))
    if wanted.republish is not None:
        done = republish(service, ledger, wanted.republish, progress)
        yield f"{done['version']} is published again, {done['files']} files were sent"
        yield f"collection: {done['collection']}"


def _retry(service: ServiceConfig, ledger: Ledger, which: str, area: str | None) -> Iterator[str]:
    if which.isdecimal():
        yield _sent(ledger.send(int(which)))
        return
    states, area = _chosen(service, which, area)
    orders = ledger.orders(area)
    sent = [order for order in orders if order.state in states]
    for order in sent:
        try:
            yield _sent(ledger.send(order.id))
        except OrderError as error:  # it has moved on meanwhile
            yield f"not sent: {error}"
    left = Counter(o.state for o in orders if o.state in SENDABLE and o.state not in states)
    if left:
        told = ", ".join(f"{number} {state}" for state, number in sorted(left.items()))
        yield f"not sent: {told}; name the state to send them (--retry {min(left)})"
    elif not sent:
        yield "no order is to be sent"


def _chosen(
    service: ServiceConfig, which: str, area: str | None
) -> tuple[Sequence[State], str | None]:
    """The states and the area that are meant."""
    if which in ALL:
        return BY_ITSELF, _known(service, area) if area else None
    by_name = {name: name for name in SENDABLE}
    if which in by_name:
        return (by_name[which],), _known(service, area) if area else None
    if which in STATES:
        raise OrderError(
            f"--retry {which}: this is for orders that are {' or '.join(SENDABLE)}, not {which}"
        )
    return BY_ITSELF, _known(service, which)


def _known(service: ServiceConfig, name: str) -> str:
    """The area, or an error that names what there is."""
    if name in service.areas:
        return name
    choices = [*service.areas, *SENDABLE]
    near = difflib.get_close_matches(name, choices, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the areas are {', '.join(service.areas)}"
    raise OrderError(
        f"{name!r} is no number of an order, no area of the service, and no state such as failed; "
        f"{hint}"
    )


def _sent(order: Order) -> str:
    return f"order {order.id} ({order.area}) is sent on its way by the next poll"
