"""Which images make a map: one for each slot of the season, or why there is no map yet. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from geoseg.config.service import ReadyConfig, Slot
from geoseg.imagery.catalogs.found import CatalogItem
from geoseg.service.orders import Choice, Order, Selection

SHOWN = 6
"""Slots without an image that a message lists."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What there is to make a map from."""

    selection: Selection
    """In the order of the slots; the whole of them where ``lacking`` is empty."""
    lacking: str = ""
    """Why there is not one for each slot."""


def judge(found: CatalogItem, ready: ReadyConfig) -> CatalogItem:
    """The verdict on an item that can be used but for clouds."""
    if found.verdict not in ("usable", "cloudy") or found.clear is None:
        return found
    if found.clear < ready.clear:
        reason = f"{_percent(found.clear)} % clear, {_percent(ready.clear)} wanted"
        return replace(found, verdict="cloudy", reason=reason)
    return replace(found, verdict="usable", reason="")


def choose(found: Sequence[CatalogItem], slots: Sequence[Slot], ready: ReadyConfig) -> Chosen:
    """One image for each slot: the clearest, then the newest version, then the last by name.

    All are of one grid, the one that fills most slots.
    """
    usable = [one for one in found if one.verdict == "usable"]
    grids = sorted({one.grid for one in usable})
    best = [_fill([one for one in usable if one.grid == grid], slots) for grid in grids]
    filled = max(best, key=len, default={})
    empty = [slot for slot in slots if slot not in filled]
    selection = tuple(_choice(slot, filled[slot]) for slot in slots if slot in filled)
    if not empty:
        return Chosen(selection)
    have = "has" if len(empty) == 1 else "have"
    listed = ", ".join(_empty(slot, found, ready) for slot in empty[:SHOWN])
    more = f" and {len(empty) - SHOWN} more" if len(empty) > SHOWN else ""
    other = "; images lie on different grids" if len(grids) > 1 else ""
    text = f"{len(empty)} of {len(slots)} slots {have} no clear image: {listed}{more}{other}"
    return Chosen(selection, text)


def why_not(last: Order | None, selection: Selection, template: str, ready: ReadyConfig) -> str:
    """Why a whole selection is not worth a map after the last one; empty where it is."""
    if last is None or last.template != template:
        return ""
    before = {choice.slot: choice for choice in last.selection}
    other = [c for c in selection if _image(before.get(c.slot)) != _image(c)]
    if any(_reprocessed(before.get(c.slot), c) for c in other) or len(other) >= ready.changed:
        return ""
    return (
        f"{len(other)} of {len(selection)} slots have another image than order {last.id}, "
        f"{ready.changed} wanted"
    )


def _fill(usable: Sequence[CatalogItem], slots: Sequence[Slot]) -> dict[Slot, CatalogItem]:
    best: dict[Slot, CatalogItem] = {}
    for slot in slots:
        inside = [one for one in usable if one.date in slot]
        if inside:
            best[slot] = max(inside, key=_rank)
    return best


def _rank(found: CatalogItem) -> tuple[float, str, str, str]:
    clear = 1.0 if found.clear is None else found.clear
    return clear, found.made, found.item, found.version


def _choice(slot: Slot, one: CatalogItem) -> Choice:
    return Choice(
        str(slot), one.item, one.version, one.date.isoformat(), one.acquisition, one.clear
    )


def _image(choice: Choice | None) -> tuple[str, str] | None:
    return (choice.item, choice.version) if choice else None


def _reprocessed(before: Choice | None, now: Choice) -> bool:
    """Another version of the same acquisition."""
    if before is None:
        return False
    moment = before.acquisition and before.acquisition == now.acquisition
    return bool(moment) or before.item == now.item


def _empty(slot: Slot, found: Sequence[CatalogItem], ready: ReadyConfig) -> str:
    """A slot and the best that there is for it."""
    inside = [one for one in found if one.date in slot]
    cloudy = [one.clear for one in inside if one.verdict == "cloudy" and one.clear is not None]
    if cloudy:
        return f"{slot} (best {_percent(max(cloudy))} % clear, {_percent(ready.clear)} wanted)"
    for verdict in ("unfinished", "refused"):
        of_it = [one for one in inside if one.verdict == verdict]
        if of_it:
            return f"{slot} ({of_it[0].item} is {verdict})"
    return f"{slot} (none)"


def _percent(share: float) -> str:
    """Rounded down: what falls short of a limit must not read as if it met it."""
    return f"{int(share * 1000) / 10:g}" if share < 1 else "100"
