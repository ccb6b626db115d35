"""A run's status in lines for a person."""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Iterator
from typing import Any

from geoseg.diagnose.status import Status, age

REMEDY = "run the same command again: it resumes, finished blocks are kept"


def lines(status: Status) -> Iterator[str]:
    """What runs, how far it is, when it will be done, and what went wrong."""
    content = status.content
    yield f"{content['run']}: {_headline(status)}"
    yield f"  {'results':<9} {status.folder}"
    yield from _work(status)
    yield from _blocks(content.get("blocks") or {})
    spent = ", ".join(f"{name} {_span(s)}" for name, s in content.get("seconds", {}).items())
    if spent:
        yield f"  {'stages':<9} {spent}"
    for key, value in (
        ("dashboard", content.get("dashboard")),
        ("prefect", (content.get("prefect") or {}).get("url")),
        ("order", content.get("order")),
    ):
        if value:
            yield f"  {key:<9} {value}"


def _headline(status: Status) -> str:
    content = status.content
    stage = content.get("stage") or "start"
    if status.state == "finished":
        return f"finished after {_span(_lasted(content))}"
    if status.state == "failed":
        return f"failed in stage {stage}: {content.get('message') or 'no reason was told'}"
    if status.state == "dead":
        # Whether a process of another host is there nobody can see from here.
        here = content.get("host") == socket.gethostname()
        known = "is gone" if here else "was killed, is frozen, or does not reach this folder"
        return (
            f"dead in stage {stage}: its process {content.get('pid')} on {content.get('host')} "
            f"{known}, last heard of {_span(age(content))} ago; {REMEDY}"
        )
    return f"running for {_span(_lasted(content))}, stage {stage}"


def _work(status: Status) -> Iterator[str]:
    work = status.content.get("work") or {}
    if not work or status.state == "finished":
        return
    share = f" ({work['done'] / work['total']:.0%})" if work.get("total") else ""
    parts = [f"{work['done']}/{work['total']} {work['unit']}{share}"]
    if status.state == "running" and work.get("rate"):
        parts.append(f"{work['rate']:.3g} {work['unit']} per second")
        parts.append(f"done about {_clock(work['expected_end'])}")
    yield f"  {work['what']:<9} {', '.join(parts)}"


def _blocks(blocks: dict[str, Any]) -> Iterator[str]:
    if not blocks:
        return
    yield (
        f"  {'blocks':<9} {blocks['done']}/{blocks['total']} done ({blocks['resumed']} before this "
        f"run), {blocks['in_flight']} under way, {blocks['queued']} waiting, "
        f"{blocks['bytes_read'] / 1e6:.0f} MB of pixels read"
    )
    done = max(1, blocks["done"] - blocks["resumed"])
    each = ", ".join(f"{name} {1000 * s / done:.0f} ms" for name, s in blocks["seconds"].items())
    yield f"  {'a block':<9} {each}"
    for name, trouble in blocks["trouble"].items():
        what = "given up" if trouble["given_up"] else "tried again"
        yield f"  {name:<9} {what}: {trouble['message']}"
    unnamed = blocks["failed_tries"] - len(blocks["trouble"])
    if unnamed > 0:
        yield f"  {'':<9} {unnamed} more failed tries"


def _lasted(content: dict[str, Any]) -> float:
    began = dt.datetime.fromisoformat(content["started"])
    end = content.get("ended")
    until = dt.datetime.fromisoformat(end) if end else dt.datetime.now(dt.UTC)
    return (until - began).total_seconds()


def _span(seconds: float) -> str:
    """``12 s``, ``3 min 20 s``, ``5 h 10 min``."""
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s" if whole >= 10 else f"{max(0.0, seconds):.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _clock(moment: str) -> str:
    """In the time zone of who reads; with the day where it is not today's."""
    local = dt.datetime.fromisoformat(moment).astimezone()
    return f"{local:%H:%M:%S}" if local.date() == dt.date.today() else f"{local:%Y-%m-%d %H:%M}"
