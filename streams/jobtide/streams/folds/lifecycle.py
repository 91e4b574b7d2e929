"""A job event and the attempts it speaks of: facts are joined, and what changes in the attempt's contributions is counted in the panes.

The rules are `attempts.join` and `attempts.contributions`; `_enqueue`, `_start` and `_end` are the same for the events that nearly every
attempt has, at a third of the cost. A property test holds the two paths together.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from jobtide.streams.events import Event, Job, Kind, check_lane
from jobtide.streams.folds.attempts import (
    ENQUEUED,
    OUTCOME_FIELD,
    OUTCOME_OF_KIND,
    STARTED,
    AttemptFacts,
    Contribution,
    contributions,
    facts_of,
    join,
    start_us,
    wait_us,
)
from jobtide.streams.folds.counters import Counters, Limits
from jobtide.streams.folds.memory import AttemptMemory, Key, Tracked, key_of
from jobtide.streams.folds.panes import MINUTE_PANES_KEPT_US
from jobtide.streams.folds.records import SEPARATOR, SeriesKey
from jobtide.streams.folds.remarks import Remarks
from jobtide.streams.folds.series import Series, SeriesTable
from mypy_extensions import mypyc_attr

_QUEUES_KEPT: Final = 100_000
_CLASSES_KEPT: Final = 20_000
_FIRST: Final = "\x1f1"  # the end of the key of a first attempt
_ENQUEUED: Final = int(Kind.ENQUEUED)
_STARTED: Final = int(Kind.STARTED)
_FINISHED: Final = int(Kind.FINISHED)
_FAILED: Final = int(Kind.FAILED)
_HEARTBEAT: Final = int(Kind.HEARTBEAT)  # these two say nothing that counts, whether they come before the start, after it or after the end
_PROGRESS: Final = int(Kind.PROGRESS)


@mypyc_attr(acyclic=True)
class Queue:
    """A queue as attempts name it, with the beginning of their keys and the series of its classes. A cache: nothing is lost with it."""

    __slots__ = ("classes", "environment", "name", "prefix", "system", "tenant")

    def __init__(self, tenant: str, environment: str, system: str, name: str) -> None:
        self.tenant, self.environment, self.system, self.name = tenant, environment, system, name
        self.prefix = f"{tenant}{SEPARATOR}{environment}{SEPARATOR}{system}{SEPARATOR}{name}{SEPARATOR}"
        self.classes: dict[str, Series] = {}


class Lifecycles:
    """The attempts and panes of one source partition."""

    def __init__(self, partition: int, partitions: int, limits: Limits, counters: Counters) -> None:
        self.partition, self.partitions = partition, partitions
        self.limits, self.counters = limits, counters
        self.table = SeriesTable(partition, limits.series)
        self.memory = AttemptMemory(limits.recent_attempts)
        self.shortcuts = True  # a property test folds without, to compare
        self.remarks = Remarks()
        self._queues: dict[str, Queue] = {}  # by its name alone: the one met last
        self._all_queues: dict[tuple[str, str, str, str], Queue] = {}

    def take(self, d: Job, at_us: int, append_us: int, watermark_us: int) -> None:
        """Fold one job event that is no duplicate; `at_us` is its time, clamped. Raises ContractError if it lies in the wrong partition."""
        kind = d.kind
        queue = self._queues.get(d.queue)
        if queue is None or d.system != queue.system or d.tenant != queue.tenant or d.environment != queue.environment:
            queue = self._meet(d.tenant, d.environment, d.system, d.queue)
        key = f"{queue.prefix}{d.job_id}{_FIRST}" if d.attempt == 1 else f"{queue.prefix}{d.job_id}{SEPARATOR}{d.attempt}"
        attempt = self.memory.open.get(key)
        if d.expected_ms is not None:
            self.remarks.expect(key, d.expected_ms)
        if not self.shortcuts:
            pass
        elif attempt is not None:
            f = attempt.facts
            if f.outcome == 0 and f.job_class == d.job_class:
                if kind == _STARTED:
                    if f.started_us is None and f.implied_us is None:
                        self._start(attempt, f, d, at_us, watermark_us)
                        return
                elif kind == _FINISHED or kind == _FAILED:
                    if f.started_us is not None and d.enqueued_us is None and d.run_us is None and d.worker_id == f.worker_id:
                        self._end(attempt, f, d, OUTCOME_OF_KIND[kind], at_us, append_us, watermark_us)
                        return
        elif kind == _ENQUEUED:
            self._enqueue(key, queue, d, at_us, append_us, watermark_us)
            return
        if kind == _HEARTBEAT or kind == _PROGRESS:
            if attempt is not None:
                self.remarks.beat(attempt.key, at_us)
            return
        if kind == _STARTED and attempt is not None:
            self._start_again(attempt, attempt.facts, d.worker_id or "", at_us)
        for attempt_key, facts in facts_of(kind, d.data(), at_us):
            self._join(key_of(attempt_key), queue, facts, d.event, append_us, watermark_us)

    def _meet(self, tenant: str, environment: str, system: str, name: str) -> Queue:
        """The queue of these names."""
        names = (tenant, environment, system, name)
        queue = self._all_queues.get(names)
        if queue is None:
            if len(self._all_queues) >= _QUEUES_KEPT:
                self._all_queues.clear()
                self._queues.clear()
            queue = self._all_queues[names] = Queue(tenant, environment, system, name)
        self._queues[name] = queue
        return queue

    def _series(self, queue: Queue, job_class: str) -> Series:
        """`SeriesTable.series`, remembered by the queue."""
        series = queue.classes.get(job_class)
        if series is None or series.dropped:
            series = self.table.series(SeriesKey(queue.tenant, queue.environment, queue.system, queue.name, job_class))
            if series.key.job_class == job_class:  # not the one for classes beyond the limit: there may be room for this one later
                if len(queue.classes) >= _CLASSES_KEPT:
                    queue.classes.clear()
                queue.classes[job_class] = series
        return series

    # -- the three events nearly every attempt has: what `_join` would do, without asking what the attempt counted for before

    def _enqueue(self, key: Key, queue: Queue, d: Job, at_us: int, append_us: int, watermark_us: int) -> None:
        facts = AttemptFacts(d.job_class, d.worker_id or "", at_us, d.enqueued_us, d.run_us)
        if key in self.memory.ended:
            self._join(key, queue, facts, d.event, append_us, watermark_us)
            return
        attempt = self._open(key, queue, facts, d.event, append_us, watermark_us)
        if attempt is None:
            return
        attempt.series.waiting += 1
        if not self.table.apply(attempt.series, ENQUEUED, at_us, None, 1, watermark_us):
            self.counters.late_dropped += 1
        self.memory.touch(attempt)

    def _start(self, attempt: Tracked, f: AttemptFacts, d: Job, at_us: int, watermark_us: int) -> None:
        f.started_us = at_us
        worker_id = d.worker_id or ""
        if not f.worker_id or worker_id < f.worker_id:
            f.worker_id = worker_id
        queued_us, eligible_us = d.enqueued_us, d.run_us
        if queued_us is not None and (f.queued_us is None or queued_us < f.queued_us):
            f.queued_us = queued_us
        if eligible_us is not None and (f.eligible_us is None or eligible_us > f.eligible_us):
            f.eligible_us = eligible_us
        series = attempt.series
        series.running += 1
        if f.enqueued_us is not None:
            series.waiting -= 1
        if not self.table.apply(series, STARTED, at_us, wait_us(f), 1, watermark_us):
            self.counters.late_dropped += 1
        if not attempt.unsaved:
            self.memory.touch(attempt)

    def _end(
        self, attempt: Tracked, f: AttemptFacts, d: Job, outcome: int, at_us: int, append_us: int, watermark_us: int
    ) -> None:
        duration_ms, implied_us = d.duration_ms, d.started_us
        if duration_ms is not None:
            f.duration_us = run = round(duration_ms * 1000)
            if implied_us is None:
                implied_us = at_us - run
        else:
            run = at_us - (f.started_us or 0)  # it has started: `take` asked
            if implied_us is None:
                implied_us = at_us
        implied_us = min(implied_us, at_us)
        f.implied_us = implied_us if f.implied_us is None or implied_us < f.implied_us else f.implied_us
        f.outcome, f.outcome_us = outcome, at_us
        attempt.series.running -= 1
        if not self.table.apply(attempt.series, OUTCOME_FIELD[outcome], at_us, run, 1, watermark_us):
            self.counters.late_dropped += 1
        self.memory.close(attempt, append_us)
        if not attempt.unsaved:
            self.memory.touch(attempt)

    # -- the general case

    def _start_again(self, attempt: Tracked, f: AttemptFacts, worker_id: str, at_us: int) -> None:
        """A further start of an attempt that runs already. With the same time it is the same start, told again."""
        if f.started_us is not None and at_us != f.started_us and worker_id != f.worker_id:
            if self.remarks.second_start(attempt.key, (f.worker_id, f.started_us), (worker_id, at_us)):
                self.counters.double_starts += 1

    def _join(self, key: Key, queue: Queue, facts: AttemptFacts, event: Event, append_us: int, watermark_us: int) -> None:
        memory = self.memory
        attempt = memory.open.get(key)
        if attempt is None:
            attempt = memory.recall(key, append_us)
        before: list[Contribution] = []
        waited = ran = 0
        joined = facts
        if attempt is None:
            attempt = self._open(key, queue, facts, event, append_us, watermark_us)
            if attempt is None:
                return
        else:
            before = contributions(attempt.facts)
            waited, ran = occupies(attempt.facts)
            joined = join(attempt.facts, facts)
        series = home = attempt.series if attempt.closed_us is None else self.table.series(attempt.series_key)
        if joined.job_class != attempt.facts.job_class:  # everything it counted for moves to the series its facts name now
            home = self._series(queue, joined.job_class)
        attempt.facts, attempt.series, attempt.series_key = joined, home, home.key
        after = contributions(joined)
        for change in before:
            if (home is not series or change not in after) and not self._apply(series, change, -1, watermark_us):
                self.counters.late_dropped += 1
        for change in after:
            if (home is not series or change not in before) and not self._apply(home, change, 1, watermark_us):
                self.counters.late_dropped += 1
        if attempt.closed_us is None:
            waits, runs = occupies(joined)
            series.waiting -= waited
            series.running -= ran
            home.waiting += waits
            home.running += runs
            if joined.outcome:
                memory.close(attempt, append_us)
        memory.touch(attempt)

    def _apply(self, series: Series, change: Contribution, sign: int, watermark_us: int) -> bool:
        return self.table.apply(series, change.field, change.time_us, change.sample_us, sign, watermark_us)

    def _open(self, key: Key, queue: Queue, facts: AttemptFacts, event: Event, append_us: int, watermark_us: int) -> Tracked | None:
        """A new attempt; None if it must have been over long ago. An event in the wrong place is bad at any age, so that is asked first."""
        check_lane(event, self.partition, self.partitions)
        memory = self.memory
        newest_us = newest_time_us(facts)
        if watermark_us - newest_us > MINUTE_PANES_KEPT_US or memory.is_over(key, newest_us, append_us):
            self.counters.after_end += 1
            return None
        series = self._series(queue, facts.job_class)
        if series.key.job_class == facts.job_class:
            facts.job_class = series.key.job_class  # one text for all of them
        attempt = memory.open[key] = Tracked(key, facts, series, series.key)
        if len(memory.open) > self.limits.open_attempts:
            self._give_up_oldest()
        return attempt

    def _give_up_oldest(self) -> None:
        """One in a hundred at a time: finding the first of a dict whose first ones were deleted costs as much as those were many."""
        for oldest in list(islice(self.memory.open.values(), max(1, self.limits.open_attempts // 100))):
            waits, runs = occupies(oldest.facts)
            oldest.series.waiting -= waits
            oldest.series.running -= runs
            del self.memory.open[oldest.key]
            self.memory.touch(oldest)
            self.counters.open_given_up += 1

    def resume(self, attempt: Tracked) -> None:
        """Count an open attempt from the checkpoint in its series' gauges."""
        waits, runs = occupies(attempt.facts)
        attempt.series.waiting += waits
        attempt.series.running += runs


def occupies(f: AttemptFacts) -> tuple[int, int]:
    """(waiting, running): 1 where the attempt is that now."""
    if f.outcome:
        return 0, 0
    if start_us(f) is not None:
        return 0, 1
    return int(f.enqueued_us is not None), 0


def newest_time_us(f: AttemptFacts) -> int:
    """The latest moment that the facts speak of."""
    return max(start_us(f) or 0, f.enqueued_us or 0, f.outcome_us or 0, f.dead_us or 0, f.retried_us or 0)
