"""A consumer group of history: offsets are committed by hand after ClickHouse has the rows; a broker that is away is waited for."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from jobtide.sinks.patience import pause
from jobtide.streams.agents.kafka import connection
from jobtide.streams.settings import Settings

log = logging.getLogger(__name__)

_DAY_MS = 86_400_000


def new_consumer(settings: Settings, group: str, **more: Any) -> AIOKafkaConsumer:
    """Not started yet. `group` gets the prefix of the topics; `more` goes to aiokafka."""
    return AIOKafkaConsumer(
        **connection(settings),
        group_id=settings.topic_prefix + group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=settings.session_timeout_ms,
        heartbeat_interval_ms=max(settings.session_timeout_ms // 10, 100),
        # While ClickHouse is away nothing is fetched, for as long as it takes: that is no reason to leave the group.
        max_poll_interval_ms=_DAY_MS,
        metadata_max_age_ms=10_000,  # how long a topic that is made after us stays unseen
        **more,
    )


async def started(consumer: AIOKafkaConsumer, stop: asyncio.Event, who: str) -> bool:
    """Connect, waiting for the broker; False if `stop` came first. `who` waits, says the log."""
    while not stop.is_set():
        try:
            await consumer.start()
        except KafkaError as error:
            log.warning("%s waits for Kafka", who, extra={"reason": str(error)})
            await pause(stop, 1.0)
        else:
            return True
    return False
