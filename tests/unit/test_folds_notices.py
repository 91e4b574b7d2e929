"""The newest word of each worker and queue, and the ids seen lately: kept, told, saved, forgotten."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from jobtide.streams.events import decode
from jobtide.streams.folds import identities, notices
from jobtide.streams.folds.identities import Identities
from jobtide.streams.folds.notices import Notice, Notices

from tests.proof.job_events import MINUTE, START_US, job_event, value_of


def notice(kind: str, at_us: int = START_US, **data: Any) -> Any:
    name = "worker_id" if kind.startswith("worker") else "queue"
    event = job_event("enqueued", at_us, event_id="notice-event-0001")
    event |= {"type": f"{kind}.v1", "data": {"tenant": "acme", "system": "celery", name: "one", **data}}
    (decoded,) = decode(value_of(event))
    return decoded


def noted(*events: Any) -> Notices:
    kept = Notices()
    for event in events:
        kept.note(event, event.time_us)
    return kept


def told(kept: Notices) -> dict[bytes, Notice]:
    return dict(kept.take_unpublished())


@pytest.mark.parametrize("turned", [False, True])
def test_the_later_word_wins_in_any_order(turned: bool) -> None:
    events = [notice("worker.heartbeat", busy=1), notice("worker.offline", START_US + 1, busy=0)]
    (kept,) = told(noted(*(reversed(events) if turned else events))).values()
    assert (kept.kind, kept.time_us, kept.data["busy"]) == (24, START_US + 1, 0)


def test_size_and_pause_of_a_queue_are_two_words_and_workers_are_apart() -> None:
    kept = noted(
        notice("queue.snapshot", ready=5), notice("queue.paused", START_US + 1), notice("queue.resumed", START_US + 2),
        notice("worker.online"), notice("worker.online", worker_id="two"), notice("worker.online", environment="staging"),
    )  # fmt: skip
    assert sorted(told(kept)) == [
        b"q\x1facme\x1fdefault\x1fcelery\x1fone\x1fpause", b"q\x1facme\x1fdefault\x1fcelery\x1fone\x1fsize",
        b"w\x1facme\x1fdefault\x1fcelery\x1fone", b"w\x1facme\x1fdefault\x1fcelery\x1ftwo", b"w\x1facme\x1fstaging\x1fcelery\x1fone",
    ]  # fmt: skip
    assert told(kept) == {}


def test_deploy_marks_are_for_history() -> None:
    assert told(noted(notice("deploy.marked", release="r1"))) == {}


def test_saved_words_come_back_are_told_again_and_go_after_a_day() -> None:
    kept = noted(notice("worker.heartbeat", busy=1))
    ((key, value),) = kept.save(START_US)
    assert kept.save(START_US) == []
    again = Notices()
    again.load(key[1:], msgspec.msgpack.decode(value or b"", type=Notice))
    assert told(again) == told(kept) | told(noted(notice("worker.heartbeat", busy=1)))
    assert again.save(START_US + notices.KEPT_US) == []
    assert again.save(START_US + notices.KEPT_US + 1) == [(key, None)]
    assert again.save(START_US + notices.KEPT_US + 2) == []


def load(records: list[tuple[bytes, bytes | None]]) -> Identities:
    ids = Identities()
    for key, value in records:
        ids.load(int(key[1:], 16), *msgspec.msgpack.decode(value or b"", type=tuple[int, list[tuple[str, int]]]))
    return ids


def test_ids_are_known_after_a_restart_and_in_the_same_places() -> None:
    ids = Identities()
    assert [ids.first_time(i, START_US) for i in ("a", "b", "a")] == [True, True, False]
    records = ids.save(START_US)
    assert ids.first_time("c", START_US + MINUTE)
    records += ids.save(START_US + MINUTE)
    again = load(records)
    assert [again.first_time(i, START_US + 2 * MINUTE) for i in ("a", "b", "c", "d")] == [False, False, False, True]
    ((key, _),) = again.save(START_US + 2 * MINUTE)
    assert key > max(key for key, _ in records), "a new chunk, not one over an old"


def test_ids_go_with_their_chunk_and_an_id_seen_again_stays() -> None:
    ids = Identities()
    ids.first_time("a", START_US)
    ids.first_time("b", START_US)
    ((first, _),) = ids.save(START_US)
    later_us = START_US + identities.KEPT_US + 1
    assert ids.first_time("a", later_us), "65 minutes have passed"
    ((second, _), gone) = ids.save(later_us)
    assert gone == (first, None)
    assert second != first
    assert len(ids) == 1
    assert not ids.first_time("a", later_us + 1)
    assert ids.first_time("b", later_us + 1)


def test_the_clock_of_a_sender_is_judged_by_its_quickest_event() -> None:
    kept = Notices()
    for at_us, late_us in ((0, 300_000), (1, 60_000_000), (2, 20_000), (3, 90_000_000)):  # two of them waited in a spool
        event = notice("worker.heartbeat", START_US + at_us)
        kept.note(event, event.time_us, event.time_us + late_us)
    (found,) = told(kept).values()
    assert found.lag_us == 20_000 + notices.FORGIVEN_US


def test_a_clock_that_is_ahead_shows() -> None:
    kept = Notices()
    event = notice("worker.heartbeat")
    kept.note(event, event.time_us, event.time_us - 9_000_000)
    assert next(iter(told(kept).values())).lag_us == -9_000_000
