"""Plays a file: history as fast as it goes, live at its pace. The shell around `history`, `retime` and `post`.

Lines may be out of time order within `REORDER` events; a live run sends in time order.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from jobtide.cli.replay.file import EventFile
from jobtide.cli.replay.history import backfill
from jobtide.cli.replay.post import Outcome, Sender
from jobtide.cli.replay.retime import Run, Timeline, start_of, tree_of
from jobtide.streams.errors import ContractError

REORDER = 100_000
_BATCH_EVENTS = 2_000
_BATCH_BYTES = 512 * 1024
_SENDERS = 3
_TICK_S = 0.05

Watch = Callable[[Outcome], None]


def play_history(file: EventFile, url: str, watch: Watch) -> Outcome:
    """Send every event with its own time, marked as backfill. `watch` gets the total after each batch."""
    total = Outcome()
    give_up = threading.Event()
    senders = deque(Sender(url, give_up) for _ in range(_SENDERS))
    pending: deque[Future[Outcome]] = deque()

    def settle() -> None:
        total.add(pending.popleft().result())
        watch(total)

    with ThreadPoolExecutor(_SENDERS) as pool:
        try:
            for batch in _batches(_backfilled(file, total)):
                if len(pending) == _SENDERS:
                    settle()  # the oldest request's sender is the next in turn, and now free
                pending.append(pool.submit(senders[0].send, batch))
                senders.rotate(-1)
            while pending:
                settle()
        except BaseException:
            give_up.set()
            raise
    for sender in senders:
        sender.close()
    return total


def play_live(file: EventFile, url: str, name: str, speed: float, watch: Watch) -> Outcome:
    """Send every event as one that happens now, `speed` times as fast as in the file. `name` is `retime.run_name`'s."""
    total = Outcome()
    sender = Sender(url, threading.Event())
    run: Run | None = None
    batch: list[tuple[int, bytes]] = []

    def flush() -> None:
        total.add(sender.send(batch))
        batch.clear()
        watch(total)

    for at_us, number, line in _in_time_order(file, total):
        run = run or Run(name, Timeline(at_us, start_of(name), speed))
        try:
            event = run.retime(number, at_us, tree_of(line)[1])
        except ContractError as refused:
            total.refused.append((number, refused.reason.value, refused.detail))
            continue
        if event is None:
            continue
        if len(batch) >= _BATCH_EVENTS:
            flush()
        while (wait_s := (event.due_us - _now_us()) / 1e6) > 0:
            flush()
            time.sleep(max(wait_s, _TICK_S))  # a little late at most, so that events share requests
        batch.append((number, event.line))
    flush()
    if run is not None:
        sender.send([(0, line) for line in run.farewell(_now_us())])
    sender.close()
    return total


def _backfilled(file: EventFile, total: Outcome) -> Iterator[tuple[int, bytes]]:
    for number, line in file.lines():
        try:
            yield number, backfill(line)
        except ContractError as refused:
            total.refused.append((number, refused.reason.value, refused.detail))


def _batches(lines: Iterator[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    batch: list[tuple[int, bytes]] = []
    size = 0
    for number, line in lines:
        if batch and (len(batch) >= _BATCH_EVENTS or size + len(line) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((number, line))
        size += len(line)
    if batch:
        yield batch


def _in_time_order(file: EventFile, total: Outcome) -> Iterator[tuple[int, int, bytes]]:
    """(time in µs, line number, line), sorted as far as REORDER lines at a time allow."""
    heap: list[tuple[int, int, bytes]] = []
    for number, line in file.lines():
        try:
            heapq.heappush(heap, (tree_of(line)[0], number, line))
        except ContractError as refused:
            total.refused.append((number, refused.reason.value, refused.detail))
            continue
        if len(heap) > REORDER:
            yield heapq.heappop(heap)
    while heap:
        yield heapq.heappop(heap)


def _now_us() -> int:
    return time.time_ns() // 1000
