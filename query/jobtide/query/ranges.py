"""Which stretch of event time a question is about: `last=15m`, or `from=…&to=…`, always half-open.

Pure: the present is an argument. Text comes from the query string; the Range goes to the readers and, resolved, into
every answer. Steps of a series are cut in `steps`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
MAX_DURATION_S = 3660 * 86_400  # ten years: longer than anything is kept
MAX_US = 4_102_444_800 * SECOND_US  # 2100-01-01: what the stores can hold ends soon after
# Spelled by length, so that `last=60m` is the live window `1h` too.
LIVE_WINDOWS = {60: "1m", 300: "5m", 900: "15m", 3600: "1h"}

_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhdw])", re.ASCII)
_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(Z|z|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ParamError(ValueError):
    """A parameter that cannot be understood: `param` names it, the message says what would be right."""

    def __init__(self, param: str, detail: str) -> None:
        super().__init__(detail)
        self.param = param
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Range:
    """[from_us, to_us) in µs since the epoch. `last` is the asked duration, if it was one; `window` its live window,
    if there is one.
    """

    from_us: int
    to_us: int
    last: str | None = None
    window: str | None = None

    @property
    def seconds(self) -> float:
        return (self.to_us - self.from_us) / SECOND_US


def duration_s(text: str, param: str) -> int:
    """Seconds of `90s`, `15m`, `36h`, `7d`, `2w`. Raises ParamError.

    >>> duration_s("15m", "last")
    900
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ParamError(param, f"{text[:40]!r} is not a duration: write a whole number and s, m, h, d or w, like 15m")
    seconds = int(match[1]) * UNIT_S[match[2]]
    if seconds > MAX_DURATION_S:
        raise ParamError(param, f"{text} is longer than ten years")
    return seconds


def instant_us(text: str, param: str) -> int:
    """µs since the epoch of an RFC 3339 time with `Z` or an offset; digits after the sixth are cut off. Raises
    ParamError.

    >>> instant_us("1970-01-01T01:00:01.5+01:00", "from")
    1500000
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        hint = "; write + as %2B in a URL" if re.search(r"\d \d\d:\d\d$", text) else ""
        raise ParamError(param, f"{text[:40]!r} is not an RFC 3339 time such as 2026-01-31T08:00:00Z{hint}")
    day, clock, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'Zz' else zone}")
        seconds = (moment - _EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError) as error:
        raise ParamError(param, f"{text[:40]!r}: {error}") from None
    us = seconds * SECOND_US + int((fraction or "0")[:6].ljust(6, "0"))
    if not 0 <= us <= MAX_US:
        raise ParamError(param, f"{text[:40]!r} is not between 1970 and 2100")
    return us


def resolve(last: str | None, from_: str | None, to: str | None, now_us: int, default: str) -> Range:
    """The range of a question: `last` counted back from now, or from–to (`to` = now if missing); `default` is the
    `last` of neither.

    Raises ParamError for both at once, an end without a start, and a range that is empty or backwards.
    """
    if last is not None and (from_ is not None or to is not None):
        raise ParamError("last", "give either last or from and to, not both")
    if from_ is None:
        if to is not None:
            raise ParamError("to", "to needs from: give both, or last")
        return _last(last or default, now_us)
    start_us, end_us = instant_us(from_, "from"), now_us if to is None else instant_us(to, "to")
    if start_us >= end_us:
        raise ParamError(
            "from" if to is None else "to", "the range is empty: from must be before to, and to is not part of it"
        )
    return Range(start_us, end_us)


def _last(text: str, now_us: int) -> Range:
    seconds = duration_s(text, "last")
    window = LIVE_WINDOWS.get(seconds)
    return Range(max(0, now_us - seconds * SECOND_US), now_us, window or text, window)


def whole_minutes(range_: Range) -> Range:
    """The range with both ends moved outwards to whole minutes: what minute rollups can answer without looking at
    single attempts.
    """
    return Range(floor(range_.from_us, MINUTE_US), ceil(range_.to_us, MINUTE_US), range_.last, range_.window)


def floor(us: int, unit_us: int) -> int:
    return us - us % unit_us


def ceil(us: int, unit_us: int) -> int:
    return us + -us % unit_us
