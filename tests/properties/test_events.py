"""Laws of the decoder: total on bytes, a pack is its events, order and spelling change nothing, times are exact."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import product
from random import Random
from typing import Any
from zlib import crc32

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jobtide.streams.errors import ContractError
from jobtide.streams.events import (
    MAX_EVENT_BYTES,
    Reason,
    check_lane,
    decode,
    decode_each,
    lane_of,
    split,
    time_text,
    time_us,
)
from jobtide.streams.events import names as known_names
from jobtide.streams.events import time as known_times
from jobtide.streams.events.decode import MAX_PACK_BYTES

from tests.contract import generated

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2099, 12, 31, 23, 59, 59, 999999))
EVENTS = (
    st.integers(0, 2**32)
    .map(lambda seed: generated.valid_event(Random(seed)))
    .filter(lambda event: len(json.dumps(event, indent=1)) <= MAX_EVENT_BYTES)
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
ANY_EVENTS = st.integers(0, 2**32).map(lambda seed: next(generated.events(1, seed))[1])


def outcome(value: bytes) -> Any:
    try:
        return decode(value)
    except ContractError as refused:
        return refused.reason


@given(MOMENTS)
def test_time_is_the_calendars(moment: datetime) -> None:
    us = (moment.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    text = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}Z"
    assert time_us(text) == us
    assert time_text(us) == text


@given(MOMENTS, st.integers(0, 9), st.integers(0, 999_999_999))
def test_any_number_of_fraction_digits_is_cut_to_microseconds(moment: datetime, digits: int, nanos: int) -> None:
    fraction = f"{nanos:09d}"[:digits]
    text = f"{moment:%Y-%m-%dT%H:%M:%S}" + (f".{fraction}" if digits else "") + "Z"
    second = time_us(f"{moment:%Y-%m-%dT%H:%M:%S}Z")
    assert time_us(text) - second == int(fraction.ljust(9, "0")) // 1000


@given(st.text(alphabet="0123456789-:.TZ+ _²٣e", min_size=15, max_size=32) | st.text(max_size=40))
def test_time_takes_nothing_else(text: str) -> None:
    """Whatever is accepted is printed back as the same instant."""
    try:
        us = time_us(text)
    except ContractError as refused:
        assert refused.reason is Reason.BAD_TIME
        return
    assert time_text(us)[:19] == text[:19]
    assert text.isascii() and text.endswith("Z")


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2000, 1, 2)), st.data())
def test_one_wrong_character_in_a_time_is_noticed_also_when_its_second_is_known(moment: datetime, data: Any) -> None:
    text = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}Z"
    time_us(text)
    at = data.draw(st.integers(0, len(text) - 1))
    broken = text[:at] + data.draw(st.sampled_from("x _+-²٣/,")) + text[at + 1 :]
    if broken != text:
        with pytest.raises(ContractError):
            time_us(broken)


@given(st.binary(max_size=300))
def test_bytes_give_events_or_a_reason_and_nothing_else(value: bytes) -> None:
    outcome(value)
    decode_each(value)


@given(TREES)
def test_any_json_gives_events_or_a_reason(tree: Any) -> None:
    outcome(json.dumps(tree).encode())


@settings(max_examples=200)
@given(st.lists(ANY_EVENTS, max_size=6))
def test_a_pack_is_its_events_one_after_the_other(values: list[bytes]) -> None:
    pack = b"[" + b", ".join(values) + b"]"
    assume(len(pack) <= MAX_PACK_BYTES)  # a longer one is refused whole, whatever is in it
    assert split(pack) == values
    alone = [outcome(value) for value in values]
    together = decode_each(pack)
    assert [one.reason if isinstance(one, ContractError) else [one] for one in together] == alone
    if all(isinstance(one, list) for one in alone):
        assert decode(pack) == [event for one in alone for event in one]
    else:
        assert outcome(pack) in alone


@settings(max_examples=200)
@given(EVENTS, st.randoms(use_true_random=False))
def test_order_of_members_and_spelling_of_text_change_nothing(event: dict[str, Any], random: Any) -> None:
    def shuffled(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {name: shuffled(tree[name]) for name in random.sample(list(tree), len(tree))}
        return [shuffled(member) for member in tree] if isinstance(tree, list) else tree

    plain = decode(json.dumps(event, ensure_ascii=False).encode())
    assert decode(json.dumps(shuffled(event), indent=1).encode()) == plain


@settings(max_examples=200)
@given(EVENTS)
def test_what_was_seen_before_changes_nothing(event: dict[str, Any]) -> None:
    """The caches of names and times hold only what they would find again."""
    value = json.dumps(event).encode()
    warm = decode(value), decode(value)
    known_names.known.clear()
    known_times.seconds.clear()
    assert (decode(value), decode(value)) == warm


@settings(max_examples=200)
@given(EVENTS)
def test_null_is_absent_for_optional_members(event: dict[str, Any]) -> None:
    def without_nulls(tree: dict[str, Any]) -> dict[str, Any]:
        return {name: member for name, member in tree.items() if member is not None}

    stripped = without_nulls(event) | {"data": without_nulls(event["data"])}
    both = decode(json.dumps(event).encode())[0], decode(json.dumps(stripped).encode())[0]
    for one in both:
        one.backfill = bool(one.backfill)
    assert both[0] == both[1]


@given(st.text(), st.integers(0, 6))
def test_lane_and_partition(key: str, power: int) -> None:
    partitions = 2**power
    assert lane_of(key) % partitions == crc32(key.encode()) % partitions


@settings(max_examples=200)
@given(EVENTS, st.integers(0, 63), st.booleans())
def test_a_job_is_placed_by_its_key_only(event: dict[str, Any], lane: int, numbered: bool) -> None:
    if not event["type"].startswith("job."):
        event["type"], event["data"] = "job.enqueued.v1", {
            "tenant": "acme", "system": "celery", "queue": "q", "job_class": "C", "job_id": "1", "attempt": 1,
        }  # fmt: skip
    data = event["data"]
    key = f"{data['tenant']}/{data['system']}/{data['job_id']}"
    event |= {"partitionkey": key, "epoch": "epoch-0001", "lane": lane, "seq": 1}
    if not numbered:
        del event["epoch"], event["lane"], event["seq"]
    (decoded,) = decode(json.dumps(event).encode())
    right = lane_of(key)
    if numbered and lane != right:
        with pytest.raises(ContractError) as refused:
            check_lane(decoded)
        assert refused.value.reason is Reason.WRONG_LANE
    else:
        check_lane(decoded, right % 8, 8)
        with pytest.raises(ContractError) as refused:
            check_lane(decoded, (right + 1) % 8, 8)
        assert refused.value.reason is Reason.WRONG_PARTITION


def test_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_times, "_CACHE_LIMIT", 100)
    monkeypatch.setattr(known_names, "_CACHE_LIMIT", 10)
    for number in range(1_000):
        moment = EPOCH + timedelta(seconds=number)
        assert time_us(f"{moment:%Y-%m-%dT%H:%M:%S}Z") == number * 1_000_000
        event = generated.valid_event(Random(7)) | {"type": "queue.paused.v1"}
        event["data"] = {"tenant": f"t{number}", "system": "celery", "queue": "q"}
        assert outcome(json.dumps(event).encode()) != Reason.BAD_NAME
    assert len(known_times.seconds) <= 100
    assert len(known_names.known) <= 10


@settings(max_examples=200)
@given(st.integers(0, 4_102_444_799_999_999))
def test_the_usual_form_of_a_time_is_read_digit_by_digit(us: int) -> None:
    assert known_times.usual_us(time_text(us)) == us == known_times.parse_us(time_text(us))


def test_digit_by_digit_accepts_no_more_dates_than_there_are() -> None:
    """Every day of the contract's years and the ones beside them, and a wrong character at every place."""
    for year, month, day in product(range(1968, 2102), range(14), range(33)):
        text = f"{year:04d}-{month:02d}-{day:02d}T23:59:59.999999Z"
        try:
            judged = known_times.parse_us(text)
        except ContractError:
            judged = -1
        assert known_times.usual_us(text) == judged, text
    good = "2026-11-22T04:18:07.123456Z"
    for at, wrong in product(range(len(good)), "/:-.TZ\u0661"):
        text = good[:at] + wrong + good[at + 1 :]
        assert known_times.usual_us(text) == (time_us(good) if text == good else -1), text
