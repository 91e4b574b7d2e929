"""Kafka records to everything one insert needs: rows, attempts, and how far each partition has come. Pure.

Not what has to be recomputed (`moves`). An event that breaks the contract is counted and left out: stage 1 writes it to the dead letter
with its reason. A whole batch depends on its records only, so the token of an insert can be made of their offsets.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import msgspec
from jobtide.sinks import executions, failures, rows
from jobtide.sinks.executions import Execution, Key
from jobtide.sinks.inserts import Insert, Rows
from jobtide.streams.errors import ContractError
from jobtide.streams.events import Event, QueueEvent, Reason, WorkerEvent, check_lane, decode, decode_each, is_job, is_pack, split
from jobtide.streams.events.types import DeployMarked

FUTURE_US = 5 * 60 * 1_000_000  # as in stage 1: an event further ahead of its append time is taken for that time
ROWS_VERSION = 1  # raise it when the same record gives other rows: an old token must not hide them


class Record(msgspec.Struct, frozen=True, gc=False):
    """One Kafka message; `append_us` is its LogAppendTime. (A NamedTuple would cost a microsecond more, mostly in the collector.)"""

    partition: int
    offset: int
    append_us: int
    value: bytes | None


@dataclass(slots=True)
class Reach:
    """How far one partition has come with a batch."""

    first_offset: int
    next_offset: int
    first_append_us: int
    append_us: int  # newest
    high_us: int = 0  # newest min(event time, append time)


class Identity(msgspec.Struct, frozen=True, gc=False):
    """With its id, what makes an event the same event: the key of its row."""

    tenant: str
    name: str
    time_us: int


@dataclass(slots=True)
class Batch:
    """What to insert for some records."""

    event_rows: Rows = field(default_factory=lambda: Rows("job_events", rows.EVENT_COLUMNS))
    deploy_rows: Rows = field(default_factory=lambda: Rows("deploys", rows.DEPLOY_COLUMNS))
    queue_rows: Rows = field(default_factory=lambda: Rows("queue_states", rows.QUEUE_COLUMNS))
    worker_rows: Rows = field(default_factory=lambda: Rows("worker_snapshots", rows.WORKER_COLUMNS))
    attempts: dict[int, dict[Key, Execution]] = field(default_factory=dict)  # by partition
    reach: dict[int, Reach] = field(default_factory=dict)
    events: int = 0
    duplicates: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # events by reason
    seen: dict[str, Identity] = field(default_factory=dict)  # by event id

    def inserts(self, whole: Sequence[tuple[Key, Execution]]) -> list[Insert]:
        """Everything to write. `whole`: all that is known of the batch's attempts, from earlier batches too (`moves.changed`).

        That depends on more than this batch, so executions carry no token. They do not need one: written twice, they merge.
        """
        attempts, lists = Rows("job_executions", executions.COLUMNS), Rows("execution_lists", executions.LIST_COLUMNS)
        failed = Rows("failures", failures.COLUMNS)
        for key, e in whole:
            row = executions.row(key, e)
            attempts.add(row)
            for copy in executions.list_rows(key, e, row):
                lists.add(copy)
            for fact in failures.rows(key, e):
                failed.add(fact)
        of_events = (self.event_rows, self.worker_rows, self.deploy_rows, self.queue_rows)
        # Lists first: what follows from `job_executions` when a batch comes again must not be missing in them.
        made = (lists.insert(), failed.insert(), attempts.insert(), *(each.insert(self._token(each.table)) for each in of_events))
        return [each for each in made if each.rows]

    def _token(self, table: str) -> str:
        """Names the rows of this batch in `table`: from the same records always the same, from others another. Append times are part of
        it, because a topic that is made anew starts again at offset 0."""
        ranges = ";".join(f"{p}:{r.first_offset}-{r.next_offset}@{r.first_append_us}-{r.append_us}" for p, r in sorted(self.reach.items()))
        return f"{table}:{ROWS_VERSION}:{hashlib.sha256(ranges.encode()).hexdigest()}"


class _Data(msgspec.Struct, gc=False):
    data: msgspec.Raw


_raw_one = msgspec.json.Decoder(_Data)
_raw_pack = msgspec.json.Decoder(list[_Data])


def prepare(records: Sequence[Record], partitions: int) -> Batch:
    """Decode records, which come in offset order per partition. Never raises for what a record contains."""
    batch = Batch()
    for record in records:
        reach = _reach(batch, record)
        value = record.value or b""
        try:
            events = decode(value)
        except ContractError as error:
            pairs: Iterable[tuple[Event, bytes]] = _sound(batch, value, error)
        else:
            if len(events) == 1 and not is_pack(value):
                pairs = ((events[0], bytes(_raw_one.decode(value).data)),)
            else:
                pairs = zip(events, (bytes(raw.data) for raw in _raw_pack.decode(value)), strict=True)
        for event, raw in pairs:
            try:
                _take(batch, reach, event, raw, record, partitions)
            except ContractError as error:
                batch.refused[str(error.reason)] += 1
    return batch


def _reach(batch: Batch, record: Record) -> Reach:
    reach = batch.reach.get(record.partition)
    if reach is None:
        reach = batch.reach[record.partition] = Reach(record.offset, record.offset + 1, record.append_us, record.append_us)
        batch.attempts[record.partition] = {}
    reach.next_offset = record.offset + 1
    if record.append_us > reach.append_us:
        reach.append_us = record.append_us
    return reach


def _sound(batch: Batch, value: bytes, error: ContractError) -> Iterator[tuple[Event, bytes]]:
    """The sound events of a value that holds a bad one, with the bytes of their `data`."""
    judged = decode_each(value) or [error]
    if len(judged) == 1 and isinstance(judged[0], ContractError):
        batch.refused[str(judged[0].reason)] += 1
        return
    for verdict, piece in zip(judged, split(value), strict=True):
        if isinstance(verdict, ContractError):
            batch.refused[str(verdict.reason)] += 1
        else:
            yield verdict, bytes(_raw_one.decode(piece).data)


def _take(batch: Batch, reach: Reach, event: Event, raw: bytes, record: Record, partitions: int) -> None:
    partition, offset, append_us = record.partition, record.offset, record.append_us
    if event.lane is not None and event.lane % partitions != partition:
        raise ContractError(Reason.WRONG_PARTITION, f"lane {event.lane} is not of partition {partition}")
    at_us = min(event.time_us, append_us + FUTURE_US)
    identity = Identity(event.data.tenant, event.name, event.time_us)
    if batch.seen.get(event.id) == identity:  # ClickHouse would make one row of the two, and also of those that are missed here
        batch.duplicates += 1
        return
    high_us = min(at_us, append_us)
    if high_us > reach.high_us and not event.backfill:  # as in stage 1: old events say nothing of how far the present has come
        reach.high_us = high_us
    if is_job(event):
        attempts, key = batch.attempts[partition], executions.key_of(event)
        if key not in attempts:
            check_lane(event, partition, partitions)  # once per attempt, as stage 1 does
        executions.absorb(attempts, key, event, at_us, append_us)
        batch.event_rows.add(rows.job_row(event, raw, at_us, partition, offset, append_us))
    elif isinstance(event, WorkerEvent):
        batch.worker_rows.add(rows.worker_row(event, at_us, partition, append_us))
    else:
        batch.event_rows.add(rows.other_row(cast(rows.OtherEvent, event), raw, at_us, partition, offset, append_us))
        if isinstance(event, DeployMarked):
            batch.deploy_rows.add(rows.deploy_row(event, at_us, append_us))
        elif isinstance(event, QueueEvent):
            batch.queue_rows.add(rows.queue_row(event, at_us, append_us))
    batch.seen[event.id] = identity
    batch.events += 1
