"""Rules in a worker: transitions out to job.alerts, what must not be forgotten into a checkpoint of its own.

The order of effects is stage 1's: transitions acknowledged, then the checkpoint that says they were decided. A crash in between decides them
again, from the same log, under the same ids; whoever reads job.alerts takes each id once. Stage 2 asks this for its partitions' folds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from time import monotonic
from typing import Any
from zlib import crc32

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from jobtide.streams.agents.kafka import new_reader
from jobtide.streams.agents.rules_file import RulesFile
from jobtide.streams.agents.stage import end_process
from jobtide.streams.alerts.partition import RuledPartition
from jobtide.streams.alerts.saved import Restorer, save
from jobtide.streams.alerts.transitions import RULES_KEY, Transition, encode
from jobtide.streams.checkpoint.log import CheckpointLog, Lost
from jobtide.streams.folds.records import Record
from jobtide.streams.settings import Settings
from jobtide.streams.topics import ALERT_STATE, ALERTS
from prometheus_client import Counter, Gauge

LOOK_S = 1.0
MOST_UNSAVED = 10_000  # hours of long totals, some 350 bytes each, that a replay gathers: one batch holds 15 MiB
STATUS_KEY = RULES_KEY
TRANSITIONS = Counter("jobtide_alert_transitions", "Transitions of alerts.", ["state", "severity"])
FIRING = Gauge("jobtide_alerts_firing", "Alerts that fire now, of this worker's partitions.")

log = logging.getLogger(__name__)


class Ruling:
    """All partitions of job.panes of this worker."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer) -> None:
        self.settings, self.producer = settings, producer
        self.file = RulesFile(settings.rules)
        self.partitions: dict[int, RuledPartition] = {}
        self._checkpoints: CheckpointLog | None = None
        self._saying = asyncio.Lock()
        self._looked_s = self._saved_s = 0.0
        self._told: dict[int, dict[str, object]] = {}

    # -- ownership

    async def take_over(self, partitions: set[int]) -> dict[int, RuledPartition]:
        """Claim the partitions' state. Their logs have to be read from well before `resumes_at_us` on."""
        checkpoints = CheckpointLog(self.producer, lambda: new_reader(self.settings), self.settings.topic(ALERT_STATE))
        restorers = {p: Restorer() for p in partitions}
        await checkpoints.recover(partitions, lambda p, key, value: restorers[p].load(key, value))
        self._checkpoints, self._told = checkpoints, {}
        rules, count = self.file.current.rules, self.settings.partitions
        return {p: RuledPartition(p, count, rules, restorers[p], count) for p in partitions}

    async def begin_anew(self, partition: int, old: RuledPartition) -> RuledPartition:
        """Without what was saved: its alerts end, and it is taken out of the checkpoint; if that is cut short, the next owner does it again."""
        count = self.settings.partitions
        new = RuledPartition(partition, count, self.file.current.rules, partitions=count)
        new.evaluator.succeed(old.evaluator)
        new.fold.triage.baselines = old.fold.triage.baselines  # what classes have taught is true whatever the log
        transitions, new.evaluator.transitions = new.evaluator.transitions, []
        await self._out(partition, transitions, save(new.evaluator, [])[:-1])  # not yet where it stands: that is unknown
        return new

    async def while_replaying(self, partition: int, ruled: RuledPartition) -> None:
        """Send and save what a long replay has decided before it is too much for one batch."""
        if len(ruled.evaluator.unsaved_hours) > MOST_UNSAVED:
            transitions, records = ruled.take()
            await self._out(partition, transitions, records, at_once=len(records))

    async def _out(self, partition: int, transitions: list[Transition], records: list[Record], at_once: int = MOST_UNSAVED) -> None:
        """Like `say`, for a partition that is being taken over. `at_once`: so many records belong together."""
        assert self._checkpoints is not None
        try:
            await self._send(transitions)
            for first in range(0, len(records), max(1, at_once)):
                await self._save(self._checkpoints, [(partition, records[first : first + at_once])])
        except Lost as error:
            end_process(str(error))
        except KafkaError as error:
            end_process(f"Kafka did not acknowledge alerts ({error!r})")

    def release(self) -> None:
        self.partitions, self._checkpoints = {}, None

    # -- effects

    async def say(self, whole: bool = False) -> None:
        """Send what was decided; `whole`: also save where the evaluation stands, if nothing was."""
        async with self._saying:
            self._look_at_the_file()
            whole = whole or monotonic() - self._saved_s >= self.settings.flush_ms / 1000
            if whole:
                self._saved_s = monotonic()
            checkpoints, taken = self._checkpoints, []
            for partition, ruled in self.partitions.items():
                transitions, records = ruled.take(whole)
                if records:
                    taken.append((partition, transitions, records))
            # No await up to here: transitions and state are of the same moment.
            if checkpoints is None:
                return
            try:
                await self._send([each for _, transitions, _ in taken for each in transitions])
                self.point("sent")
                await self._save(checkpoints, [(partition, records) for partition, _, records in taken])
                self.point("saved")
                await self._tell_status()
            except Lost as error:
                end_process(str(error))
            except KafkaError as error:  # sent or not is unknown: only a fresh start from the log knows
                end_process(f"Kafka did not acknowledge alerts ({error!r})")

    def point(self, name: str) -> None:
        """A named moment; the crash tests stop the process here."""

    async def _send(self, transitions: list[Transition]) -> None:
        waits: list[Awaitable[Any]] = []
        for each in transitions:
            TRANSITIONS.labels(each.state, each.severity).inc()
            key = each.fingerprint.encode()
            partition = crc32(key) % self.settings.partitions
            waits.append(await self.producer.send(self.settings.topic(ALERTS), encode(each), key=key, partition=partition))
        for wait in waits:
            await wait
        if transitions:
            FIRING.set(sum(ruled.firing() for ruled in self.partitions.values()))

    async def _save(self, checkpoints: CheckpointLog, records: list[tuple[int, list[Record]]]) -> None:
        waits = [await checkpoints.submit(partition, of_it) for partition, of_it in records]
        for durable in waits:
            await durable()

    def _look_at_the_file(self) -> None:
        if monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = monotonic()
        before = self.file.current.digest
        if self.file.changed() and self.file.current.digest != before:
            for ruled in self.partitions.values():
                ruled.evaluator.replace(self.file.current.rules)

    async def _tell_status(self) -> None:
        status = self.file.status()
        for partition in self.partitions:
            if self._told.get(partition) != status:
                self._told[partition] = status
                key = STATUS_KEY + b"%d" % partition
                await self.producer.send_and_wait(self.settings.topic(ALERTS), msgspec.json.encode(status), key=key, partition=partition)
