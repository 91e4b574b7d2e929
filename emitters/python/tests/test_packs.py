"""Packing and lanes: which partition, how large, and what an event looks like on the wire."""

import orjson
import pytest
from jobtide_emitter.lanes import LANES, lane_of, lanes_of, partition_of
from jobtide_emitter.packs import BATCH, MAX_PACK_BYTES, SINGLE, packs_of, text_of
from jobtide_emitter.ring import UNNUMBERED, Record


def record(order: int, lane: int = 0, seq: int = 0, size: int = 50) -> Record:
    return Record(order, lane, seq, orjson.dumps({"data": "x" * size}))


@pytest.mark.parametrize(("key", "lane"), [("acme/celery/7f0c", 8), ("a/rq/ü", lane_of("a/rq/ü")), ("t/sidekiq/q/default", None)])
def test_a_lane_is_crc32_of_the_utf8_bytes(key: str, lane: int | None) -> None:
    # Bitwise, as the polynomial says: not zlib again.
    crc = 0xFFFFFFFF
    for byte in key.encode():
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xEDB88320 if crc & 1 else 0)
    assert lane_of(key) == ~crc & 63
    assert lane is None or lane_of(key) == lane


@pytest.mark.parametrize("partitions", [1, 2, 8, 32, 64])
def test_every_lane_lives_on_exactly_one_partition(partitions: int) -> None:
    lanes = [lane for partition in range(partitions) for lane in lanes_of(partition, partitions)]
    assert sorted(lanes) == list(range(LANES))
    assert all(partition_of(lane, partitions) == lane % partitions for lane in lanes)


def test_events_of_one_partition_share_a_pack_in_order() -> None:
    packs = packs_of([record(1, 1), record(2, 9), record(3, 2), record(4, 1, 1)], "e" * 16, 8)
    assert {pack.partition: [r.order for r in pack.records] for pack in packs} == {1: [1, 2, 4], 2: [3]}
    assert [pack.content_type for pack in packs] == [BATCH, SINGLE]
    assert [event["seq"] for event in orjson.loads(packs[0].value)] == [0, 0, 1]


def test_one_event_is_an_object_not_an_array() -> None:
    (pack,) = packs_of([record(1, 4, 7)], "abcdefgh01234567", 8)
    event = orjson.loads(pack.value)
    assert (event["epoch"], event["lane"], event["seq"]) == ("abcdefgh01234567", 4, 7)
    assert 16 <= len(event["id"]) <= 64


def test_packs_stay_within_256_kib() -> None:
    records = [record(n, 0, n, size=30_000) for n in range(20)]
    packs = packs_of(records, "e" * 16, 8)
    assert all(len(pack.value) <= MAX_PACK_BYTES for pack in packs)
    assert [r.order for pack in packs for r in pack.records] == list(range(20))
    assert len(packs) == 3


def test_ids_differ_wherever_numbers_do() -> None:
    ids = {orjson.loads(text_of(record(1, lane, seq), epoch))["id"] for lane in (1, 11) for seq in (1, 11) for epoch in ("e" * 16, "f" * 16)}
    assert len(ids) == 8


def test_unnumbered_events_have_an_id_only() -> None:
    event = orjson.loads(text_of(record(1, UNNUMBERED, 3), "e" * 16))
    assert event["id"] == "eeeeeeeeeeeeeeee-u-3"
    assert not {"epoch", "lane", "seq"} & set(event)
