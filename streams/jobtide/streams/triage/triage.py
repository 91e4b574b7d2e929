"""Which attempts of one partition of job.panes are stuck, at its watermark. Pure.

State is what stage 1 watches (absolute, by source partition) and what classes have taught; a verdict is a function of both and of the
watermark, so a replay comes to the same. Nothing is looked at before its time: a heap of (deadline, attempt) says what may change next.
An entry of the heap whose attempt has gone, or has another deadline by now, is skipped when it comes up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import NamedTuple

import msgspec
from jobtide.streams.folds.records import SeriesKey, series_from
from jobtide.streams.folds.watch import Watched, WatchRecord
from jobtide.streams.snapshots import SEPARATOR, HotWrite, SeriesStuck, StuckAttempt
from jobtide.streams.triage.baselines import DAY_S, ERA_S, Baselines
from jobtide.streams.triage.limits import Judgement, judge

encode = msgspec.json.Encoder().encode

TOLD = 200  # stuck attempts of a series in hot state, the oldest first; all are counted

AttemptId = tuple[bytes, str, int]  # series, job_id, attempt


class _Case(NamedTuple):
    """A watched attempt as it was judged last."""

    watched: Watched
    judgement: Judgement


class Triage:
    """All watched attempts, verdicts and baselines of one partition."""

    def __init__(self) -> None:
        self.baselines = Baselines()
        self._sources: dict[int, tuple[int, dict[AttemptId, Watched], dict[bytes, int]]] = {}  # version, attempts, left out
        self._cases: dict[bytes, dict[tuple[str, int], _Case]] = {}
        self._heap: list[tuple[int, AttemptId]] = []
        self._changed: dict[bytes, None] = {}  # series whose stuck attempts the hot state does not have yet
        self._retaught: set[bytes] = set()
        self._told: set[bytes] = set()
        self._now_us = 0

    # -- what comes in

    def fold(self, source: int, record: WatchRecord) -> None:
        """What a source partition watches now, instead of what it watched before."""
        known = self._sources.get(source)
        if known is not None and record.version < known[0]:
            return
        before = known[1] if known is not None else {}
        left_before = known[2] if known is not None else {}
        now = {(w.series, w.job_id, w.attempt): w for w in record.watched}
        self._sources[source] = (record.version, now, record.left_out)
        for gone in before.keys() - now.keys():
            self._drop(gone)
        for key, watched in now.items():
            if before.get(key) != watched:
                self._judge(key, watched)
        for series in left_before.keys() | record.left_out.keys():
            if left_before.get(series) != record.left_out.get(series):
                self._changed[series] = None

    def learn(self, series: bytes, start_s: int, run: dict[int, int], wait: dict[int, int]) -> None:
        """The successful runs and the waits of a minute that has closed."""
        if self.baselines.learn(series, start_s, run, wait) and series in self._cases:
            self._retaught.add(series)

    def advance(self, now_us: int) -> None:
        """Judge what is due at watermark `now_us`."""
        if now_us // 1_000_000 // DAY_S > self._now_us // 1_000_000 // DAY_S:
            self.baselines.forget_before(now_us // 1_000_000 - 2 * ERA_S)
        self._now_us = max(self._now_us, now_us)
        for series in self._retaught:
            for (job_id, attempt), known in list(self._cases.get(series, {}).items()):
                self._judge((series, job_id, attempt), known.watched)
        self._retaught.clear()
        heap = self._heap
        while heap and heap[0][0] <= self._now_us:
            due_us, key = heappop(heap)
            case = self._cases.get(key[0], {}).get(key[1:])
            if case is not None and case.judgement.next_us == due_us:
                self._judge(key, case.watched)
        if len(heap) > 1_000 and len(heap) > 4 * sum(map(len, self._cases.values())):
            self._rebuild()

    def _judge(self, key: AttemptId, watched: Watched) -> None:
        series, place = key[0], key[1:]
        cases = self._cases.setdefault(series, {})
        known = cases.get(place)
        judgement = judge(watched, self.baselines.by_series.get(series), self._now_us)
        cases[place] = _Case(watched, judgement)
        if judgement.next_us is not None and (known is None or known.judgement.next_us != judgement.next_us or judgement.next_us <= self._now_us):
            heappush(self._heap, (judgement.next_us, key))
        if judgement.verdict or (known is not None and known.judgement.verdict):
            if known is None or known.judgement[:3] != judgement[:3] or known.watched != watched:
                self._changed[series] = None

    def _drop(self, key: AttemptId) -> None:
        cases = self._cases.get(key[0], {})
        case = cases.pop(key[1:], None)
        if case is not None and case.judgement.verdict:
            self._changed[key[0]] = None
        if not cases:
            self._cases.pop(key[0], None)

    def _rebuild(self) -> None:
        """The heap without what is skipped anyway: it must not grow with every attempt that was ever watched."""
        self._heap = [
            (case.judgement.next_us, (series, *place))
            for series, cases in self._cases.items() for place, case in cases.items() if case.judgement.next_us is not None
        ]  # fmt: skip
        heapify(self._heap)

    # -- what is read

    def stuck(self) -> Iterator[tuple[SeriesKey, list[StuckAttempt]]]:
        """Every series with stuck attempts, and these, the longest first."""
        for series in self._cases:
            found = self.stuck_in(series)
            if found:
                yield series_from(series), found

    def stuck_in(self, series: bytes) -> list[StuckAttempt]:
        found = [_told(case) for case in self._cases.get(series, {}).values() if case.judgement.verdict]
        found.sort(key=attrgetter("since_us", "job_id", "attempt"))
        return found

    def take_changed(self) -> dict[bytes, None]:
        """The series whose stuck attempts have changed since the last call."""
        changed, self._changed = self._changed, {}
        return changed

    def take_changes(self, version: int) -> list[HotWrite]:
        """What the hot state has to be told; None where nothing is stuck any more."""
        out = []
        for series in self.take_changed():
            found, key = self.stuck_in(series), series_from(series)
            if not found and series not in self._told:
                continue
            field = SEPARATOR.join(key[1:])
            if not found:
                self._told.discard(series)
                out.append(HotWrite("stuck", key.tenant, field, version, None))
                continue
            self._told.add(series)
            left_out = sum(left.get(series, 0) for _, _, left in self._sources.values())
            counts = dict(sorted(Counter(attempt.verdict for attempt in found).items()))
            snapshot = SeriesStuck(*key, counts=counts, unjudged=left_out, attempts=found[:TOLD])
            out.append(HotWrite("stuck", key.tenant, field, version, encode(snapshot)))
        return out

    def holds(self, series: bytes) -> bool:
        return series in self._told or any(case.judgement.verdict for case in self._cases.get(series, {}).values())

    def touch_all(self) -> None:
        self._changed.update(dict.fromkeys(self._cases))


def _told(case: _Case) -> StuckAttempt:
    watched, judgement = case
    assert judgement.verdict is not None
    return StuckAttempt(
        job_id=watched.job_id,
        attempt=watched.attempt,
        worker_id=watched.worker_id,
        verdict=judgement.verdict,
        since_us=watched.since_us,
        limit_us=judgement.limit.limit_us,
        limit_source=judgement.limit.source,
        severity=judgement.severity,
        last_event_us=watched.last_event_us,
        p99_us=judgement.limit.p99_us,
        expected_us=watched.expected_us,
        heartbeat_us=watched.heartbeat_us,
        reason=watched.gone,
        others=watched.others,
    )
