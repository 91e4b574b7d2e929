"""Work that is asked for at once is done once."""

import asyncio

import pytest
from jobtide.query.single_flight import SingleFlight


async def test_all_who_ask_meanwhile_share_one_and_later_ones_get_a_new_one() -> None:
    done, gate = 0, asyncio.Event()

    async def work() -> int:
        nonlocal done
        done += 1
        await gate.wait()
        return done

    flight = SingleFlight(work)
    asking = [asyncio.create_task(flight.get()) for _ in range(50)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*asking[1:]) == [1] * 49
    assert await flight.get() == 2


async def test_a_fault_is_everybodys_and_not_kept() -> None:
    faults = [OSError("away")]

    async def work() -> str:
        await asyncio.sleep(0)
        if faults:
            raise faults.pop()
        return "fine"

    flight = SingleFlight(work)
    found = await asyncio.gather(flight.get(), flight.get(), return_exceptions=True)
    assert [type(each) for each in found] == [OSError, OSError]
    assert await flight.get() == "fine"
    with pytest.raises(IndexError):
        faults.pop()
