"""Records of job.alerts to rows of the table `alerts`. Pure: no Kafka, no SQL, no clock.

A row depends on its record alone, and its place on the transition's id, so that reading the log again gives the same rows in the same places.
Not whether anybody was told: that is the notifier's (`webhook/`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec
from jobtide.sinks.inserts import Insert, Row, Rows
from jobtide.streams.alerts.transitions import RULES_KEY, Transition, decode

TABLE = "alerts"
COLUMNS = (
    "tenant", "environment", "system", "queue", "job_class", "rule", "kind", "severity", "state", "reason", "fingerprint", "id", "episode", "at",
    "value", "samples", "condition", "window_from", "window_to", "query", "summary", "runbook", "labels", "examples", "version", "ingested_at",
)  # fmt: skip
_PARTS = ("tenant", "environment", "system", "queue", "job_class")
_LAST_US = 9_000_000_000_000_000  # the year 2255: what lies beyond is no time of an alert, and ClickHouse would refuse the whole insert
_LAST_VERSION = (1 << 64) - 1
_LAST_SAMPLES = (1 << 63) - 1


class Refusal(StrEnum):
    """Why a record of job.alerts has no row."""

    UNREADABLE = "alert_unreadable"
    IMPOSSIBLE = "alert_impossible"


class AlertRecord(msgspec.Struct, frozen=True, gc=False):
    """One record of the log; `append_us` is its LogAppendTime."""

    key: bytes
    value: bytes | None
    append_us: int


@dataclass(slots=True)
class AlertBatch:
    """The rows of some records, each id once: the first that was said."""

    rows: Rows = field(default_factory=lambda: Rows(TABLE, COLUMNS))
    ids: dict[str, int] = field(default_factory=dict)  # with the time of appending
    refused: list[Refusal] = field(default_factory=list)

    def insert(self) -> Insert:
        """Its token is the records of the rows: it never stands for others."""
        told = "".join(f"{id_}@{append_us};" for id_, append_us in self.ids.items())
        return self.rows.insert(f"{TABLE}:{hashlib.sha256(told.encode()).hexdigest()}")


def prepare(records: Iterable[AlertRecord]) -> AlertBatch:
    """Never raises for what a record contains. What workers say of their rules, and removals, have no rows."""
    batch = AlertBatch()
    for record in records:
        if record.value is None or record.key.startswith(RULES_KEY):
            continue
        try:
            transition = decode(record.value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            batch.refused.append(Refusal.UNREADABLE)
            continue
        if not _possible(transition):
            batch.refused.append(Refusal.IMPOSSIBLE)
        elif transition.id not in batch.ids:
            batch.ids[transition.id] = record.append_us
            batch.rows.add(row(transition, record.append_us))
    return batch


def row(each: Transition, append_us: int) -> Row:
    """In the order of `COLUMNS`. Of two records with one id, the one with the higher version stays: the one that was appended first."""
    parts = (each.labels.get(name, "") for name in _PARTS)
    return (
        *parts, each.rule, each.kind, each.severity, each.state, each.reason, each.fingerprint, each.id, each.episode_us, each.at_us, each.value,
        each.samples, each.condition, each.from_us, each.to_us, each.query, each.summary, each.runbook, each.labels, each.examples,
        _LAST_VERSION - append_us, append_us // 1000,
    )  # fmt: skip


def _possible(each: Transition) -> bool:
    return 0 <= each.samples <= _LAST_SAMPLES and all(0 <= us < _LAST_US for us in (each.episode_us, each.at_us, each.from_us, each.to_us))
