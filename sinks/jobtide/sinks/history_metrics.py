"""What the history writer counts, for /metrics: plain numbers, read by whoever exposes them. Counters only grow; gauges are of now."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class HistoryMetrics:
    """Counters unless said otherwise. Events are those of the log, before duplicates collapse in ClickHouse."""

    events: int = 0
    duplicates: int = 0  # within one batch
    refused: Counter[str] = field(default_factory=Counter)  # events that break the contract, by reason; stage 1 dead-letters them
    batches: int = 0
    skipped_offsets: int = 0  # holes in the log between batches: 0 unless Kafka has deleted something
    rows: Counter[str] = field(default_factory=Counter)  # by table
    insert_seconds: float = 0.0
    lookups: int = 0  # attempts whose earlier facts had to be read back
    recomputed_minutes: int = 0
    recompute_seconds: float = 0.0
    sweeps: int = 0
    retries: int = 0  # calls repeated because ClickHouse was away
    commit_failures: int = 0
    rebalances: int = 0
    pending_minutes: int = 0  # gauge: marked, not recomputed yet
    remembered_attempts: int = 0  # gauge
    alerts_behind: int = 0  # gauge: records of job.alerts that are not in history yet, of this process's partitions
    lag: dict[int, int] = field(default_factory=dict)  # gauge: messages behind the end of the log, by partition
    watermark_us: dict[int, int] = field(default_factory=dict)  # gauge, by partition
    last_error: str = ""  # the last reason for waiting; empty again when a call succeeded
