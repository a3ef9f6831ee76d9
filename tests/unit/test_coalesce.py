from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from shared.coalesce import Coalescer
from shared.errors import LeaderboardError


class Flushes:
    """Answers each item with its double; keeps what came together; waits while `gate` is closed."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, items: Sequence[int]) -> Sequence[int | BaseException]:
        self.batches.append(list(items))
        await self.gate.wait()
        return [ValueError(str(item)) if item < 0 else item * 2 for item in items]


async def test_an_idle_one_flushes_at_once() -> None:
    flushes = Flushes()
    coalescer: Coalescer[int, int] = Coalescer(flushes, batch=10, queue=10)
    assert await coalescer.get(1) == 2
    assert flushes.batches == [[1]]


async def test_what_arrives_during_a_flush_shares_the_next() -> None:
    flushes = Flushes()
    coalescer: Coalescer[int, int] = Coalescer(flushes, batch=3, queue=10)
    flushes.gate.clear()
    first = coalescer.get(0)
    await asyncio.sleep(0)
    rest = [coalescer.get(i) for i in range(1, 6)]
    flushes.gate.set()
    assert await asyncio.gather(first, *rest) == [0, 2, 4, 6, 8, 10]
    assert flushes.batches == [[0], [1, 2, 3], [4, 5]]


async def test_lanes_flush_at_the_same_time() -> None:
    flushes = Flushes()
    coalescer: Coalescer[int, int] = Coalescer(flushes, batch=1, queue=10, lanes=2)
    flushes.gate.clear()
    waiting = [coalescer.get(i) for i in range(3)]
    await asyncio.sleep(0)
    assert flushes.batches == [[0], [1]]
    flushes.gate.set()
    assert await asyncio.gather(*waiting) == [0, 2, 4]


async def test_a_further_lane_is_taken_where_a_crowd_waits() -> None:
    flushes = Flushes()
    coalescer: Coalescer[int, int] = Coalescer(flushes, batch=4, queue=20, lanes=2, crowd=4)
    flushes.gate.clear()
    waiting = [coalescer.get(0)]
    await asyncio.sleep(0)
    waiting += [coalescer.get(i) for i in range(1, 4)]
    await asyncio.sleep(0)
    assert flushes.batches == [[0]]
    waiting += [coalescer.get(4)]
    await asyncio.sleep(0)
    assert flushes.batches == [[0], [1, 2, 3, 4]]
    waiting += [coalescer.get(5)]
    flushes.gate.set()
    assert await asyncio.gather(*waiting) == [0, 2, 4, 6, 8, 10]


async def test_one_lane_is_enough_once_the_crowd_is_gone() -> None:
    under_way: list[int] = []
    beside: dict[int, int] = {}

    async def flush(items: Sequence[int]) -> list[int]:
        under_way.extend(items)
        beside[items[0]] = len(under_way) - 1
        await asyncio.sleep(0)
        under_way.remove(items[0])
        return [*items]

    coalescer: Coalescer[int, int] = Coalescer(flush, batch=1, queue=20, lanes=2, crowd=4)
    waiting = [coalescer.get(0)]
    await asyncio.sleep(0)
    waiting += [coalescer.get(i) for i in range(1, 5)]
    assert await asyncio.gather(*waiting) == [0, 1, 2, 3, 4]
    assert (max(beside.values()), beside[4]) == (1, 0)


async def test_a_full_queue_turns_away_at_once() -> None:
    flushes = Flushes()
    coalescer: Coalescer[int, int] = Coalescer(flushes, batch=1, queue=2)
    flushes.gate.clear()
    kept = [coalescer.get(0)]
    await asyncio.sleep(0)
    kept += [coalescer.get(1), coalescer.get(2)]
    with pytest.raises(LeaderboardError) as error:
        coalescer.get(3)
    assert (error.value.code, error.value.retry_after) == ("overloaded", 1)
    flushes.gate.set()
    assert await asyncio.gather(*kept) == [0, 2, 4]


async def test_an_item_may_fail_alone() -> None:
    coalescer: Coalescer[int, int] = Coalescer(Flushes(), batch=10, queue=10)
    good, bad = coalescer.get(1), coalescer.get(-1)
    with pytest.raises(ValueError, match="-1"):
        await bad
    assert await good == 2


async def test_a_broken_flush_fails_everyone_in_it_and_no_one_after() -> None:
    broken = [True]

    async def flush(items: Sequence[int]) -> Sequence[int]:
        if broken.pop():
            raise OSError("cut")
        return items

    coalescer: Coalescer[int, int] = Coalescer(flush, batch=10, queue=10)
    both = [coalescer.get(1), coalescer.get(2)]
    for future in both:
        with pytest.raises(OSError, match="cut"):
            await future
    broken.append(False)
    assert await coalescer.get(3) == 3


async def test_who_went_away_is_not_flushed() -> None:
    flushes = Flushes()
    coalescer: Coalescer[int, int] = Coalescer(flushes, batch=10, queue=10)
    flushes.gate.clear()
    first, gone, last = coalescer.get(0), None, None
    await asyncio.sleep(0)
    gone, last = coalescer.get(1), coalescer.get(2)
    gone.cancel()
    flushes.gate.set()
    assert (await first, await last) == (0, 4)
    assert flushes.batches == [[0], [2]]


async def test_heavy_items_go_alone() -> None:
    flushes = Flushes()
    coalescer: Coalescer[int, int] = Coalescer(flushes, batch=10, queue=10, weigh=lambda item: item)
    waiting = [coalescer.get(item) for item in (4, 6, 1, 50, 2)]
    await asyncio.gather(*waiting)
    assert flushes.batches == [[4, 6], [1], [50], [2]]


async def test_closing_waits_for_what_is_queued() -> None:
    flushes = Flushes()
    coalescer: Coalescer[int, int] = Coalescer(flushes, batch=1, queue=10)
    waiting = [coalescer.get(i) for i in range(3)]
    await coalescer.close()
    assert [future.result() for future in waiting] == [0, 2, 4]
    assert coalescer.waiting == 0
