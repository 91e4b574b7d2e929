"""Throw away what was derived from job.events, so that the next workers fold it again from its beginning.

For a new shape of state, or after a bug in the counting. The events themselves are not touched: what they still hold (7 days by default) is
what the rebuilt numbers are of. No worker may run meanwhile.
"""

from __future__ import annotations

import asyncio

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError
from jobtide.streams.agents.kafka import connection, ensure_topics, new_reader
from jobtide.streams.app import GROUP
from jobtide.streams.errors import ConfigError, TransientError
from jobtide.streams.settings import Settings
from jobtide.streams.topics import ALERT_STATE, CHECKPOINT, EVENTS, PANES

DELETION_S = 30.0


async def forget_derived(settings: Settings) -> int:
    """Empty the checkpoints and job.panes. Returns how many messages of job.events the workers will fold.

    Raises ConfigError while a worker runs, TransientError if Kafka is out of reach.
    """
    admin = AIOKafkaAdminClient(**connection(settings))
    try:
        await admin.start()
    except KafkaConnectionError as error:
        raise TransientError(f"Kafka at {settings.broker} is out of reach: {error}") from error
    try:
        await _refuse_with_workers(admin, settings)
        derived = [settings.topic(name) for name in (CHECKPOINT, PANES, ALERT_STATE)]
        await admin.delete_topics([name for name in derived if name in await admin.list_topics()])
        deadline = asyncio.get_running_loop().time() + DELETION_S
        while set(derived) & set(await admin.list_topics()):
            if asyncio.get_running_loop().time() > deadline:
                raise TransientError(f"Kafka has not deleted {' and '.join(derived)} after {DELETION_S:.0f} s; run this again")
            await asyncio.sleep(0.2)
    finally:
        await admin.close()
    await ensure_topics(settings)
    return await _messages(settings)


async def _refuse_with_workers(admin: AIOKafkaAdminClient, settings: Settings) -> None:
    group = settings.topic(GROUP)
    for description in await admin.describe_consumer_groups([group]):
        members = [member for described in vars(description)["groups"] for member in described[5]]
        if members:
            raise ConfigError(f"{len(members)} streams worker(s) of group {group} are running. Stop them, then run `jobtide rebuild` again.")


async def _messages(settings: Settings) -> int:
    reader = new_reader(settings)
    await reader.start()
    try:
        tps = [TopicPartition(settings.topic(EVENTS), p) for p in range(settings.partitions)]
        first, end = await reader.beginning_offsets(tps), await reader.end_offsets(tps)
        return sum(end[tp] - first[tp] for tp in tps)
    finally:
        await reader.stop()
