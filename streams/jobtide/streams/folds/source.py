"""Stage 1: the fold of one partition of job.events.

`fold(offset, append time, value)` turns the log into attempts, panes and ledgers. `publish` and `checkpoint` say what to send; the agent
sends it. Everything here is a function of the log prefix folded so far: the same prefix gives the same panes under the same version, on
any worker, however often it crashed. Time comes with the records; only `caught_up` is told the present, by its caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jobtide.streams.errors import ContractError
from jobtide.streams.events import LAST_JOB_KIND, Event, Kind, Reason, check_lane, decode, decode_each
from jobtide.streams.folds import sequences
from jobtide.streams.folds.attempts import (
    OUTCOME_FIELD,
    OUTCOME_OF_KIND,
    AttemptFacts,
    AttemptKey,
    Contribution,
    Field,
    Outcome,
    contributions,
    facts_of,
    join,
    run_us,
    start_us,
    wait_us,
)
from jobtide.streams.folds.identities import Identities
from jobtide.streams.folds.memory import AttemptMemory, Key, Owner, Tracked
from jobtide.streams.folds.notices import Notices
from jobtide.streams.folds.records import SeriesKey
from jobtide.streams.folds.sequences import Epoch
from jobtide.streams.folds.series import Series, SeriesTable

FUTURE_US = 5 * 60 * 1_000_000  # an event further ahead of its append time is counted here; history keeps the raw time
_OWNERS_KEPT = 100_000


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message with events that break the contract, for the dead letter topic: (index in the pack, reason, detail) of each."""

    offset: int
    value: bytes
    faults: tuple[tuple[int, Reason, str], ...]


@dataclass(slots=True)
class Counters:
    """What the fold has met so far, saved with the checkpoint. Events unless said otherwise."""

    events: int = 0
    duplicates: int = 0
    backfill: int = 0
    rejected: int = 0
    late_dropped: int = 0  # contributions older than every pane: history only
    after_end: int = 0  # events of attempts that are long over: history only
    future_clamped: int = 0
    open_given_up: int = 0  # attempts


@dataclass(slots=True)
class Limits:
    """Bounds of the state of one source partition."""

    disorder_us: int = 2_000_000
    series: int = 20_000
    open_attempts: int = 250_000
    recent_attempts: int = 48_000


@dataclass(slots=True)
class SourceFold:
    """All state of one source partition. `version` is the offset of the last whole message folded."""

    partition: int
    partitions: int
    limits: Limits = field(default_factory=Limits)
    version: int = -1
    high_us: int = 0  # the newest min(event time, append time)
    append_us: int = 0  # the newest append time
    idle_us: int = 0  # watermark that silence at the end of the log allows
    counters: Counters = field(default_factory=Counters)
    epochs: dict[str, Epoch] = field(default_factory=dict)
    unsaved_epochs: dict[str, Epoch] = field(default_factory=dict)
    identities: Identities = field(default_factory=Identities)
    rejected: list[Rejected] = field(default_factory=list)
    notices: Notices = field(default_factory=Notices)
    table: SeriesTable = field(init=False)
    memory: AttemptMemory = field(init=False)
    _owners: dict[Owner, Owner] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.table = SeriesTable(self.partition, self.limits.series)
        self.memory = AttemptMemory(self.limits.recent_attempts)

    @property
    def watermark_us(self) -> int:
        """No event before this is expected any more."""
        return max(self.high_us - self.limits.disorder_us, self.idle_us)

    def caught_up(self, now_us: int) -> None:
        """The partition has been silent at its end until `now_us`: time passes although no event says so."""
        self.idle_us = max(self.idle_us, now_us - self.limits.disorder_us)

    def fold(self, offsets: Sequence[int], appends_us: Sequence[int], values: Sequence[bytes | None]) -> None:
        """Fold messages in order; those at or before `version` are skipped."""
        take = self._take
        for offset, append_us, value in zip(offsets, appends_us, values, strict=True):
            if offset <= self.version:
                continue
            if append_us > self.append_us:
                self.append_us = append_us
            try:
                events: Sequence[Event] = decode(value or b"")
            except ContractError as error:
                self._fold_partly(offset, value or b"", error)
            else:
                for index, event in enumerate(events):
                    try:
                        take(event, offset)
                    except ContractError as error:
                        self._reject(offset, value or b"", ((index, Reason(error.reason), error.detail),))
            self.version = offset

    def _fold_partly(self, offset: int, value: bytes, error: ContractError) -> None:
        """A message of which at least one event is bad: the good ones count, the bad ones go to the dead letter."""
        faults: list[tuple[int, Reason, str]] = []
        for index, judged in enumerate(decode_each(value) or [error]):
            try:
                if isinstance(judged, ContractError):
                    raise judged
                self._take(judged, offset)
            except ContractError as fault:
                faults.append((index, Reason(fault.reason), fault.detail))
        self._reject(offset, value, tuple(faults))

    def _reject(self, offset: int, value: bytes, faults: tuple[tuple[int, Reason, str], ...]) -> None:
        self.counters.rejected += len(faults)
        self.rejected.append(Rejected(offset, value, faults))

    # -- one event

    def _take(self, event: Event, version: int) -> None:
        counters = self.counters
        counters.events += 1
        if event.epoch is None:
            if not self.identities.first_time(event.id, self.append_us):
                counters.duplicates += 1
                return
        elif not self._numbered(event):
            counters.duplicates += 1
            return
        if event.backfill:
            counters.backfill += 1
            return
        at_us = event.time_us
        if at_us > self.append_us:
            if at_us > self.append_us + FUTURE_US:
                at_us = self.append_us + FUTURE_US
                counters.future_clamped += 1
            if self.append_us > self.high_us:
                self.high_us = self.append_us
        elif at_us > self.high_us:
            self.high_us = at_us
        if event.kind <= LAST_JOB_KIND:
            self._job(event, at_us, version)
        elif event.kind == Kind.EMITTER_STATS:
            self._stats(event)
        else:
            self.notices.note(event, at_us)

    def _numbered(self, event: Event) -> bool:
        lane = event.lane or 0
        if lane % self.partitions != self.partition:
            raise ContractError(Reason.WRONG_PARTITION, f"lane {lane} is on partition {lane % self.partitions}, not {self.partition}")
        name = event.epoch or ""
        epoch = self.epochs.get(name)
        if epoch is None:
            epoch = self._open_epoch(name, event)
        if name not in self.unsaved_epochs:
            self.unsaved_epochs[name] = epoch
        epoch.last_us = self.append_us
        return sequences.observe(epoch, lane, event.seq or 0, self.append_us)

    def _open_epoch(self, name: str, event: Event) -> Epoch:
        epoch = self.epochs[name] = Epoch(event.source, event.data.tenant, getattr(event.data, "system", None) or "")
        return epoch

    def _stats(self, event: Event) -> None:
        name = event.epoch or event.data.epoch
        if name is None:
            return
        epoch = self.epochs.get(name) or self._open_epoch(name, event)
        self.unsaved_epochs[name] = epoch
        mine = {int(lane): following for lane, following in event.data.next.items() if int(lane) % self.partitions == self.partition}
        sequences.announce(epoch, mine, bool(event.data.clean), self.append_us)

    def _job(self, event: Event, at_us: int, version: int) -> None:
        d = event.data
        named = (d.tenant, d.environment, d.system, d.queue)
        owner = self._owners.get(named)
        if owner is None:
            owner = self._own(named)
        key: Key = (owner, d.job_id, d.attempt)
        attempt = self.memory.open.get(key)
        if attempt is not None:
            if attempt.facts.job_class == d.job_class and self._common(attempt, event, at_us, version):
                return
        elif event.kind in _UNCOUNTED:
            return
        for named_key, facts in facts_of(event, at_us):
            self._join((owner, d.job_id, named_key.attempt), facts, event, version)

    def _own(self, named: Owner) -> Owner:
        if len(self._owners) >= _OWNERS_KEPT:
            self._owners.clear()  # only shared strings: equality does not depend on it
        self._owners[named] = named
        return named

    def _common(self, attempt: Tracked, event: Event, at_us: int, version: int) -> bool:
        """The two events nearly all attempts have: a first start, and an outcome after a start. What `_join` would do, without asking what
        the attempt counted for before. False: it is neither, nothing was done."""
        kind, f, d = event.kind, attempt.facts, event.data
        if kind == Kind.STARTED:
            if f.started_us is not None or f.implied_us is not None or f.outcome:
                return False
            f.started_us = at_us
            f.worker_id = d.worker_id if not f.worker_id or d.worker_id < f.worker_id else f.worker_id
            if d.enqueued_us is not None and (f.queued_us is None or d.enqueued_us < f.queued_us):
                f.queued_us = d.enqueued_us
            if d.run_us is not None and (f.eligible_us is None or d.run_us > f.eligible_us):
                f.eligible_us = d.run_us
            series = attempt.series
            series.running += 1
            if f.enqueued_us is not None:
                series.waiting -= 1
            self._count(series, Field.STARTED, at_us, wait_us(f), version)
        elif kind in (Kind.FINISHED, Kind.FAILED):
            if f.started_us is None or f.outcome or d.enqueued_us is not None or d.run_us is not None or d.worker_id != f.worker_id:
                return False
            outcome = OUTCOME_OF_KIND[Kind(kind)]
            f.outcome, f.outcome_us = outcome, at_us
            duration_ms = d.duration_ms
            if duration_ms is not None:
                f.duration_us = round(duration_ms * 1000)
            implied_us = d.started_us
            if implied_us is None:
                implied_us = at_us - f.duration_us if f.duration_us is not None else at_us
            f.implied_us = implied_us
            attempt.series.running -= 1
            self._count(attempt.series, OUTCOME_FIELD[outcome], at_us, run_us(f), version)
            self.memory.close(attempt, self.append_us)
        else:
            return False
        self.memory.touch(attempt)
        return True

    def _count(self, series: Series, what: int, at_us: int, sample_us: int | None, version: int) -> None:
        if not self.table.apply(series, what, at_us, sample_us, 1, self.watermark_us, version):
            self.counters.late_dropped += 1

    # -- the general case

    def _join(self, key: Key, facts: AttemptFacts, event: Event, version: int) -> None:
        memory = self.memory
        attempt = memory.open.get(key) or memory.recall(key, self.append_us)
        if attempt is None:
            attempt = self._open(key, facts, event)
            if attempt is None:
                return
            before: list[Contribution] = []
            was: tuple[int, int] = (0, 0)
            joined = facts
        else:
            before, was = contributions(attempt.facts), occupies(attempt.facts)
            joined = join(attempt.facts, facts)
        series = attempt.series if attempt.closed_us is None else self.table.series(attempt.series_key)
        attempt.facts = joined
        for change, sign in _difference(before, contributions(joined)):
            if not self.table.apply(series, change.field, change.time_us, change.sample_us, sign, self.watermark_us, version):
                self.counters.late_dropped += 1
        if attempt.closed_us is None:
            waits, runs = occupies(joined)
            series.waiting += waits - was[0]
            series.running += runs - was[1]
            if joined.outcome:
                memory.close(attempt, self.append_us)
        memory.touch(attempt)

    def _open(self, key: Key, facts: AttemptFacts, event: Event) -> Tracked | None:
        memory = self.memory
        newest_us = max(start_us(facts) or 0, facts.enqueued_us or 0, facts.outcome_us or 0, facts.dead_us or 0, facts.retried_us or 0)
        if self.watermark_us - newest_us > LATE_US or memory.is_over(key, newest_us, self.append_us):
            self.counters.after_end += 1
            return None
        check_lane(event, self.partition, self.partitions)
        series = self.table.series(SeriesKey(*key[0], facts.job_class))
        attempt = memory.open[key] = Tracked(key, facts, series)
        if len(memory.open) > self.limits.open_attempts:
            self._give_up_oldest()
        return attempt

    def _give_up_oldest(self) -> None:
        oldest = next(iter(self.memory.open.values()))
        waits, runs = occupies(oldest.facts)
        oldest.series.waiting -= waits
        oldest.series.running -= runs
        del self.memory.open[oldest.key]
        self.memory.touch(oldest)
        self.counters.open_given_up += 1

    def read(self) -> dict[str, object]:
        """The numbers, without what depends on how they came about (offsets, append times): equal for equal sets of events."""
        return {
            "minutes": {
                (key, start): (c.pane.counts, c.pane.negative_waits, c.pane.wait_sum_us, c.pane.ok_sum_us, c.pane.failed_sum_us,
                               c.pane.wait, c.pane.run_ok, c.pane.run_failed)
                for key, series in self.table.by_key.items() for start, c in series.minutes.items() if any(c.pane.counts)
            },
            "open": {AttemptKey(*key[0], key[1], key[2]): attempt.facts for key, attempt in self.memory.open.items()},
            "gauges": {key: (s.running, s.waiting) for key, s in self.table.by_key.items() if s.running or s.waiting},
        }  # fmt: skip


LATE_US = 65 * 60 * 1_000_000
_UNCOUNTED = frozenset({int(Kind.HEARTBEAT), int(Kind.PROGRESS)})  # they open nothing: only a started event says that an attempt began


def occupies(f: AttemptFacts) -> tuple[int, int]:
    """(waiting, running): 1 where the attempt is that now."""
    if f.outcome != Outcome.NONE:
        return 0, 0
    if start_us(f) is not None:
        return 0, 1
    return int(f.enqueued_us is not None), 0


def _difference(before: list[Contribution], after: list[Contribution]) -> list[tuple[Contribution, int]]:
    """What to take out and what to add so that `before` becomes `after`."""
    return [(c, -1) for c in before if c not in after] + [(c, 1) for c in after if c not in before]
