"""Records to the rows of one insert: what counts as the same event, and what is left out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from jobtide.sinks import batch
from jobtide.sinks.batch import Batch, Record
from jobtide.sinks.inserts import Rows, insert

from tests.proof.job_events import SECOND, START_US, job_event, value_of


def prepared(*events: dict[str, Any], append_us: int = START_US + SECOND) -> Batch:
    return batch.prepare([Record(0, offset, append_us + offset, value_of(event)) for offset, event in enumerate(events)], 1)


def written(made: Batch) -> list[dict[str, Any]]:
    """The rows of job_events by column."""
    insert = made.event_rows.insert()
    width = len(insert.columns)
    values = msgspec.msgpack.decode(b"\xdd" + (insert.rows * width).to_bytes(4, "big") + insert.packed)
    return [dict(zip(insert.columns, values[start : start + width], strict=True)) for start in range(0, len(values), width)]


def test_a_repeated_event_is_one_row() -> None:
    event = job_event("finished", START_US, event_id="event-000000000001")
    made = prepared(event, event, event)
    assert (made.events, made.duplicates) == (1, 2)
    assert [row["kafka_offset"] for row in written(made)] == [0]
    assert made.reach[0].next_offset == 3, "left out, but read"


def test_an_event_ahead_of_its_append_is_known_again_by_the_time_it_claims() -> None:
    event = job_event("finished", START_US + 3600 * SECOND, event_id="event-000000000001")
    made = prepared(event, event)  # clamped to two different times
    assert (made.events, made.duplicates) == (1, 1)
    assert written(made)[0]["reported_at"] == START_US + 3600 * SECOND


@pytest.mark.parametrize("other", [{"kind": "started"}, {"at_us": START_US + 1}, {"tenant": "globex"}], ids=lambda o: next(iter(o)))
def test_the_same_id_is_not_the_same_event(other: dict[str, Any]) -> None:
    said: dict[str, Any] = {"kind": "finished", "at_us": START_US, "event_id": "event-000000000001"}
    made = prepared(job_event(**said), job_event(**(said | other)))
    assert (made.events, made.duplicates, dict(made.refused)) == (2, 0, {})


def test_an_event_refused_on_one_partition_is_taken_on_its_own() -> None:
    value = value_of(job_event("finished", START_US))
    made = batch.prepare([Record(p, 0, START_US, value) for p in (0, 1)], 2)
    assert (made.events, made.duplicates, sum(made.refused.values())) == (1, 0, 1)


def test_data_is_kept_as_it_was_sent() -> None:
    value = value_of(job_event("finished", START_US)).replace(b'"data":{', b'"data": { "unknown" : [1.0, "\\u00e4", {"data":{}}] , ')
    made = batch.prepare([Record(0, 0, START_US, value)], 1)
    assert written(made)[0]["data"].startswith(b'{ "unknown" : [1.0, "\\u00e4", {"data":{}}] , "')


@pytest.mark.parametrize("count", [0, 1, 8, 3_000, 40_000])
def test_an_insert_is_its_values_one_after_the_other(count: int) -> None:
    added = Rows("t", ("a", "b", "c"))
    for number in range(count):
        added.add((number, "x", None))
    expected = b"".join(msgspec.msgpack.encode(value) for number in range(count) for value in (number, "x", None))
    whole = insert("t", ("a", "b", "c"), [value for number in range(count) for value in (number, "x", None)], "token")
    assert (added.insert("token").packed, added.insert("token").rows) == (expected, count)
    assert whole == added.insert("token")
