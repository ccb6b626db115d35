"""Every unfinished block goes out once, whoever asks; neighbours go to one process."""

from __future__ import annotations

import os
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, wait

from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st

from geoseg.engine.executors import dask
from geoseg.engine.predict import BlockQueues
from geoseg.tiling import Block, Lattice, Plan

sides = st.integers(1, 12 * 32)


@given(height=sides, width=sides, count=st.integers(1, 7), data=st.data())
def test_every_block_once_in_any_order_of_asking(
    height: int, width: int, count: int, data: st.DataObject
) -> None:
    plan = Plan(Lattice(height, width, core=32, margin=0), block=32)
    blocks = [block.id for block in plan]
    done = data.draw(st.sets(st.sampled_from(blocks)))
    routes = BlockQueues(plan, done, count)
    taken = []
    while block := routes.take(data.draw(st.integers(0, count - 1))):
        taken.append(block.id)
    assert sorted(taken) == sorted(set(blocks) - done)
    assert all(routes.take(route) is None for route in range(count))


def _all_of(routes: BlockQueues, route: int) -> list[Block]:
    found = []
    while block := routes.take(route):
        found.append(block)
    return found


def test_one_route_is_the_plan() -> None:
    plan = Plan(Lattice(320, 256, core=32, margin=0), block=32)
    assert _all_of(BlockQueues(plan, (), 1), 0) == list(plan)


def test_processes_that_take_turns_stay_among_neighbours() -> None:
    plan = Plan(Lattice(640, 256, core=32, margin=0), block=32)
    routes, walk = BlockQueues(plan, (), 2), list(plan)
    turns = [(routes.take(0), routes.take(1)) for _ in range(len(walk) // 2)]
    first, second = (list(own) for own in zip(*turns, strict=True))
    assert first + second == walk


def test_the_quick_relieve_the_slow() -> None:
    plan = Plan(Lattice(32, 32 * 16, core=32, margin=0), block=32)
    routes = BlockQueues(plan, (), 2)
    taken = [routes.take(1) for _ in range(12)]
    # Its own eight, then the second half of the other's eight, whose first is where the other is not.
    assert [block.col for block in taken if block] == [*range(8, 16), *range(4, 8)]
    slow = routes.take(0)
    assert slow
    assert slow.col == 0


def test_a_worker_that_comes_later_gets_its_share() -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        workers = dask.DaskExecutor.on(client, {})
        work = lambda: (time.sleep(0.2), os.getpid())[1]  # noqa: E731 - sent by value
        sent = {workers.submit_to(0, work) for _ in range(4)}
        cluster.scale(2)
        client.wait_for_workers(2, timeout=60)
        time.sleep(dask.WORKERS_SECONDS)
        seen = []
        while len(seen) < 60:
            done, sent = wait(sent, return_when=FIRST_COMPLETED)
            seen += [future.result() for future in done]
            sent |= {workers.submit_to(0, work) for _ in done}
        wait(sent)
    first, second = Counter(seen[20:]).values()
    assert min(first, second) > 10
