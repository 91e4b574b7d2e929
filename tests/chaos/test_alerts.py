"""The short forms of the alert proofs: processes killed while rules flap."""

import asyncio
import uuid
from collections.abc import Iterator
from itertools import count
from zlib import crc32

import pytest
from jobtide.streams.agents.kafka import new_producer
from jobtide.streams.alerts.transitions import encode
from jobtide.streams.settings import Settings
from jobtide.streams.topics import ALERTS

from tests.proof import alert_speed, alerts_kills, d12_alert_latency, d13_delivery, d14_replay, notifier_kills, random_series
from tests.proof.command import Servers
from tests.proof.endpoints import Endpoint
from tests.proof.installation import Fleet, Installation
from tests.servers import create_topics


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_rules_say_the_same_when_their_worker_is_killed(proof_servers: Servers) -> None:
    figures = alerts_kills.run(False, proof_servers)
    assert figures["passed"], figures


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_everybody_is_told_once_when_the_notifier_is_killed(proof_servers: Servers) -> None:
    figures = notifier_kills.run(False, proof_servers)
    assert figures["passed"], figures


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_each_receiver_is_told_whatever_the_others_do(proof_servers: Servers) -> None:
    figures = d13_delivery.run(False, proof_servers)
    assert not figures["wrong"], figures


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_alert_goes_all_the_way(proof_servers: Servers) -> None:
    figures = d12_alert_latency.run(False, proof_servers)
    assert figures["passed"], figures


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_replay_and_a_backtest_say_the_same(proof_servers: Servers) -> None:
    figures = d14_replay.run(False, proof_servers)
    assert figures["passed"], figures


@pytest.mark.slow
def test_rules_look_at_what_changed_and_not_at_everything() -> None:
    found = alert_speed.run(False)
    assert found["passes"], found


@pytest.mark.slow
def test_ten_thousand_random_series_break_no_law() -> None:
    found = random_series.run(True)
    assert found["passes"], found


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_other_receivers_are_told_without_a_restart(proof_servers: Servers) -> None:
    """A file with a mistake in between changes nothing; a letter that waits for an endpoint that is away is not lost."""
    prefix = f"rf{uuid.uuid4().hex[:6]}."
    installation = Installation(proof_servers.broker, proof_servers.redis_url, prefix, proof_servers.directory, d13_delivery.PARTITIONS, 6_000)
    await create_topics(installation.broker, installation.prefix, d13_delivery.PARTITIONS)
    settings = Settings(broker=installation.broker, topic_prefix=installation.prefix, partitions=d13_delivery.PARTITIONS)
    file = proof_servers.directory / "receivers.yaml"
    producer = new_producer(settings)
    await producer.start()
    try:
        async with Endpoint(d13_delivery.SECRET) as one, Endpoint(d13_delivery.SECRET) as other:

            def name(end: Endpoint) -> None:
                file.write_text(f'receivers: [{{name: hook, kind: webhook, url: "{end.url}", secrets: ["{d13_delivery.SECRET}"]}}]')

            async def tell_until(end: Endpoint, numbers: Iterator[int]) -> None:
                """A new alert every second until one reaches the endpoint."""
                seen = len(end.seen)
                while len(end.seen) == seen:
                    each = d13_delivery.alert(next(numbers))
                    key = each.fingerprint.encode()
                    await producer.send_and_wait(settings.topic(ALERTS), encode(each), key=key, partition=crc32(key) % settings.partitions)
                    await asyncio.sleep(1)

            numbers = count()
            name(one)
            async with Fleet(installation, ("-m", "jobtide.cli", "notifier")) as fleet, asyncio.timeout(200):
                fleet.add("notifier", JOBTIDE_RECEIVERS=str(file), JOBTIDE_WEBHOOK_ALLOW="127.0.0.0/8")
                await tell_until(one, numbers)
                name(other)
                await tell_until(other, numbers)
                told = len(one.seen)
                file.write_text("receivers: [{name: hook}]")
                await asyncio.sleep(2.5)  # long enough for it to be read
                await tell_until(other, numbers)
                assert fleet.starts("notifier") == 1 and len(one.seen) == told
                assert "receivers file not used" in fleet.log("notifier")
            ids = [each["id"] for each in (*one.alerts(), *other.alerts())]
            assert len(ids) == len(set(ids)), "an alert was told twice"
    finally:
        await producer.stop()
