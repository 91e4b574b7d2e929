"""Instants: integer microseconds since the epoch inside, RFC 3339 `Z` with six digits on the wire.

The one place that reads the wall clock. Durations never come from here: they use `time.monotonic_ns`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# Seconds and their text, both ways, for those asked for lately: the events of a moment share them, and so do a job's
# enqueue and its start.
_texts: dict[int, str] = {}
_seconds: dict[str, int] = {}
_CACHE_LIMIT = 1024


def now_us() -> int:
    """Wall clock, µs since the epoch."""
    return time.time_ns() // 1000


def text_of(us: int) -> str:
    """The contract's form of an instant.

    >>> text_of(1_500_000)
    '1970-01-01T00:00:01.500000Z'
    """
    second, micros = divmod(us, 1_000_000)
    prefix = _texts.get(second)
    if prefix is None:
        prefix = f"{_EPOCH + timedelta(seconds=second):%Y-%m-%dT%H:%M:%S}."
        _remember(second, prefix)
    return f"{prefix}{micros:06d}Z"


def _remember(second: int, prefix: str) -> None:
    if len(_texts) >= _CACHE_LIMIT:
        _texts.clear()
        _seconds.clear()
    _texts[second] = prefix
    _seconds[prefix] = second


def us_of(moment: datetime) -> int:
    """Microseconds of a datetime; a naive one is taken as local time, as the standard library does.

    >>> us_of(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    return (moment.astimezone(UTC) - _EPOCH) // _MICROSECOND


def us_of_text(text: str) -> int:
    """Microseconds of ISO 8601 text, as backends put it into their messages. Raises ValueError for anything else.

    >>> us_of_text("1970-01-01T01:00:00+01:00")
    0
    """
    if len(text) == 27 and text[26] == "Z":
        second, micros = _seconds.get(text[:20]), text[20:26]
        if second is not None and micros.isdecimal() and micros.isascii():
            return second * 1_000_000 + int(micros)
    us = us_of(datetime.fromisoformat(text))
    text_of(us)  # next time it is known
    return us
