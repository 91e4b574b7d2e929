"""The gateway's pure parts: bodies to lines, short form to full events, events to partitions and messages."""

import json
from typing import Any

import pytest
from jobtide.access.caller import Caller, Role
from jobtide.gateway.intake import MAX_EVENTS, Arrival, Intake, TooMany, judge, lines
from jobtide.gateway.owner import Owner, owner_of
from jobtide.gateway.placement import ONE, PACK, messages
from jobtide.gateway.short import expand
from jobtide.streams.errors import ContractError
from jobtide.streams.events import MAX_PACK_BYTES, Reason, decode, lane_of

ARRIVED = "2026-11-22T10:00:00.000000Z"


def take(body: bytes, partitions: int = 8, nonce: str = "n") -> Intake:
    intake = Intake()
    for number, line in lines(body):
        judge(number, line, Arrival(partitions, ARRIVED, nonce), intake)
    return intake


def full(job_id: str = "j1", **changes: Any) -> dict[str, Any]:
    key = f"acme/celery/{job_id}"
    return {
        "specversion": "1.0", "id": f"event-of-{job_id:0>20}", "source": "host/1", "type": "job.enqueued.v1",
        "subject": job_id, "time": ARRIVED, "partitionkey": key,
        "epoch": "epoch-000001", "lane": lane_of(key), "seq": 7,
        "data": {"tenant": "acme", "system": "celery", "queue": "q", "job_class": "C", "job_id": job_id, "attempt": 1},
        **changes,
    }  # fmt: skip


def short(**changes: Any) -> dict[str, Any]:
    return {"type": "job.enqueued", "system": "cron", "queue": "q", "job_class": "C", "job_id": "7", **changes}


def body_of(*events: Any) -> bytes:
    return "\n".join(json.dumps(event) for event in events).encode()


def test_ndjson_counts_physical_lines_and_skips_blank_ones() -> None:
    assert list(lines(b'\n{"a":1}\n\n  {"b":2}  \r\n')) == [(2, b'{"a":1}'), (4, b'{"b":2}')]


def test_array_and_one_event_over_several_lines() -> None:
    assert list(lines(b' [ {"a":1} , {"b":[1]} ] ')) == [(1, b'{"a":1}'), (2, b'{"b":[1]}')]
    pretty = json.dumps(full(), indent=2).encode()
    assert [number for number, _ in lines(pretty)] == [1]
    assert take(pretty).accepted == 1
    assert list(lines(b"")) == list(lines(b" \n ")) == list(lines(b"[]")) == []


def test_byte_order_mark_is_no_part_of_the_first_line() -> None:
    assert list(lines(b"\xef\xbb\xbf{}\n{}")) == [(1, b"{}"), (2, b"{}")]


@pytest.mark.parametrize(("body", "reason"), [(b"[1,", Reason.NOT_JSON), (b"[" * 100_000 + b"]" * 100_000, Reason.TOO_DEEP)])
def test_an_array_that_cannot_be_split_is_refused_whole(body: bytes, reason: Reason) -> None:
    with pytest.raises(ContractError) as refused:
        list(lines(body))
    assert refused.value.reason is reason


def test_too_many_events() -> None:
    for body in (b"{}\n" * (MAX_EVENTS + 1), b"[" + b"0," * MAX_EVENTS + b"0]"):
        with pytest.raises(TooMany):
            list(lines(body))
    assert len(list(lines(b"{}\n" * MAX_EVENTS))) == MAX_EVENTS


def test_a_full_event_keeps_its_bytes_and_goes_to_its_lane() -> None:
    line = json.dumps(full()).encode()  # with json's spaces, which a re-encoding would lose
    intake = take(line)
    assert (intake.accepted, intake.rejected) == (1, [])
    assert intake.placed == [(lane_of("acme/celery/j1") % 8, line)]


def test_every_event_is_judged_alone() -> None:
    intake = take(
        body_of(full("a"), {"type": "job.exploded"}, full("b", lane=(lane_of("acme/celery/b") + 1) % 64)) + b"\nnot json\n[]\n3\n" + body_of(short())
    )
    assert intake.accepted == 2
    assert [(r.line, r.reason) for r in intake.rejected] == [
        (2, "unknown_type"), (3, "wrong_lane"), (4, "not_json"), (5, "not_an_event"), (6, "not_an_event"),
    ]  # fmt: skip
    assert all(r.detail for r in intake.rejected)


def test_partition_of_an_event_without_lane_follows_its_key() -> None:
    event = full()
    for name in ("epoch", "lane", "seq"):
        del event[name]
    for partitions in (1, 4, 64):
        assert take(body_of(event), partitions).placed[0][0] == lane_of("acme/celery/j1") % partitions


def test_short_form_becomes_a_full_event() -> None:
    intake = take(body_of(short(type="job.failed", worker_id="w", error={"class": "E"}, duration_ms=5, backfill=True)))
    (event,) = decode(intake.placed[0][1])
    assert (event.name, event.time, event.partitionkey, event.backfill, event.lane) == (
        "job.failed", ARRIVED, "default/cron/7", True, None,
    )  # fmt: skip
    assert (event.data.tenant, event.data.environment, event.data.attempt) == ("default", "default", 1)
    assert event.data.error.class_ == "E" and event.data.duration_ms == 5


def test_short_form_that_misses_something_is_refused_by_the_contract() -> None:
    missing = short()
    del missing["job_class"]
    intake = take(body_of(missing, short(type="job.started"), short(time="yesterday"), short(attempt=0), {"x": 1}))
    assert [r.reason for r in intake.rejected] == [
        "missing_field", "missing_field", "bad_time", "out_of_bounds", "missing_field",
    ]  # fmt: skip


def test_the_word_specversion_inside_a_short_event_does_not_make_it_a_full_one() -> None:
    assert take(body_of(short(job_class='"specversion"', labels={"specversion": "1"}))).accepted == 1


def test_content_id_is_the_same_for_the_same_line_and_only_then() -> None:
    timed = short(time=ARRIVED)
    again = dict(reversed(timed.items()))
    spelled = timed | {"tenant": "default", "attempt": 1}
    ids = {expand(line, "2030-01-01T00:00:00Z", nonce)["id"] for line in (timed, again, spelled) for nonce in "ab"}
    assert len(ids) == 1
    for change in ({"job_id": "8"}, {"type": "job.cancelled"}, {"time": "2026-11-22T10:00:00.000001Z"}, {"attempt": 2}):
        assert expand(timed | change, ARRIVED, "a")["id"] not in ids


def test_without_time_and_id_a_repetition_is_a_second_event() -> None:
    assert expand(short(), ARRIVED, "a")["id"] != expand(short(), ARRIVED, "b")["id"]
    intake = take(body_of(short(), short()))
    first, second = (decode(line)[0].id for _, line in intake.placed)
    assert first != second


def test_an_id_of_the_clients_own_is_kept() -> None:
    (event,) = decode(take(body_of(short(id="0123456789abcdef-mine"))).placed[0][1])
    assert event.id == "0123456789abcdef-mine"


@pytest.mark.parametrize(
    ("flat", "key"),
    [
        ({"type": "worker.online", "system": "cron", "worker_id": "w1"}, "default/cron/w/w1"),
        ({"type": "queue.snapshot", "tenant": "t", "system": "cron", "queue": "q", "ready": 3}, "t/cron/q/q"),
        ({"type": "deploy.marked", "release": "v2"}, "default"),
    ],
)
def test_short_form_of_other_families(flat: dict[str, Any], key: str) -> None:
    intake = take(body_of(flat))
    assert intake.rejected == []
    assert decode(intake.placed[0][1])[0].partitionkey == key


def test_worker_heartbeat_goes_everywhere_with_each_partitions_slice() -> None:
    running = [{"queue": "q", "job_id": f"j{n}", "attempt": 1} for n in range(40)]
    beat = {"type": "worker.heartbeat", "tenant": "t", "system": "rq", "worker_id": "w", "running": running}
    intake = take(body_of(beat | {"complete": True}))
    assert (intake.accepted, [partition for partition, _ in intake.placed]) == (1, list(range(8)))
    seen = {}
    for partition, line in intake.placed:
        (event,) = decode(line)
        assert event.data.complete is True
        seen |= {job.job_id: partition for job in event.data.running}
    assert seen == {f"j{n}": lane_of(f"t/rq/j{n}") % 8 for n in range(40)}


def test_emitter_stats_are_cut_by_lane() -> None:
    stats = {
        "type": "emitter.stats", "tenant": "t", "next": {str(lane): lane + 100 for lane in range(64)},
        "emitted": 1, "dropped": 0, "spooled": 0, "clean": True,
    }  # fmt: skip
    intake = take(body_of(stats), partitions=4)
    for partition, line in intake.placed:
        assert set(decode(line)[0].data.next) == {str(lane) for lane in range(64) if lane % 4 == partition}
    assert take(body_of(stats | {"next": {"x": 1}})).rejected[0].reason == "out_of_bounds"


def test_a_broadcast_event_with_a_lane_was_placed_by_its_sender() -> None:
    worker = {"tenant": "t", "system": "rq", "worker_id": "w"}
    event = full(type="worker.online.v1", partitionkey="t/rq/w/w", lane=13, data=worker)
    assert [partition for partition, _ in take(body_of(event)).placed] == [13 % 8]


def test_messages_are_packed_in_order_up_to_the_contracts_limit() -> None:
    line = b'{"x":"' + b"y" * 60_000 + b'"}'
    placed = [(3, line), (1, b"{}"), (3, b'{"n":2}'), *[(3, line)] * 6]
    packs = list(messages(placed))
    assert (1, b"{}", ONE) in packs
    threes = [value for partition, value, kind in packs if partition == 3 and kind == PACK]
    assert [len(json.loads(value)) for value in threes] == [5, 3]
    assert all(len(value) <= MAX_PACK_BYTES for value in threes)
    assert json.loads(threes[0])[1] == {"n": 2}
    assert list(messages([])) == []


def owned(*events: Any, owner: Owner) -> Intake:
    intake = Intake()
    for number, line in lines(body_of(*events)):
        judge(number, line, Arrival(8, ARRIVED, "n", owner), intake)
    return intake


def test_a_key_fixes_the_tenant_and_a_body_cannot_claim_another() -> None:
    owner = owner_of(Caller("shop", Role.INGEST, ("acme",), ("production",)))
    taken = owned(short(), short(tenant="acme"), full() | {"data": full()["data"] | {"environment": "production"}}, owner=owner)
    assert (taken.accepted, taken.rejected) == (3, [])
    for _, line in taken.placed:
        (event,) = decode(line)
        assert (event.data.tenant, event.data.environment) == ("acme", "production")
        assert event.partitionkey.startswith("acme/")
    theirs = "globex/celery/j2"
    foreign = full("j2") | {"partitionkey": theirs, "lane": lane_of(theirs), "data": full("j2")["data"] | {"tenant": "globex"}}
    smuggled = full("j3") | {"data": full("j3")["data"] | {"environment": "production"}}
    smuggled |= {"partitionkey": "globex/celery/j3", "lane": lane_of("globex/celery/j3")}
    claims = [short(tenant="globex"), short(environment="staging"), full(), foreign, smuggled, short()]
    refused = owned(*claims, owner=owner)
    assert [(r.line, r.reason) for r in refused.rejected] == [
        *((n, "tenant_not_allowed") for n in range(1, 5)), (5, "wrong_key"),  # the decoder's own rule: a key begins with the tenant
    ]  # fmt: skip
    assert refused.accepted == 1  # a bad one takes no good neighbour with it
    assert all(json.loads(line)["data"]["tenant"] == "acme" for _, line in refused.placed)


def test_a_key_of_a_whole_installation_and_no_key_fix_nothing() -> None:
    for owner in (owner_of(Caller("root", Role.ADMIN)), Owner()):
        assert owned(short(tenant="globex", environment="x"), full(), owner=owner).accepted == 2
