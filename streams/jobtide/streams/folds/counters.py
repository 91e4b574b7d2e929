"""What the fold of a source partition counts about itself, and the bounds of its state."""

from __future__ import annotations

import msgspec


class Counters(msgspec.Struct, array_like=True):
    """Saved with the checkpoint. Events, unless said otherwise."""

    events: int = 0
    duplicates: int = 0
    backfill: int = 0
    rejected: int = 0
    late_dropped: int = 0  # contributions older than every pane: history only
    after_end: int = 0  # of attempts that were over long ago: history only
    future_clamped: int = 0
    open_given_up: int = 0  # attempts
    double_starts: int = 0  # attempts that a further worker started while they ran


class Limits(msgspec.Struct, frozen=True):
    """Bounds of the state of one source partition."""

    disorder_us: int = 2_000_000
    series: int = 20_000
    open_attempts: int = 250_000
    recent_attempts: int = 48_000
