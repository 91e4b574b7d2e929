"""What a parser said about a bad value, as a `ContractError` with a reason from the closed list.

Not on the hot path: it runs once per refused value. It reads msgspec's messages; the invalid vectors notice when a new
msgspec words them differently.
"""

from __future__ import annotations

import re

import msgspec
from jobtide.streams.errors import ContractError
from jobtide.streams.events.reasons import Reason

_DETAIL_CHARS = 300
_INDEX = re.compile(r"^\[\d+\]")  # the event's place in its pack


def refusal(error: Exception) -> ContractError:
    """The ContractError for what msgspec raised."""
    text = str(error)
    detail = text[:_DETAIL_CHARS]
    if isinstance(error, RecursionError):
        return ContractError(Reason.TOO_DEEP, "nested deeper than the parser goes")
    if isinstance(error, UnicodeDecodeError):
        return ContractError(Reason.NOT_JSON, f"not UTF-8: byte {error.start}: {error.reason}")
    if not isinstance(error, msgspec.ValidationError):
        return ContractError(Reason.NOT_JSON, detail)
    return ContractError(_reason(text), detail)


def _reason(text: str) -> Reason:
    """By the whole text: the path stands at its end, behind a value that may be long, or hold what looks like a path."""
    problem, marked, path = text.rpartition(" - at `$")
    if not marked:
        problem, path = text, ""
    path = _INDEX.sub("", path.rstrip("`"))
    member = path.rpartition(".")[2]
    if problem.startswith("Object missing required field"):
        return Reason.MISSING_FIELD
    if problem.startswith("Invalid ") and member == "type":
        return Reason.UNKNOWN_TYPE
    if member in ("specversion", "datacontenttype"):
        return Reason.UNSUPPORTED_VERSION
    if problem == "Number out of range" or ">=" in problem or "<=" in problem or " of length" in problem:
        return Reason.OUT_OF_BOUNDS
    if problem.startswith("Expected `object`") and not path:
        return Reason.NOT_AN_EVENT
    return Reason.WRONG_TYPE
