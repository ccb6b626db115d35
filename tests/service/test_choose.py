"""Which images make a map: the rule for every set of images, and what it says where there is none."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from geoseg.config.service import ReadyConfig, SeasonConfig
from geoseg.imagery.catalogs.found import CatalogItem
from geoseg.service.choose import choose, judge, why_not
from geoseg.service.orders import Choice, Order, utc_now

YEAR = SeasonConfig(start=dt.date(2025, 1, 1), end=dt.date(2025, 12, 31))
READY = ReadyConfig()

images = st.builds(
    CatalogItem,
    item=st.sampled_from([f"item-{n}" for n in range(30)]),
    date=st.dates(dt.date(2024, 11, 1), dt.date(2026, 2, 1)),
    version=st.sampled_from("abc"),
    made=st.sampled_from(["", "2025", "2026"]),
    clear=st.one_of(st.none(), st.floats(0, 1)),
)
seasons = st.builds(
    SeasonConfig,
    start=st.just(dt.date(2025, 1, 10)),
    end=st.dates(dt.date(2025, 8, 1), dt.date(2025, 12, 31)),
    slots=st.one_of(
        st.just("month"),
        st.lists(
            st.dates(dt.date(2025, 1, 10), dt.date(2025, 8, 1)), min_size=1, max_size=8, unique=True
        ).map(lambda days: tuple(sorted(days))),
    ),
    tolerance=st.integers(0, 60),
)


def month(number: int, **fields: Any) -> CatalogItem:
    day = dt.date(2025, number, 15)
    content = {"version": "v1", "clear": 0.9, "acquisition": str(day), **fields}
    return CatalogItem(str(day), day, **content)


@given(seasons, st.dates(dt.date(2024, 11, 1), dt.date(2026, 2, 1)))
def test_a_day_lies_in_one_slot_at_most(season: SeasonConfig, day: dt.date) -> None:
    slots = season.windows()
    assert sum(day in slot for slot in slots) <= 1
    assert list(slots) == sorted(slots)
    assert all(season.start <= slot.first <= slot.last <= season.end for slot in slots)
    wanted = () if season.slots == "month" else season.slots
    assert all(of in slot for of, slot in zip(wanted, slots, strict=False)), "its own day is in it"


@given(seasons, st.lists(images, max_size=30), st.randoms(use_true_random=False))
def test_each_slot_has_the_clearest_of_its_images(
    season: SeasonConfig, found: list[CatalogItem], shuffled: Any
) -> None:
    found = [judge(one, READY) for one in found]
    slots = season.windows()
    chosen = choose(found, slots, READY)
    other = list(found)
    shuffled.shuffle(other)
    assert choose(other, slots, READY) == chosen, "the order in which they come does not matter"
    by_slot = {choice.slot: choice for choice in chosen.selection}
    for slot in slots:
        clear = [1.0 if f.clear is None else f.clear for f in found if f.date in slot]
        usable = [share for share in clear if share >= READY.clear]
        choice = by_slot.get(str(slot))
        assert (choice is None) == (not usable)
        if choice:
            assert dt.date.fromisoformat(choice.date) in slot
            assert (1.0 if choice.clear is None else choice.clear) == max(usable)
    assert (chosen.lacking == "") == (len(chosen.selection) == len(slots))


def test_equally_clear_the_newest_version_then_the_last_by_name() -> None:
    old, new = month(3, made="1"), month(3, version="v2", made="2")
    named = replace(new, item="z")
    slots = SeasonConfig(start=dt.date(2025, 3, 1), end=dt.date(2025, 3, 31)).windows()
    assert choose([new, old], slots, READY).selection[0].version == "v2"
    assert choose([new, named, old], slots, READY).selection[0].item == "z"
    clearest = replace(old, clear=0.91)
    assert choose([new, named, clearest], slots, READY).selection[0].version == "v1"


def test_what_it_waits_for_is_said_slot_by_slot() -> None:
    found = [month(n) for n in range(1, 9)]
    found += [month(9, clear=0.31), month(10, verdict="unfinished", clear=None)]
    chosen = choose([judge(one, READY) for one in found], YEAR.windows(), READY)
    assert len(chosen.selection) == 8
    assert chosen.lacking == (
        "4 of 12 slots have no clear image: 2025-09 (best 31 % clear, 50 wanted), "
        "2025-10 (2025-10-15 is unfinished), 2025-11 (none), 2025-12 (none)"
    )
    few = choose([], YEAR.windows(), READY).lacking
    assert few.startswith("12 of 12 slots have no clear image: 2025-01 (none)")
    assert few.endswith("2025-06 (none) and 6 more")


def test_just_short_of_the_limit_does_not_read_as_if_it_met_it() -> None:
    assert judge(month(1, clear=0.49999), READY).reason == "49.9 % clear, 50 wanted"
    assert judge(month(1, clear=0.5), READY).verdict == "usable"
    lowered = ReadyConfig(clear=0.3)
    assert judge(judge(month(1, clear=0.4), READY), lowered).verdict == "usable"


def test_images_of_one_grid_are_taken_together() -> None:
    found = [month(n, grid="a") for n in range(1, 13)]
    found += [month(n, grid="b", clear=1.0) for n in range(1, 12)]
    chosen = choose(found, YEAR.windows(), READY)
    assert chosen.lacking == ""
    assert {choice.clear for choice in chosen.selection} == {0.9}
    mixed = [month(n, grid="a" if n < 8 else "b") for n in range(1, 13)]
    lacking = choose(mixed, YEAR.windows(), READY).lacking
    assert lacking.startswith("5 of 12 slots")
    assert lacking.endswith("; images lie on different grids")


def selection(**versions: str) -> tuple[Choice, ...]:
    """A choice for each of twelve slots; ``m3="v2"`` is another version of the third."""
    return tuple(
        Choice(f"2025-{n:02d}", f"item-{n}", versions.get(f"m{n}", "v1"), f"2025-{n:02d}-15")
        for n in range(1, 13)
    )


def order(template: str = "t") -> Order:
    now = utc_now()
    return Order(
        id=5, area="north", season="2025", fingerprint="f", template=template,
        selection=selection(), config=YEAR, output=YEAR, state="published", attempt=1, tries=0,
        run_id="", reason="", due=None, version="", sequence=1, publishing=True, waived=False,
        created=now, changed=now, lease="none",
    )  # type: ignore[arg-type]  # fmt: skip


def test_when_newer_images_are_worth_a_map() -> None:
    patient = ReadyConfig(changed=3)
    assert why_not(None, selection(), "t", patient) == "", "the first map"
    assert why_not(order(), selection(), "another model", patient) == ""
    assert why_not(order(), selection(), "t", patient).startswith("0 of 12 slots")

    def with_other(*numbers: int) -> tuple[Choice, ...]:
        return tuple(
            replace(c, item=f"late-{n}") if n in numbers else c
            for n, c in enumerate(selection(), 1)
        )

    assert why_not(order(), with_other(2, 4), "t", patient) == (
        "2 of 12 slots have another image than order 5, 3 wanted"
    )
    assert why_not(order(), with_other(2, 4, 6), "t", patient) == ""
    assert why_not(order(), with_other(2), "t", READY) == ""
    assert why_not(order(), selection(m7="v2"), "t", patient) == "", "a reprocessed one counts"


def test_reprocessed_under_another_name_is_known_by_its_acquisition() -> None:
    patient = ReadyConfig(changed=12)
    before = replace(
        order(), selection=(Choice("s", "A_0", "v", "2025-01-01", "moment tile", 0.9),)
    )
    same = (Choice("s", "A_1", "w", "2025-01-01", "moment tile", 0.9),)
    other = (Choice("s", "B_0", "w", "2025-01-02", "another", 0.9),)
    assert why_not(before, same, "t", patient) == ""
    assert why_not(before, other, "t", patient) != ""


def test_seasons_that_cannot_be() -> None:
    with pytest.raises(ValidationError, match="outside the season"):
        SeasonConfig(
            start=dt.date(2025, 3, 1), end=dt.date(2025, 4, 1), slots=(dt.date(2025, 5, 1),)
        )
