"""Every vector, against the decoder and against the JSON Schema."""

from __future__ import annotations

import json
from typing import Any, get_args

import jsonschema_rs
import msgspec
import pytest
from jobtide.streams.errors import ContractError
from jobtide.streams.events import Event, Reason, check_lane, decode, decode_each, lane_of, split

from tests.contract import vectors

VALIDATOR = jsonschema_rs.Draft202012Validator(vectors.schema(), validate_formats=True)
INVALID = vectors.invalid()

# What a JSON Schema cannot see: bytes, depth, how the text is written, other events, the key rule.
BEYOND_SCHEMA = {
    Reason.NOT_JSON, Reason.TOO_LARGE, Reason.TOO_DEEP, Reason.WRONG_KEY, Reason.WRONG_LANE, Reason.WRONG_PARTITION,
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), vectors.valid().items(), ids=vectors.valid())
def test_valid_vectors_are_accepted_by_both(name: str, value: bytes) -> None:
    tree = json.loads(value)
    events = tree if isinstance(tree, list) else [tree]
    for event in events:
        VALIDATOR.validate(event)
    decoded = decode(value)
    assert [event.id for event in decoded] == [event["id"] for event in events]
    assert decode_each(value) == list(decoded)
    for event in decoded:
        check_lane(event)


@pytest.mark.parametrize("vector", INVALID, ids=[vector.name for vector in INVALID])
def test_invalid_vectors_are_refused_with_their_reason(vector: vectors.Invalid) -> None:
    with pytest.raises(ContractError) as refused:
        for event in decode(vector.value):
            check_lane(event, vector.partition, vector.partitions)
    assert refused.value.reason is vector.reason
    assert len(refused.value.detail) <= 500


@pytest.mark.parametrize("vector", INVALID, ids=[vector.name for vector in INVALID])
def test_judged_one_by_one_gives_the_same_reason(vector: vectors.Invalid) -> None:
    judged = decode_each(vector.value)
    reasons = {error.reason for error in judged if isinstance(error, ContractError)}
    if vector.reason in (Reason.WRONG_KEY, Reason.WRONG_LANE, Reason.WRONG_PARTITION):
        assert not reasons
    else:
        assert reasons == {vector.reason}
        if len(judged) > 1:
            assert len(split(vector.value)) == len(judged)


@pytest.mark.parametrize(
    "vector",
    [v for v in INVALID if v.reason not in BEYOND_SCHEMA and v.name != "type-twice"],  # parsing kept only the last one
    ids=lambda vector: vector.name,
)
def test_the_schema_refuses_them_too(vector: vectors.Invalid) -> None:
    tree = json.loads(vector.value)
    events = tree if isinstance(tree, list) else [tree]
    assert not all(VALIDATOR.is_valid(event) for event in events)


def test_every_reason_has_a_vector() -> None:
    assert {vector.reason for vector in INVALID} == set(Reason)


def test_every_type_has_a_valid_vector() -> None:
    seen = {event.name for value in vectors.valid().values() for event in decode(value)}
    assert seen == {struct.name for struct in get_args(Event)}


def test_enumerated_types_are_those_of_the_structs() -> None:
    declared = vectors.schema()["properties"]["type"]["enum"]
    assert sorted(declared) == sorted(struct.__struct_config__.tag for struct in get_args(Event))


def valid_event(name: str) -> Any:
    return decode(vectors.valid()[name])[0]


def test_one_bad_event_in_a_pack_does_not_take_the_others_with_it() -> None:
    good = vectors.valid()["job-started"]
    pack = b"[" + b",".join([good, b'{"type":"job.exploded.v1"}', good, b"7"]) + b"]"
    judged = decode_each(pack)
    assert [getattr(one, "reason", None) for one in judged] == [None, Reason.UNKNOWN_TYPE, None, Reason.NOT_AN_EVENT]
    assert json.loads(split(pack)[0]) == json.loads(good)
    with pytest.raises(ContractError):
        decode(pack)


@pytest.mark.parametrize("name", ["job-started", "pack"])
def test_white_space_around_a_value_is_json(name: str) -> None:
    value = vectors.valid()[name]
    spaced = b" \r\n\t" + value + b" \n"
    assert decode(spaced) == decode_each(spaced) == decode(value)


def test_what_a_sender_puts_into_computed_members_is_overwritten() -> None:
    event = valid_event("job-reserved-looking-members-are-ignored")
    assert (event.time_us, event.data.enqueued_us, event.data.started_us, event.data.run_us) == (
        1795341600000000, None, None, None,
    )  # fmt: skip


def test_null_environment_becomes_the_default() -> None:
    event = valid_event("job-nulls-are-absent")
    assert event.data.environment == "default"
    assert not event.backfill


def test_computed_times() -> None:
    event = valid_event("worker-heartbeat")
    assert [job.started_us for job in event.data.running] == [1795341601250000, None]
    event = valid_event("queue-snapshot")
    assert event.data.oldest_ready_us == 1795341600000000
    event = valid_event("job-retry-scheduled")
    assert event.data.run_us == 1795341611262000


@pytest.mark.parametrize(
    ("key", "lane"),
    [("acme/celery/7f0c", 8), ("größe/celery/漢字", 47), ("acme/sidekiq/w/web-1:4242", 16), ("acme/bullmq/q/mail", 51)],
)
def test_lanes_are_those_that_others_compute(key: str, lane: int) -> None:
    """The numbers come from gzip's own checksum: `printf %s KEY | gzip -c | tail -c8 | head -c4 | od -An -tu4`."""
    assert lane_of(key) == lane


def encoded(**changes: Any) -> bytes:
    return msgspec.json.encode(json.loads(vectors.valid()["job-started"]) | changes)


def test_detail_never_carries_the_whole_value() -> None:
    with pytest.raises(ContractError) as refused:
        decode(encoded(type="x" * 20_000))
    assert len(str(refused.value)) < 600
