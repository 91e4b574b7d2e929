"""Keeps alerts in history: job.alerts → the table `alerts`, beside the history writer and in its process.

A consumer group of its own. Rows first, then the offsets: what is read again after a crash lands in the same places (`alert_rows`). While
ClickHouse is away a batch is repeated and nothing is fetched; while Kafka is away it is waited for. Decides nothing about content.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from jobtide.sinks import alert_rows
from jobtide.sinks.alert_rows import AlertRecord
from jobtide.sinks.clickhouse.connection import ClickHouse
from jobtide.sinks.group import new_consumer, started
from jobtide.sinks.history_metrics import HistoryMetrics
from jobtide.sinks.inserts import insert
from jobtide.sinks.patience import Patience, Stopped
from jobtide.streams import topics
from jobtide.streams.settings import Settings

log = logging.getLogger(__name__)

GROUP = "jobtide-alert-history"
MAX_RECORDS = 5_000
POLL_MS = 500
REPORT_EVERY_S = 2.0
SLACK_US = 2_000_000  # what a fetch says of the end of a log is as old as the fetch
_PROGRESS = ("kafka_partition", "read_until", "updated_at")


class AlertHistory:
    """See the module. Several may run: Kafka's group shares the partitions out."""

    def __init__(self, settings: Settings, db: ClickHouse, patience: Patience, metrics: HistoryMetrics) -> None:
        self._db, self._patience, self._metrics = db, patience, metrics
        self._topic = settings.topic(topics.ALERTS)
        self._reported_at = 0.0
        self._consumer = new_consumer(settings, GROUP)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Raises StoreRejected."""
        if not await started(self._consumer, stop, "history of alerts"):
            return
        self._consumer.subscribe([self._topic])
        try:
            while not stop.is_set():
                await self._round()
        except Stopped:
            return
        finally:
            await self._consumer.stop()

    async def _round(self) -> None:
        began_us = time.time_ns() // 1000
        found = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_RECORDS)
        if found:
            await self._write([AlertRecord(m.key or b"", m.value, m.timestamp * 1000) for messages in found.values() for m in messages])
            await self._commit({tp: messages[-1].offset + 1 for tp, messages in found.items()})
        if time.monotonic() - self._reported_at >= REPORT_EVERY_S:
            await self._report(began_us - SLACK_US)
            self._reported_at = time.monotonic()

    async def _write(self, records: Sequence[AlertRecord]) -> None:
        batch = alert_rows.prepare(records)
        rows = batch.insert()
        await self._patience.call("alerts", lambda: True, self._db.insert, rows)
        self._metrics.rows[rows.table] += rows.rows
        self._metrics.refused.update(map(str, batch.refused))

    async def _commit(self, next_offsets: dict[TopicPartition, int]) -> None:
        try:
            await self._consumer.commit(next_offsets)
        except KafkaError as error:  # the records come again, here or to the partition's next owner
            log.warning("history of alerts could not commit", extra={"reason": str(error)})
            self._metrics.commit_failures += 1

    async def _report(self, until_us: int) -> None:
        """Say of every partition that is read to its end that everything appended before `until_us` is written."""
        behind, values = 0, []
        for tp in self._consumer.assignment():
            end, position = self._consumer.highwater(tp), await self._position(tp)
            if end is None or position is None:
                continue
            behind += max(end - position, 0)
            if position >= end:
                values += [tp.partition, until_us, until_us]
        self._metrics.alerts_behind = behind
        if values:
            await self._patience.call("alerts", lambda: True, self._db.insert, insert("alerts_progress", _PROGRESS, values))

    async def _position(self, tp: TopicPartition) -> int | None:
        """None while a rebalance is under way."""
        try:
            async with asyncio.timeout(1.0):
                return int(await self._consumer.position(tp))
        except (KafkaError, TimeoutError):
            return None
