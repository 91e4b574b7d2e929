"""A request body to accepted events with their partitions, and refused ones with the reason. Pure.

Not HTTP and not Kafka. Every event of a body is judged on its own: a bad one never takes a good neighbour with it. The
judge is the decoder that stage 1 uses, so what is accepted here is not dead-lettered there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
import orjson
from jobtide.gateway.owner import ANYBODY, NOT_YOURS, Owner
from jobtide.gateway.placement import place
from jobtide.gateway.short import expand, is_short
from jobtide.streams.errors import ContractError
from jobtide.streams.events import Event, Reason, check_lane, decode

MAX_EVENTS = 50_000
_elements = msgspec.json.Decoder(list[msgspec.Raw])
_whole = msgspec.json.Decoder(msgspec.Raw)


@dataclass(frozen=True)
class Rejected:
    """One refused event: its line (1 is the first; for a JSON array its place in the array)."""

    line: int
    reason: str
    detail: str


@dataclass
class Intake:
    """What a body held. `placed` are the bytes to send, several per event that goes to every partition."""

    accepted: int = 0
    placed: list[tuple[int, bytes]] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


@dataclass(frozen=True)
class Arrival:
    """What the pure part may not know by itself: how many partitions, what time it is, a fresh random string, and whose
    events these may be."""

    partitions: int
    time: str
    nonce: str
    owner: Owner = ANYBODY


class TooMany(Exception):
    """The body holds more events than one request may."""


def lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, bytes) of each event in a body: NDJSON, a JSON array, or one event over several lines.

    Raises ContractError when an array cannot be split, TooMany over MAX_EVENTS.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    start = body.lstrip(b" \t\r\n")
    if start[:1] == b"[":
        elements = _split(start)
        if len(elements) > MAX_EVENTS:
            raise TooMany
        yield from enumerate(elements, 1)
    elif start.count(b"\n") and _is_one_value(start):
        yield 1, start
    else:
        found = 0
        for number, line in enumerate(body.split(b"\n"), 1):
            if line := line.strip():
                found += 1
                if found > MAX_EVENTS:
                    raise TooMany
                yield number, line


def judge(number: int, line: bytes, arrival: Arrival, into: Intake) -> None:
    """Decide about one event and note the decision in `into`."""
    try:
        event, final = _understand(line, arrival, number)
        check_lane(event)
        if (claim := arrival.owner.foreign(event)) is not None:
            into.rejected.append(Rejected(number, NOT_YOURS, claim))
            return
        placed = place(event, final, arrival.partitions)
    except ContractError as refused:
        into.rejected.append(Rejected(number, refused.reason.value, refused.detail[:300]))
        return
    into.accepted += 1
    into.placed.extend(placed)


def _understand(line: bytes, arrival: Arrival, number: int) -> tuple[Event, bytes]:
    if b'"specversion"' in line:
        try:
            return _full(line), line
        except ContractError:
            flat = _short_or_none(line)
            if flat is None:
                raise
    else:
        flat = _short_or_none(line)
        if flat is None:
            return _full(line), line
    final = orjson.dumps(expand(flat, arrival.time, f"{arrival.nonce}/{number}", arrival.owner.tenant, arrival.owner.environment))
    return _full(final), final


def _full(line: bytes) -> Event:
    events = decode(line)
    if line[:1] == b"[" or len(events) != 1:
        raise ContractError(Reason.NOT_AN_EVENT, "an array where an event should be")
    return events[0]


def _short_or_none(line: bytes) -> dict[str, object] | None:
    try:
        tree = orjson.loads(line)
    except ValueError:
        return None
    return tree if isinstance(tree, dict) and is_short(tree) else None


def _split(body: bytes) -> list[bytes]:
    try:
        return [bytes(raw) for raw in _elements.decode(body)]
    except RecursionError:
        raise ContractError(Reason.TOO_DEEP, "nested deeper than the parser goes") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ContractError(Reason.NOT_JSON, str(error)[:300]) from None


def _is_one_value(body: bytes) -> bool:
    try:
        _whole.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True
