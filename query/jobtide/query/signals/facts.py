"""The numbers of one queue that its signals are made of, put together from hot state. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from jobtide.query import live_rows
from jobtide.query.hot_series import Series
from jobtide.query.measures import QUANTILES
from jobtide.streams.sketches import histogram
from jobtide.streams.sketches.histogram import Histogram
from jobtide.streams.snapshots import WINDOWS_S, QueueSnapshot, WorkerSnapshot

WINDOW = "5m"
FRESH_US = 60_000_000  # a backend's own count older than this says nothing about now


@dataclass(frozen=True, slots=True)
class Flow:
    """What came to the queue and what left it for a worker, in a window of so many seconds."""

    enqueued: int = 0
    started: int = 0
    seconds: float = 0.0

    @property
    def drain_per_s(self) -> float:
        """How fast the backlog shrinks; negative while it grows."""
        return (self.started - self.enqueued) / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """One queue at watermark `at_us`. Rates and shares are of the last five minutes."""

    at_us: int
    waiting: int = 0
    ended: int = 0
    tried: int = 0
    failed: int = 0
    waits: int = 0
    wait_p95_ms: float | None = None
    workers: int = 0  # alive, and serving this queue (some of them others, too)
    busy: int = 0
    slots: int = 0
    lost: int = 0
    flows: dict[str, Flow] = field(default_factory=dict)  # by window

    @property
    def utilisation(self) -> float | None:
        return self.busy / self.slots if self.slots else None

    @property
    def incoming_per_s(self) -> float:
        flow = self.flows.get(WINDOW, Flow())
        return flow.enqueued / flow.seconds if flow.seconds else 0.0

    @property
    def processed_per_s(self) -> float:
        flow = self.flows.get(WINDOW, Flow())
        return self.ended / flow.seconds if flow.seconds else 0.0


def gather(
    at_us: int, now_us: int, members: Sequence[Series], queue: QueueSnapshot | None, workers: Iterable[WorkerSnapshot], lost: int
) -> QueueFacts:
    """`members`: the queue's series; `workers`: those that serve it; `now_us`: the clock, for whether these are alive."""
    sums = {name: [0, 0, 0] for name in ("1m", "5m", "15m")}
    counts = dict.fromkeys(("ended", "tried", "failed"), 0)
    waits: Histogram = {}
    for series in members:
        for name, total in sums.items():
            window = series.windows.get(name)
            if window is not None:
                total[0] += window.enqueued
                total[1] += window.started
                total[2] = max(total[2], window.to_us - window.from_us)
        window = series.windows.get(WINDOW)
        if window is not None and window.busy:
            counts["ended"] += window.finished + window.failed + window.cancelled + window.discarded
            counts["tried"] += window.finished + window.failed
            counts["failed"] += window.failed
            histogram.add(waits, window.totals().wait)
    alive = [worker for worker in workers if live_rows.worker(worker, now_us).alive]
    ready = queue.ready if queue is not None and now_us - queue.at_us <= FRESH_US else None
    p95 = histogram.quantiles(waits, (QUANTILES["p95"],))[0]
    return QueueFacts(
        at_us=at_us,
        waiting=ready if ready is not None else sum(series.waiting for series in members),
        waits=histogram.count(waits),
        wait_p95_ms=None if p95 is None else p95 / 1000,
        workers=len(alive),
        busy=sum(worker.busy if worker.busy is not None else len(worker.running) for worker in alive),
        slots=sum(worker.concurrency or 1 for worker in alive),
        lost=lost,
        flows={name: Flow(enqueued, started, (us or WINDOWS_S[name] * 1_000_000) / 1e6) for name, (enqueued, started, us) in sums.items()},
        **counts,
    )
