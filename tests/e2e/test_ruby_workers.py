"""Real Ruby workers through a real gateway into real Kafka: what the emitter told is what the jobs wrote down themselves.

Sidekiq on Valkey, DelayedJob on SQLite, ActiveJob on both, as Debian 12 packages them (Sidekiq 6.4, ActiveJob 6.1) and as Debian 13
does (7.3, 7.2; a folder that `make setup-test` makes). The oracle is the log of the example's jobs.
"""

import asyncio
import statistics
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.e2e.ruby_place import SYSTEMS, Place, a_place, needs
from tests.e2e.worker_place import PARTITIONS, check_lanes, until


@pytest.fixture
def place(kafka_broker: str, prefix: str, tmp_path: Path) -> Place:
    asyncio.run(servers.create_topics(kafka_broker, prefix, PARTITIONS))
    return Place(kafka_broker, prefix, tmp_path)


@pytest.fixture(params=SYSTEMS)
def places(request: pytest.FixtureRequest, kafka_broker: str, prefix: str, tmp_path: Path) -> Iterator[Place]:
    """A place on each system that is set up."""
    needs("sidekiq", request.param)
    asyncio.run(servers.create_topics(kafka_broker, prefix, PARTITIONS))
    with a_place(request.param, kafka_broker, prefix, tmp_path) as made:
        yield made


@pytest.fixture
def redis_of_its_own(tmp_path: Path) -> Iterator[str]:
    """Sidekiq's keys have no prefix."""
    with servers.valkey(tmp_path / "valkey") as server:
        yield server.address


def told(events: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """(job class, what) -> how often, by the contract's rule: an attempt's transition counts once."""
    once = {
        (event["data"]["job_class"], event["type"].split(".")[1], event["data"]["job_id"], event["data"]["attempt"])
        for event in events
        if event["type"].startswith("job.")
    }
    return Counter((job_class, what) for job_class, what, _, _ in once)


def expected(oracle: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    return Counter((line["class"], line["what"]) for line in oracle if line["what"] != "enqueued")


def dead_of(oracle: list[dict[str, Any]], tries: dict[str, int]) -> Counter[str]:
    return Counter(line["class"] for line in oracle if line["what"] == "failed" and line["attempt"] == tries[line["class"]])


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def settled(place: Place, jobs: int, tries: dict[str, int]) -> bool:
    """Whether each job has come to its end, by the oracle."""
    oracle = place.oracle()
    ended = sum(line["what"] == "finished" or (line["what"] == "failed" and line["attempt"] == tries[line["class"]]) for line in oracle)
    return bool(ended == jobs)


def check_counts(place: Place, tries: dict[str, int], discarding: str = "") -> list[dict[str, Any]]:
    """Everything that can be counted equals the oracle, per class; returns the events. `discarding`: a class that ends by discard_on."""
    oracle, events = place.oracle(), place.events()
    counts = told(events)
    for (job_class, what), number in expected(oracle).items():
        assert counts[job_class, what] == number, (job_class, what, counts)
    dead = dead_of(oracle, tries)
    assert counts[discarding, "discarded"] == dead.pop(discarding, 0)
    for job_class in tries:
        if job_class == discarding:
            assert counts[job_class, "dead"] == counts[job_class, "retry_scheduled"] == 0
            continue
        failed, enqueued = counts[job_class, "failed"], [line for line in oracle if line["what"] == "enqueued" and line["class"] == job_class]
        assert counts[job_class, "dead"] == dead[job_class]
        assert counts[job_class, "retry_scheduled"] == failed - dead[job_class]
        first = {e["subject"] for e in events if e["type"] in ("job.enqueued.v1", "job.scheduled.v1") and e["data"]["job_class"] == job_class}
        assert len(first) == len(enqueued)
    return events


SHOP_TRIES = {"Shop::Invoice": 3, "Shop::Mail": 1}


@pytest.mark.slow
def test_sidekiq_to_the_last_job(places: Place, redis_of_its_own: str) -> None:
    place = places
    env = {"JOBTIDE_EXAMPLE_REDIS": redis_of_its_own}
    with place.gateway():
        with place.worker("sidekiq", "-r", place.hasty(), "-c", "5", "-q", "default", "-q", "mail", **env):
            place.ruby(f"{place.shop}/sidekiq_drive.rb", "120", **env)
            until("all jobs end", lambda: settled(place, 130, SHOP_TRIES))
        events = check_counts(place, SHOP_TRIES)
    check_lanes(events, epochs=2)
    snapshot = next(e["data"] for e in events if e["type"] == "queue.snapshot.v1")
    assert {"ready", "running", "scheduled", "retry", "dead"} <= set(snapshot)
    versions = {event["data"]["version"] for event in events if event["type"] == "worker.online.v1"}
    assert len(versions) == 1
    assert place.is_here or versions.pop().startswith("7.3")
    workers = Counter(event["type"] for event in events if event["type"].startswith("worker."))
    assert workers["worker.online.v1"] == workers["worker.stopping.v1"] == workers["worker.offline.v1"] == PARTITIONS
    assert workers["worker.heartbeat.v1"] >= PARTITIONS
    assert {event["data"]["queue"] for event in events if event["type"] == "queue.snapshot.v1"} == {"default", "mail"}
    check_times(place, events)
    check_sidekiqs_own_counters(redis_of_its_own, told(events))


def check_times(place: Place, events: list[dict[str, Any]]) -> None:
    """Enqueue times lie within the push itself; starts and put-off times within 50 ms of the oracle, in the median of a busy machine."""
    pushes = sorted((line["before"], line["at"]) for line in place.oracle() if line["what"] == "enqueued" and line["delay_s"] is None)
    stamps = sorted(seconds(e["time"]) for e in events if e["type"] == "job.enqueued.v1" and e["data"]["attempt"] == 1 and "run_at" not in e["data"])
    assert len(stamps) == len(pushes)
    assert all(before - 0.001 <= stamp <= after + 0.001 for stamp, (before, after) in zip(stamps, pushes, strict=True))
    starts = sorted(line["at"] for line in place.oracle() if line["what"] == "started")
    told_starts = sorted(seconds(event["time"]) for event in events if event["type"] == "job.started.v1")
    assert statistics.median(abs(told_at - at) for told_at, at in zip(told_starts, starts, strict=True)) < 0.05
    run_at = sorted(seconds(e["data"]["run_at"]) for e in events if e["type"] == "job.scheduled.v1")
    wanted = sorted(line["before"] + line["delay_s"] for line in place.oracle() if line["what"] == "enqueued" and line["delay_s"])
    assert statistics.median(abs(a - b) for a, b in zip(run_at, wanted, strict=True)) < 0.05


def check_sidekiqs_own_counters(url: str, counts: Counter[tuple[str, str]]) -> None:
    import redis

    with redis.Redis.from_url(url) as client:
        processed, failed = (int(str(client.get(f"stat:{name}").decode())) for name in ("processed", "failed"))
    assert failed == sum(number for (_, what), number in counts.items() if what == "failed")
    assert processed == failed + sum(number for (_, what), number in counts.items() if what == "finished")


@pytest.mark.slow
def test_an_outage_costs_no_job_and_no_event(place: Place, redis_of_its_own: str) -> None:
    """Nobody listens while all jobs run, and the buffer holds a tenth of what they say: the rest waits on disk."""
    needs("sidekiq")
    spool = place.directory / "spool"
    env = {"JOBTIDE_EXAMPLE_REDIS": redis_of_its_own, "JOBTIDE_EMITTER_QUEUE_EVENTS": "100", "JOBTIDE_EMITTER_SPOOL_DIR": str(spool)}
    with place.worker("sidekiq", "-r", place.hasty(), "-c", "5", "-q", "default", "-q", "mail", **env):
        place.ruby(f"{place.shop}/sidekiq_drive.rb", "300", **env)
        until("all jobs end", lambda: settled(place, 310, SHOP_TRIES))
        assert sum(path.stat().st_size for path in spool.iterdir()) > 100_000
        with place.gateway():
            until("the spool is empty", lambda: all(path.stat().st_size <= 8 for path in spool.iterdir()))
            until("all is told", lambda: told(place.events())["Shop::Invoice", "finished"] == expected(place.oracle())["Shop::Invoice", "finished"])
            check_counts(place, SHOP_TRIES)


DELAYED_TRIES = {"Shop::Parcel": 3}


@pytest.mark.slow
def test_delayed_job_to_the_last_job(places: Place) -> None:
    place = places
    app = [f"{place.shop}/delayed_app.rb", place.inside(place.directory / "shop.sqlite3")]
    with place.gateway():
        place.ruby(*app, "drive", "50")
        with place.worker("ruby", *app, "work"):
            until("all jobs end", lambda: settled(place, 50, DELAYED_TRIES))
        events = check_counts(place, DELAYED_TRIES)
    check_lanes(events, epochs=2)
    assert {event["type"] for event in events} >= {"worker.online.v1", "worker.stopping.v1", "worker.offline.v1"}
    snapshots = [event["data"] for event in events if event["type"] == "queue.snapshot.v1"]  # `default`: rows without a queue
    assert snapshots
    assert {"ready", "running", "scheduled", "retry", "dead"} <= set(snapshots[0])


ERRANDS = {"Shop::Receipt": 3, "Shop::Coupon": 1, "Shop::Report": 2}


@pytest.mark.slow
def test_active_job_on_sidekiq(places: Place, redis_of_its_own: str) -> None:
    """Hooks of both layers: each attempt is told once, under one identity, whichever layer tries again."""
    place, env = places, {"JOBTIDE_EXAMPLE_REDIS": redis_of_its_own}
    with place.gateway():
        with place.worker("sidekiq", "-r", place.hasty("active_job_app.rb"), "-c", "5", "-q", "default", **env):
            place.ruby(f"{place.shop}/active_job_app.rb", "sidekiq", "drive", "60", **env)
            until("all jobs end", lambda: settled(place, 60, ERRANDS))
        events = check_counts(place, ERRANDS, discarding="Shop::Coupon")
    check_lanes(events, epochs=2)
    assert {event["data"]["system"] for event in events if event["type"].startswith("job.")} == {"sidekiq"}


@pytest.mark.slow
def test_active_job_on_delayed_job(places: Place) -> None:
    place, tries = places, ERRANDS | {"Shop::Receipt": 4}  # DelayedJob tries once more
    app = [f"{place.shop}/active_job_app.rb", place.inside(place.directory / "shop.sqlite3")]
    with place.gateway():
        place.ruby(*app, "drive", "36")
        with place.worker("ruby", *app, "work"):
            until("all jobs end", lambda: settled(place, 36, tries))
        events = check_counts(place, tries, discarding="Shop::Coupon")
    check_lanes(events, epochs=2)
    assert {event["data"]["system"] for event in events if event["type"].startswith("job.")} == {"delayed_job"}


@pytest.mark.slow
def test_the_gems_own_tests_on_debian_13(kafka_broker: str, prefix: str, tmp_path: Path) -> None:
    """`rake test` with Ruby 3.3, ActiveJob 7.2 and DelayedJob 4.1.13."""
    needs("minitest", "debian-13")
    with a_place("debian-13", kafka_broker, prefix, tmp_path) as place:
        log = place.rake_test()
        assert " 0 failures, 0 errors, 0 skips" in log, log[-3000:]
        assert "DelayedJob is not installed" not in log
        assert "ActiveJob is not installed" not in log


STRAIGHT = """
require "jobtide"
emitter = Jobtide.emitter
emitter.worker("cron", "w1", queues: ["q"], concurrency: 1) { [] }
1000.times { |number| emitter.job_enqueued(emitter.job("cron", "q", "C", number.to_s)) }
exit!(1) unless emitter.flush(30_000)
Jobtide.close(10_000)
exit!(Jobtide.errors)
"""


def test_straight_into_kafka_without_a_gateway(places: Place) -> None:
    """librdkafka through ffi: every event in the partition of its lane, every number there, a clean end in every partition."""
    place = places
    place.ruby_env.pop("JOBTIDE_EMITTER_URL")
    place.ruby("-e", STRAIGHT, JOBTIDE_EMITTER_BROKER=place.broker, JOBTIDE_EMITTER_TOPIC=f"{place.prefix}job.events", JOBTIDE_EMITTER_CLIENT="ffi")
    events = place.events()
    assert told(events) == {("C", "enqueued"): 1000}
    check_lanes(events, epochs=1)
    assert sum(event["type"] == "worker.offline.v1" for event in events) == PARTITIONS
