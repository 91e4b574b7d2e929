"""Stage 1: the fold of one partition of job.events, from Kafka values to attempts, panes and ledgers.

Everything here is a function of the log prefix folded so far: the same prefix gives the same panes under the same version, on any worker,
however often it crashed. Time comes with the records; only `caught_up` is told the present, by its caller. What is to be sent is
`publication`, what is to be saved `saving`; both only read and mark this state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from jobtide.streams.errors import ContractError
from jobtide.streams.events import Event, Job, Reason, decode, decode_each, decode_job, is_job
from jobtide.streams.events.data import StatsData
from jobtide.streams.folds import sequences
from jobtide.streams.folds.counters import Counters, Limits
from jobtide.streams.folds.identities import Identities
from jobtide.streams.folds.lifecycle import Lifecycles
from jobtide.streams.folds.memory import named
from jobtide.streams.folds.notices import Notices
from jobtide.streams.folds.sequences import Epoch

FUTURE_US: Final = 5 * 60 * 1_000_000  # an event further ahead of its append time is counted here; history keeps the raw time


class Rejected:
    """A message with events that break the contract, for the dead letter topic: (index in the pack, reason, detail) of each."""

    def __init__(self, offset: int, value: bytes, faults: list[tuple[int, Reason, str]]) -> None:
        self.offset, self.value, self.faults = offset, value, faults


class SourceFold:
    """All state of one source partition. `version` is the offset of the last whole message folded."""

    def __init__(self, partition: int, partitions: int, limits: Limits | None = None) -> None:
        self.partition, self.partitions = partition, partitions
        self.limits = limits or Limits()
        self.version = -1
        self.high_us = 0  # the newest min(event time, append time)
        self.append_us = 0  # the newest append time
        self.idle_us = 0  # the watermark that silence at the end of the log allows
        self.published_us = 0  # the watermark up to which panes have been published
        self.counters = Counters()
        self.lifecycles = Lifecycles(partition, partitions, self.limits, self.counters)
        self.epochs: dict[str, Epoch] = {}
        self.unsaved_epochs: dict[str, Epoch] = {}
        self.identities = Identities()
        self.notices = Notices()
        self.rejected: list[Rejected] = []

    @property
    def watermark_us(self) -> int:
        """No event before this is expected any more."""
        return max(self.high_us - self.limits.disorder_us, self.idle_us)

    def caught_up(self, now_us: int) -> None:
        """The partition has been silent at its end until `now_us`: time passes although no event says so."""
        self.idle_us = max(self.idle_us, now_us - self.limits.disorder_us)

    def fold(self, offsets: Sequence[int], appends_us: Sequence[int], values: Sequence[bytes | None]) -> None:
        """Fold messages in order; those at or before `version` are skipped."""
        disorder_us = self.limits.disorder_us
        for offset, append_us, value in zip(offsets, appends_us, values):  # noqa: B905 - strict costs per call on the hot path
            if offset <= self.version:
                continue
            if append_us > self.append_us:
                self.append_us = append_us
            watermark_us = self.high_us - disorder_us  # `watermark_us`, written out
            if watermark_us < self.idle_us:
                watermark_us = self.idle_us
            value = value or b""
            job = decode_job(value)
            if job is None:
                self._fold_any(offset, value, watermark_us)
            else:
                try:
                    self._take_job(job, watermark_us)
                except ContractError as fault:
                    self._reject(offset, value, [(0, Reason(fault.reason), fault.detail)])
            self.version = offset

    def _fold_any(self, offset: int, value: bytes, watermark_us: int) -> None:
        """A message that is not plainly one good event: a pack, another encoding, or something bad."""
        try:
            events = decode(value)
        except ContractError as error:
            self._fold_partly(offset, value, error, watermark_us)
            return
        for index, event in enumerate(events):
            try:
                self._take(event, watermark_us)
            except ContractError as fault:
                self._reject(offset, value, [(index, Reason(fault.reason), fault.detail)])

    def _fold_partly(self, offset: int, value: bytes, error: ContractError, watermark_us: int) -> None:
        """A message of which at least one event is bad: the good ones count, the bad ones go to the dead letter."""
        faults: list[tuple[int, Reason, str]] = []
        for index, judged in enumerate(decode_each(value) or [error]):
            if isinstance(judged, ContractError):
                faults.append((index, Reason(judged.reason), judged.detail))
                continue
            try:
                self._take(judged, watermark_us)
            except ContractError as fault:
                faults.append((index, Reason(fault.reason), fault.detail))
        self._reject(offset, value, faults)

    def _reject(self, offset: int, value: bytes, faults: list[tuple[int, Reason, str]]) -> None:
        self.counters.rejected += len(faults)
        self.rejected.append(Rejected(offset, value, faults))

    def _take_job(self, job: Job, watermark_us: int) -> None:
        if not self._is_new(job.event, job.epoch, job.lane, job.seq):
            return
        if job.backfill:
            self.counters.backfill += 1
            return
        at_us = job.time_us
        if at_us > self.high_us:
            at_us = self._advance(at_us)
        self.lifecycles.take(job, at_us, self.append_us, watermark_us)

    def _is_new(self, event: Event, name: str | None, lane: int | None, seq: int | None) -> bool:
        """Count an event; False if it has come before."""
        self.counters.events += 1
        if name is not None:
            epoch = self.unsaved_epochs.get(name)
            if epoch is None:
                epoch = self._touch_epoch(name, event)
            known = epoch.lanes.get(lane)  # type: ignore[arg-type]
            if known is not None and seq == known.next:  # what `observe` would do, for nearly every event
                known.next += 1
                epoch.received += 1
                return True
            if self._numbered(event, epoch):
                return True
        elif self.identities.first_time(event.id, self.append_us):
            return True
        self.counters.duplicates += 1
        return False

    def _take(self, event: Event, watermark_us: int) -> None:
        if is_job(event):
            self._take_job(Job(event, True), watermark_us)
            return
        if not self._is_new(event, event.epoch, event.lane, event.seq):
            return
        if event.backfill:
            self.counters.backfill += 1
            return
        at_us: int = event.time_us
        if at_us > self.high_us:
            at_us = self._advance(at_us)
        if isinstance(event.data, StatsData):
            self._stats(event, event.data)
        else:
            self.notices.note(event, at_us, self.append_us)

    def _advance(self, at_us: int) -> int:
        """Move the newest time; returns the event time to count at, clamped if it lies in the future."""
        if at_us <= self.append_us:
            self.high_us = at_us
            return at_us
        self.high_us = max(self.high_us, self.append_us)
        if at_us <= self.append_us + FUTURE_US:
            return at_us
        self.counters.future_clamped += 1
        return self.append_us + FUTURE_US

    def _numbered(self, event: Event, epoch: Epoch) -> bool:
        lane, seq = event.lane, event.seq
        if lane is None or seq is None:
            raise ContractError(Reason.PARTIAL_SEQUENCE, "epoch, lane and seq come together or not at all")
        if lane % self.partitions != self.partition:
            raise ContractError(Reason.WRONG_PARTITION, f"lane {lane} is on partition {lane % self.partitions}, not {self.partition}")
        return sequences.observe(epoch, lane, seq, self.append_us)

    def _touch_epoch(self, name: str, event: Event) -> Epoch:
        epoch = self.epochs.get(name)
        if epoch is None:
            data = event.data
            epoch = self.epochs[name] = Epoch(event.source, data.tenant, getattr(data, "system", None) or "")
        self.unsaved_epochs[name] = epoch
        return epoch

    def _stats(self, event: Event, data: StatsData) -> None:
        name = event.epoch or data.epoch
        if name is None:
            return
        epoch = self._touch_epoch(name, event)
        mine = {int(lane): following for lane, following in data.next.items() if int(lane) % self.partitions == self.partition}
        sequences.announce(epoch, mine, bool(data.clean), self.append_us)

    def read(self) -> dict[str, object]:
        """The numbers, without what depends on how they came about (offsets, append times): equal for equal sets of events."""
        by_key = self.lifecycles.table.by_key
        return {
            "minutes": {
                (key, start): (pane.counts, pane.negative_waits, pane.wait_sum_us, pane.ok_sum_us, pane.failed_sum_us,
                               pane.wait, pane.run_ok, pane.run_failed)
                for key, series in by_key.items() for start, pane in series.sums().items() if any(pane.counts)
            },
            "open": {named(key): attempt.facts for key, attempt in self.lifecycles.memory.open.items()},
            "gauges": {key: (s.running, s.waiting) for key, s in by_key.items() if s.running or s.waiting},
        }  # fmt: skip
