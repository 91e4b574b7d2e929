"""The Kafka topics: names, partitions, configuration. `emitters/contract/topics.toml` is the same as data; a test holds them equal.

Making and checking topics is in `agents/admin.py`: this module only says what they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

EVENTS = "job.events"
PANES = "job.panes"
DEAD_LETTERS = "job.events.dlq"
CHECKPOINT = "job.stage1.checkpoint"
ALERTS = "job.alerts"
ALERT_STATE = "job.alerts.state"
NOTIFIER = "job.notifier"
COMMANDS = "job.alert.commands"
BASELINES = "job.baselines"

_DAY_MS = 86_400_000
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    partitions: int  # default; JOBTIDE_PARTITIONS replaces it for all of them, since stage 1 pairs them by number
    config: MappingProxyType[str, str]


def _topic(name: str, **config: str) -> Topic:
    return Topic(name, 8, MappingProxyType({k.replace("_", "."): v for k, v in config.items()}))


def _checkpoint(name: str) -> Topic:
    """The lag keeps what an outlived owner's writes supersede until the new owner has written it again (see checkpoint/)."""
    return _topic(
        name,
        message_timestamp_type="LogAppendTime",
        cleanup_policy="compact",
        min_compaction_lag_ms="60000",
        segment_bytes=str(64 * _MIB),
        segment_ms="600000",
        min_cleanable_dirty_ratio="0.2",
        max_message_bytes=str(16 * _MIB),
    )


TOPICS: tuple[Topic, ...] = (
    # Append time, because a producer's clock must not decide retention or the order watermarks rely on.
    _topic(EVENTS, message_timestamp_type="LogAppendTime", retention_ms=str(7 * _DAY_MS), max_message_bytes=str(2 * _MIB)),
    _topic(
        PANES,
        message_timestamp_type="LogAppendTime",
        cleanup_policy="compact,delete",
        min_compaction_lag_ms=str(2 * 3_600_000),  # stage 2 replays 70 minutes and wants the ticks in them, too
        retention_ms=str(7 * _DAY_MS),
        segment_bytes=str(64 * _MIB),
        max_message_bytes=str(16 * _MIB),
    ),
    _topic(DEAD_LETTERS, message_timestamp_type="LogAppendTime", retention_ms=str(30 * _DAY_MS), max_message_bytes=str(4 * _MIB)),
    _topic(
        ALERTS,
        message_timestamp_type="LogAppendTime",
        cleanup_policy="compact,delete",
        min_compaction_lag_ms=str(_DAY_MS),  # a notifier that was away for a day still reads every transition
        retention_ms=str(90 * _DAY_MS),
    ),
    _topic(COMMANDS, message_timestamp_type="LogAppendTime", cleanup_policy="compact", min_compaction_lag_ms=str(_DAY_MS)),
    _checkpoint(CHECKPOINT),
    _checkpoint(ALERT_STATE),
    _checkpoint(NOTIFIER),
    _topic(
        BASELINES,
        message_timestamp_type="LogAppendTime",
        cleanup_policy="compact",
        segment_bytes=str(64 * _MIB),
        segment_ms="3600000",
        min_cleanable_dirty_ratio="0.2",
        max_message_bytes=str(16 * _MIB),
    ),
)
