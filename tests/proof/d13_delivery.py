"""D13: delivery to receivers that fail in every way, beside one that is well. (Kills between send and log: notifier_kills.)

    python -m tests.proof.d13_delivery [--full]

One notifier process, real HTTP endpoints: one answers 500 at first, one hangs, one says 429 with Retry-After, one 410, one redirects to an
address that must not be asked, one is at a link-local address. Passes when every transition reaches every endpoint that can be reached, in
order, repetitions have the same id and bytes, Retry-After is kept to, 410 is asked once, nothing reaches the blocked addresses, and the well
endpoint has 99 % of its alerts within 5 s of their publication.
"""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from zlib import crc32

from jobtide.streams.agents.kafka import new_producer
from jobtide.streams.alerts.transitions import Transition, encode, fingerprint, transition_id
from jobtide.streams.settings import Settings
from jobtide.streams.topics import ALERTS

from tests.proof.command import Figures, Servers, main
from tests.proof.endpoints import OK, Endpoint
from tests.proof.installation import Fleet, Installation
from tests.servers import create_topics

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
PARTITIONS = 2
ASKED_S = 7  # Retry-After
MINE_S = 5.0


def run(full: bool, servers: Servers) -> Figures:
    """300 alerts over 100 s, or 40 over 8 s."""
    return asyncio.run(_run(300 if full else 40, 100.0 if full else 8.0, 2 if full else 1, servers))


def alert(number: int) -> Transition:
    labels = {"tenant": "acme", "environment": "prod", "system": "celery", "queue": f"q{number}", "job_class": "Send"}
    print_, at_us = fingerprint("R", labels), time.time_ns() // 1000
    return Transition(
        id=transition_id("R", print_, at_us, "firing"), rule="R", kind="ratio", fingerprint=print_, labels=labels, severity="critical",
        state="firing", reason="held", episode_us=at_us, at_us=at_us, value=0.5, samples=40, condition="c", from_us=at_us - 1, to_us=at_us,
        query="/v1/classes",
    )  # fmt: skip



async def _run(count: int, over_s: float, errors: int, servers: Servers) -> Figures:
    installation = Installation(servers.broker, servers.redis_url, f"dl{uuid.uuid4().hex[:6]}.", servers.directory, PARTITIONS, 6_000)
    await create_topics(installation.broker, installation.prefix, PARTITIONS)
    settings = Settings(broker=servers.broker, topic_prefix=installation.prefix, partitions=PARTITIONS)
    async with (
        Endpoint(SECRET) as well,
        Endpoint(SECRET, lambda n: (500, {}, 0) if n < errors else OK) as broken,
        Endpoint(SECRET, lambda n: (204, {}, 20 if n == 0 else 0)) as hanging,
        Endpoint(SECRET, lambda n: (429, {"retry-after": str(ASKED_S)}, 0) if n == 0 else OK) as busy,
        Endpoint(SECRET, lambda _: (410, {}, 0)) as gone,
        Endpoint(SECRET) as secret_place,
        Endpoint(SECRET) as redirecting,
    ):
        redirecting.answer = lambda n: (302, {"location": secret_place.url}, 0) if n == 0 else OK
        ends = {"well": well, "broken": broken, "hanging": hanging, "busy": busy, "gone": gone, "redirecting": redirecting}
        urls = {name: end.url for name, end in ends.items()} | {"linklocal": "http://169.254.169.254/latest", "inside": "https://10.0.0.1/x"}
        file = servers.directory / f"{installation.prefix}receivers.yaml"
        file.write_text("receivers:\n" + "".join(f'  - {{name: {n}, kind: webhook, url: "{u}", secrets: ["{SECRET}"]}}\n' for n, u in urls.items()))
        async with Fleet(installation, ("-m", "jobtide.cli", "notifier")) as fleet:
            fleet.add("notifier", JOBTIDE_RECEIVERS=str(file), JOBTIDE_WEBHOOK_ALLOW="127.0.0.0/8")
            published = await _publish(settings, count, over_s, well)
            until = time.monotonic() + 90
            reachable = [end for name, end in ends.items() if name != "gone"]
            while time.monotonic() < until and any(len(end.alerts()) < count + 1 for end in reachable):
                await asyncio.sleep(0.3)
            log = fleet.log("notifier", 400)
    delays = sorted(seen_s - published[id_] for id_, seen_s in _first(well).items() if published.get(id_))
    p99 = delays[max(0, -(-99 * len(delays) // 100) - 1)] if delays else 1e9
    waited_s = busy.seen[1].at_s - busy.seen[0].at_s if len(busy.seen) > 1 else 0.0
    wrong = [f"{name}: {len(end.alerts())} of {count + 1} alerts" for name, end in ends.items() if name != "gone" and len(end.alerts()) != count + 1]
    wrong += [f"{name}: same id, other bytes" for name, end in ends.items() if end.changed_bytes()]
    wrong += [f"{name}: {end.bad_signatures} bad signatures" for name, end in ends.items() if end.bad_signatures]
    wrong += [f"429 was asked again after {waited_s:.1f} s"] if waited_s < ASKED_S else []
    wrong += [f"410 was asked {len(gone.seen)} times"] if len(gone.seen) != 1 else []
    wrong += ["the redirect was followed"] if secret_place.seen else []
    wrong += [f"nothing was said about {name}" for name in ("linklocal", "inside") if f"to {name}: refused" not in log]
    return {
        "alerts": count + 1, "requests": sum(len(end.seen) for end in ends.values()), "well p50 s": delays[len(delays) // 2] if delays else None,
        "well p99 s": round(p99, 2), "429 waited s": round(waited_s, 1), "410 requests": len(gone.seen), "wrong": wrong,
        "passed": not wrong and p99 < MINE_S,
    }  # fmt: skip


async def _publish(settings: Settings, count: int, over_s: float, well: Endpoint) -> dict[str, float]:
    """Publish alerts; the first one only shows that the notifier is at work. Returns when each was published, by id."""
    producer = new_producer(settings)
    await producer.start()
    published: dict[str, float] = {}

    async def send(number: int) -> str:
        each = alert(number)
        key = each.fingerprint.encode()
        published[each.id] = time.monotonic()
        await producer.send_and_wait(settings.topic(ALERTS), encode(each), key=key, partition=crc32(key) % settings.partitions)
        return each.id

    try:
        first = await send(0)
        until = time.monotonic() + 60
        while not well.seen and time.monotonic() < until:
            await asyncio.sleep(0.1)
        published[first] = 0.0
        for number in range(1, count + 1):
            await send(number)
            await asyncio.sleep(over_s / count)
    finally:
        await producer.stop()
    return published


def _first(end: Endpoint) -> dict[str, float]:
    import json

    found: dict[str, float] = {}
    for seen in end.seen:
        for each in json.loads(seen.body)["data"]["alerts"]:
            found.setdefault(each["id"], seen.at_s)
    return found


if __name__ == "__main__":
    main("D13: delivery to receivers that fail in every way", run)
