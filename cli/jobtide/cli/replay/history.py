"""An event as history: its own time and identity, marked `backfill`. Pure.

Sent twice it is stored once, because nothing that identifies it changes; live numbers never see it.
"""

from __future__ import annotations

import orjson
from jobtide.streams.errors import ContractError
from jobtide.streams.events import Reason


def backfill(line: bytes) -> bytes:
    """The line with `backfill: true`. ContractError when it is not a JSON object, or has no time to keep."""
    try:
        event = orjson.loads(line)
    except ValueError as error:
        raise ContractError(Reason.NOT_JSON, str(error)) from None
    if not isinstance(event, dict):
        raise ContractError(Reason.NOT_AN_EVENT, "a line must be one JSON object")
    if "time" not in event:
        raise ContractError(Reason.MISSING_FIELD, "history needs the event's own `time`")
    event["backfill"] = True
    return orjson.dumps(event)
