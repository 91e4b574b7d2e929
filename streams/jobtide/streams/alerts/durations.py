"""Durations as rules spell them: a number and a unit, such as 500ms, 30s, 5m, 2h, 3d."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PATTERN = r"^(0|\d{1,9}(\.\d{1,3})?(ms|s|m|h|d|w))$"
MAX_MS = 400 * _UNITS_MS["d"]


def milliseconds(text: Any) -> int:
    """
    >>> milliseconds("1.5s"), milliseconds("2h"), milliseconds("0")
    (1500, 7200000, 0)
    """
    if text == 0 or text == "0":
        return 0
    if not isinstance(text, str) or not re.match(_PATTERN, text):
        raise ValueError(f"write a duration as a number and a unit, such as 500ms, 30s, 5m, 2h or 3d, not {text!r}")
    unit = text.lstrip("0123456789.")
    value = round(float(text[: -len(unit)]) * _UNITS_MS[unit])
    if value > MAX_MS:
        raise ValueError(f"a duration is at most 400d, not {text}")
    return value


def text(ms: int) -> str:
    """The shortest spelling.

    >>> text(90_000), text(7_200_000), text(0)
    ('90s', '2h', '0')
    """
    if not ms:
        return "0"
    unit = next(unit for unit, length in reversed(list(_UNITS_MS.items())) if ms % length == 0 and unit != "w")
    return f"{ms // _UNITS_MS[unit]}{unit}"


# In models: whole milliseconds.
Duration = Annotated[int, BeforeValidator(milliseconds), WithJsonSchema({"type": "string", "pattern": _PATTERN, "examples": ["5m"]})]
