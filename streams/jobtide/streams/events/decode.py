"""Bytes of a Kafka value to checked events: the hot path, about twice what `orjson.loads` takes for the same bytes.

Not a judge of meaning (duplicates, order, lanes: see `placement` and the folds). msgspec checks shape, lengths and
ranges in C; what it cannot do cheaply (names, times, the sequence triple) follows here, with bounded caches of what was
already found valid. A value is one event or a pack: a JSON array of events.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from jobtide.streams.errors import ContractError
from jobtide.streams.events import data as d
from jobtide.streams.events.names import check_names, check_owner, known
from jobtide.streams.events.reasons import Reason
from jobtide.streams.events.refusals import refusal
from jobtide.streams.events.time import time_us
from jobtide.streams.events.types import LAST_JOB_KIND, Event, JobEvent

MAX_EVENT_BYTES: Final = 32 * 1024
MAX_PACK_BYTES: Final = 256 * 1024

_BACKSLASH: Final = 92
_LANE_NAMES: Final = frozenset(map(str, range(64)))
_STRING_OR_NUMBER: Final = re.compile(
    rb'"(?:[^"\\]|\\.)*"|(?P<float>-?[0-9]+(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+))'
)
_WHITESPACE: Final = b" \t\r\n"
_one: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_pack: msgspec.json.Decoder[list[Event]] = msgspec.json.Decoder(list[Event])
decode_one: Final = _one.decode
_raws = msgspec.json.Decoder(list[msgspec.Raw])


def decode(value: bytes) -> list[Event]:
    """All events of one Kafka value. Raises ContractError for the first one that breaks the contract."""
    try:
        small = value[:1] == b"{" and len(value) <= MAX_EVENT_BYTES
        events = [_one.decode(value)] if small else _parse_other(value)
        if not value.isascii():
            value.decode()  # msgspec skips unknown members without looking at their encoding
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        respelled = _respell_integers(value, error)
        if respelled is None:
            raise refusal(error) from None
        return decode(respelled)
    for event in events:
        _complete(event)
    if _BACKSLASH in value:
        for event in events:
            check_names(event)
    return events


def decode_each(value: bytes) -> list[Event | ContractError]:
    """Judges each event of a value on its own, in order: for the dead letter. Slower than decode; never raises.

    The bytes of the same elements are what `split` returns. A value that cannot be split is one ContractError.
    """
    try:
        pieces = split(value)
    except ContractError as error:
        return [error]
    judged: list[Event | ContractError] = []
    for piece in pieces:
        try:
            judged.append(_only(piece))
        except ContractError as error:
            judged.append(error)
    return judged


def split(value: bytes) -> list[bytes]:
    """The bytes of each event in a value (one for a single event). Raises ContractError if the whole is unusable."""
    if not is_pack(value):
        return [value]
    if len(value) > MAX_PACK_BYTES:
        raise _too_large(len(value))
    try:
        return [bytes(raw) for raw in _raws.decode(value)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise refusal(error) from None


def is_pack(value: bytes) -> bool:
    """Whether a value is a JSON array, by its first character."""
    return value[:1] == b"[" or value.lstrip(_WHITESPACE)[:1] == b"["


def _parse_other(value: bytes) -> list[Event]:
    """What is not plainly one small event: a pack, or something to be refused."""
    if is_pack(value):
        if len(value) > MAX_EVENT_BYTES:
            largest = max(map(len, split(value)), default=0)
            if largest > MAX_EVENT_BYTES:
                raise _too_large(largest)
        return _pack.decode(value)
    if len(value) > MAX_EVENT_BYTES:
        raise _too_large(len(value))
    return [_one.decode(value)]


def _only(piece: bytes) -> Event:
    if is_pack(piece):
        raise ContractError(Reason.NOT_AN_EVENT, "a pack inside a pack")
    return decode(piece)[0]


def _too_large(size: int) -> ContractError:
    limits = f"an event may have {MAX_EVENT_BYTES}, a pack {MAX_PACK_BYTES}"
    return ContractError(Reason.TOO_LARGE, f"{size} bytes; {limits}")


def _complete(event: Event) -> None:
    """Checks what msgspec did not and fills the computed members, which a sender may have set to anything."""
    data: Any = event.data  # its environment may still be None, whatever its type says
    if (data.tenant, data.environment, data.system) not in known:
        check_owner(data)
    if (event.seq is None or event.lane is None or event.epoch is None) and not (
        event.seq is None and event.lane is None and event.epoch is None
    ):
        raise ContractError(Reason.PARTIAL_SEQUENCE, "epoch, lane and seq come together or not at all")
    if event.kind <= LAST_JOB_KIND:  # is_job, written out
        _complete_job(event, data)  # type: ignore[arg-type]
        return
    event.time_us = time_us(event.time)
    if isinstance(data, d.WorkerData):
        for held in data.running or ():
            held.started_us = None if held.started_at is None else time_us(held.started_at)
    elif isinstance(data, d.QueueSnapshotData):
        data.oldest_ready_us = None if data.oldest_ready_at is None else time_us(data.oldest_ready_at)
    elif isinstance(data, d.StatsData) and not _LANE_NAMES.issuperset(data.next):
        raise ContractError(Reason.OUT_OF_BOUNDS, 'data.next has a member that is not a lane, "0" to "63"')


def _complete_job(event: JobEvent, job: d.JobData) -> None:
    enqueued, started, eligible = job.enqueued_at, job.started_at, job.run_at
    event.time_us = time_us(event.time)
    job.enqueued_us = None if enqueued is None else time_us(enqueued)
    job.started_us = None if started is None else time_us(started)
    job.run_us = None if eligible is None else time_us(eligible)


def _respell_integers(value: bytes, error: Exception) -> bytes | None:
    """The value with 1.0 and 1e2 written as 1 and 100, or None where that is not the problem.

    To JSON they are integers; to msgspec they are floats. Some senders have one number type and print it so.
    """
    if "Expected `int" not in str(error) or "got `float`" not in str(error):
        return None
    respelled = _STRING_OR_NUMBER.sub(_respell, value)
    return respelled if respelled != value else None


def _respell(token: re.Match[bytes]) -> bytes:
    text = token[0]
    if token["float"] is None:
        return text
    number = float(text)
    return b"%d" % number if number.is_integer() else text
