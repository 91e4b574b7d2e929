"""A job event and the attempts it speaks of: facts are joined, and what changes in the attempt's contributions is counted in the panes.

The rules are `attempts.join` and `attempts.contributions`; `_enqueue`, `_start` and `_end` are the same for the events that nearly every
attempt has, at a third of the cost. A property test holds the two paths together.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from jobtide.streams.events import Event, Kind, check_lane
from jobtide.streams.events.data import JobData
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
from jobtide.streams.folds.memory import AttemptMemory, Key, Owner, Tracked
from jobtide.streams.folds.panes import MINUTE_PANES_KEPT_US
from jobtide.streams.folds.records import SeriesKey
from jobtide.streams.folds.series import Series, SeriesTable

_OWNERS_KEPT: Final = 100_000
_ENQUEUED: Final = int(Kind.ENQUEUED)
_STARTED: Final = int(Kind.STARTED)
_FINISHED: Final = int(Kind.FINISHED)
_FAILED: Final = int(Kind.FAILED)
_HEARTBEAT: Final = int(Kind.HEARTBEAT)  # these two say nothing that counts, whether they come before the start, after it or after the end
_PROGRESS: Final = int(Kind.PROGRESS)


class Lifecycles:
    """The attempts and panes of one source partition."""

    def __init__(self, partition: int, partitions: int, limits: Limits, counters: Counters) -> None:
        self.partition, self.partitions = partition, partitions
        self.limits, self.counters = limits, counters
        self.table = SeriesTable(partition, limits.series)
        self.memory = AttemptMemory(limits.recent_attempts)
        self.shortcuts = True  # a property test folds without, to compare
        self._owners: dict[Owner, Owner] = {}

    def take(self, kind: int, event: Event, d: JobData, at_us: int, append_us: int, watermark_us: int) -> None:
        """Fold one job event that is no duplicate; `at_us` is its time, clamped. Raises ContractError if it lies in the wrong partition."""
        named = (d.tenant, d.environment, d.system, d.queue)
        owner = self._owners.get(named)
        if owner is None:
            owner = self._own(named)
        attempt = self.memory.open.get((owner, d.job_id, d.attempt))
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
            self._enqueue((owner, d.job_id, d.attempt), event, d, at_us, append_us, watermark_us)
            return
        if kind == _HEARTBEAT or kind == _PROGRESS:
            return
        for key, facts in facts_of(kind, d, at_us):
            self._join((owner, d.job_id, key.attempt), facts, event, append_us, watermark_us)

    def _own(self, named: Owner) -> Owner:
        """One shared tuple per queue, so that a million keys do not hold a million copies of its names."""
        if len(self._owners) >= _OWNERS_KEPT:
            self._owners.clear()
        self._owners[named] = named
        return named

    # -- the three events nearly every attempt has: what `_join` would do, without asking what the attempt counted for before

    def _enqueue(self, key: Key, event: Event, d: JobData, at_us: int, append_us: int, watermark_us: int) -> None:
        facts = AttemptFacts(d.job_class, d.worker_id or "", at_us, d.enqueued_us, d.run_us)
        if key in self.memory.ended:
            self._join(key, facts, event, append_us, watermark_us)
            return
        attempt = self._open(key, facts, event, append_us, watermark_us)
        if attempt is None:
            return
        attempt.series.waiting += 1
        if not self.table.apply(attempt.series, ENQUEUED, at_us, None, 1, watermark_us):
            self.counters.late_dropped += 1
        self.memory.touch(attempt)

    def _start(self, attempt: Tracked, f: AttemptFacts, d: JobData, at_us: int, watermark_us: int) -> None:
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
        self, attempt: Tracked, f: AttemptFacts, d: JobData, outcome: int, at_us: int, append_us: int, watermark_us: int
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

    def _join(self, key: Key, facts: AttemptFacts, event: Event, append_us: int, watermark_us: int) -> None:
        memory = self.memory
        attempt = memory.open.get(key)
        if attempt is None:
            attempt = memory.recall(key, append_us)
        before: list[Contribution] = []
        waited = ran = 0
        joined = facts
        if attempt is None:
            attempt = self._open(key, facts, event, append_us, watermark_us)
            if attempt is None:
                return
        else:
            before = contributions(attempt.facts)
            waited, ran = occupies(attempt.facts)
            joined = join(attempt.facts, facts)
        series = home = attempt.series if attempt.closed_us is None else self.table.series(attempt.series_key)
        if joined.job_class != attempt.facts.job_class:  # everything it counted for moves to the series its facts name now
            home = self.table.series(SeriesKey(*key[0], joined.job_class))
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

    def _open(self, key: Key, facts: AttemptFacts, event: Event, append_us: int, watermark_us: int) -> Tracked | None:
        """A new attempt; None if it must have been over long ago."""
        memory = self.memory
        newest_us = newest_time_us(facts)
        if watermark_us - newest_us > MINUTE_PANES_KEPT_US or memory.is_over(key, newest_us, append_us):
            self.counters.after_end += 1
            return None
        check_lane(event, self.partition, self.partitions)
        series = self.table.series(SeriesKey(*key[0], facts.job_class))
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
