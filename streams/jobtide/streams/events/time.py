"""RFC 3339 text to integer microseconds since the epoch.

Not a general date parser and not a clock: it knows one form, `YYYY-MM-DDTHH:MM:SS[.fraction]Z`, because that is the
only one the contract allows. The text comes from events, the number goes into every fold.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from jobtide.streams.errors import ContractError
from jobtide.streams.events.reasons import Reason

# Years end at 2099 since the stores keep minutes as 32-bit seconds (2106); before 1970 no job ran.
PATTERN = (
    r"^(?:19[7-9][0-9]|20[0-9][0-9])-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?Z$"
)
_FORM = re.compile(PATTERN.replace("$", r"\Z"))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_CACHE_LIMIT = 16_384  # four and a half hours of distinct seconds, ~3 MB

# The three parts of `2026-11-22T04:18:07` `.123` `456Z`, each to microseconds. Three lookups are faster than any
# parsing and accept nothing else: `seconds` holds only what the slow path has validated, the other two are complete.
seconds: Final[dict[str, int]] = {}
millis: Final = {f".{ms:03d}": ms * 1000 for ms in range(1000)}
micros: Final = {f"{us:03d}Z": us for us in range(1000)} | {"Z": 0}


def time_us(text: str) -> int:
    """Microseconds since 1970-01-01T00:00:00Z; digits after the sixth are cut off.

    Raises ContractError(BAD_TIME) for anything but RFC 3339 with `Z`, dates that do not exist, and outside 1970-2099.

    >>> time_us("1970-01-01T00:00:01.5Z")
    1500000
    """
    if _COMPILED:
        us = usual_us(text)
        return us if us >= 0 else parse_us(text)
    try:
        return seconds[text[:19]] + millis[text[19:23]] + micros[text[23:]]
    except KeyError:
        return parse_us(text)


def usual_us(text: str) -> int:
    """A valid time with six fraction digits, which is what emitters write; -1 for anything else, to be judged by `parse_us`.

    Digit by digit: in C that makes no object and takes a tenth of the three lookups; as plain Python they are faster.
    """
    if len(text) != 27 or text[10] != "T" or text[19] != "." or text[26] != "Z":
        return -1
    if text[4] != "-" or text[7] != "-" or text[13] != ":" or text[16] != ":":
        return -1
    century, year, month, day = _two(text, 0), _two(text, 2), _two(text, 5), _two(text, 8)
    hour, minute, second = _two(text, 11), _two(text, 14), _two(text, 17)
    first, middle, last = _two(text, 20), _two(text, 22), _two(text, 24)
    year += century * 100
    if not (1970 <= year <= 2099 and 1 <= month <= 12 and 1 <= day <= 31 and 0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 59):
        return -1
    if first < 0 or middle < 0 or last < 0 or (day > 28 and day > _month_days(year, month)):
        return -1
    # Days since 1970-01-01, with years that begin in March: the leap day comes last (from 1970 to 2099 every fourth year has one).
    if month <= 2:
        year, month = year - 1, month + 12
    days = 365 * (year - 1970) + (year - 1968) // 4 + (153 * (month - 3) + 2) // 5 + day + 58
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + first * 10_000 + middle * 100 + last


def _two(text: str, at: int) -> int:
    """The number that two digits write; far below 0 if they are none."""
    tens, ones = ord(text[at]) - 48, ord(text[at + 1]) - 48
    return tens * 10 + ones if 0 <= tens <= 9 and 0 <= ones <= 9 else -1_000_000


def _month_days(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 else 28
    return 30 if month in (4, 6, 9, 11) else 31


def parse_us(text: str) -> int:
    """What `time_us` does the first time it sees a second, or a fraction of other than three or six digits."""
    if _FORM.match(text) is None:
        raise ContractError(Reason.BAD_TIME, f"{text[:40]!r} is not YYYY-MM-DDTHH:MM:SS[.ffffff]Z within 1970-2099")
    prefix = text[:19]
    base = seconds.get(prefix)
    if base is None:
        try:
            moment = datetime.fromisoformat(prefix).replace(tzinfo=UTC)
        except ValueError as error:
            raise ContractError(Reason.BAD_TIME, f"{text[:40]!r}: {error}") from None
        base = (moment - _EPOCH) // _SECOND * 1_000_000
        if len(seconds) >= _CACHE_LIMIT:
            seconds.clear()
        seconds[prefix] = base
    fraction = text[20:-1]
    return base + (int(fraction[:6].ljust(6, "0")) if fraction else 0)


_COMPILED: Final = not hasattr(parse_us, "__code__")


def time_text(us: int) -> str:
    """The contract's form of an instant: RFC 3339, `Z`, exactly six fraction digits.

    >>> time_text(1_500_000)
    '1970-01-01T00:00:01.500000Z'
    """
    seconds, micros = divmod(us, 1_000_000)
    return f"{(_EPOCH + seconds * _SECOND):%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"
