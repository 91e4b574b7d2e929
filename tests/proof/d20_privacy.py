"""D20, privacy: secrets planted in arguments, errors, their causes, source lines and the environment of workers in three languages, with
default settings, are found nowhere that jobtide keeps anything.

    python -m tests.proof.d20_privacy [--full]

Celery, Sidekiq and BullMQ run jobs that fail with every planted text, are retried, and die. Then everything is read as it lies there: each
record of every Kafka topic (keys, values, headers), every row of every ClickHouse table, every key of jobtide's Redis, its logs, what
emitters wrote to the workers' logs. A word that is meant to be found (part of the job classes' names) shows that the search sees.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import clickhouse_connect
import redis
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from jobtide.cli.embedded.process import Command, Process

from tests import servers
from tests.proof import d1_backends, languages, report
from tests.proof.answers import Api, wait_for
from tests.up_process import UpProcess

DRIVERS = Path(__file__).parent / "drivers"
SECRET = "hunter2-Zq83kd0Lw7"  # the drivers have it in their source lines too
CANARY = "Canaryq7w3"
PLANTED = [
    f"password={SECRET}", f"login failed: password is {SECRET}, user bob", f"DB_PASSWORD: {SECRET}", f'{{"api_key": "{SECRET}", "id": 7}}',
    f"stripe_secret='{SECRET}'", f"Authorization: Bearer {SECRET}", f"401 for Bearer {SECRET}0123456789",
    f"cannot connect to postgres://app:{SECRET}@db.internal:5432/shop", f"redis://:{SECRET}@cache", f"unexpected value '{SECRET}'",
    f'unexpected value "{SECRET}" in row 7', f"bad row {{'pin': {SECRET}}}", f"token={SECRET}&user=7", f"Cookie: {SECRET}",
    "key sk_live_" + SECRET.replace("-", ""), f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
    f"opaque {SECRET.replace('-', '')}AbCdEf0123", f"two lines\npassword={SECRET}", f"secret: {SECRET}", f"https://x.example/?access_token={SECRET}",
]  # fmt: skip
NEEDLES = [SECRET, SECRET.replace("-", ""), SECRET.split("-")[1]]
TENANT = "privacy"


def run(full: bool) -> report.Result:
    """See the module. One form: it is short."""
    languages.build_node()
    with d1_backends.installation() as (process, clickhouse, folder), contextlib.ExitStack() as stack:
        kafka = f"127.0.0.1:{process.port + 1}"
        apps = [_App(name, folder, process, kafka) for name in ("celery", "sidekiq", "bullmq")]
        for app in apps:
            app.redis_url = stack.enter_context(servers.valkey(folder / f"{app.name}-valkey")).address
            stack.enter_context(app.working())
        for app in apps:
            app.enqueue()
        api = Api(process.port)
        told = wait_for(lambda: _dead(api) >= len(apps) * len(PLANTED), 120)
        time.sleep(12)  # history's minutes and the checkpoint have them too: both are written every ten seconds at the latest
        places: dict[str, Iterable[bytes]] = {
            "Kafka": asyncio.run(_kafka(kafka)), "Redis": _redis(f"redis://127.0.0.1:{process.port + 3}/0"), "logs": _logs(process, apps),
        }  # fmt: skip
        if clickhouse:
            places["ClickHouse"] = _clickhouse(clickhouse)
        rows = [_searched(name, texts) for name, texts in places.items()]
        deaths = _dead(api)
    said = f"{deaths} jobs died of {len(PLANTED)} texts in {len(apps)} languages"
    rows.insert(0, report.row("D20, planted", "in arguments, errors, causes, source lines, environment", said, told))
    return report.result("D20 privacy", rows, wrong=[line for row in rows for line in row.get("wrong", ())])


class _App:
    """One language's worker and driver, with secrets in everything they are given."""

    def __init__(self, name: str, folder: Path, process: UpProcess, kafka: str) -> None:
        self.name, self.redis_url = name, ""
        self._folder = folder
        self._target = (
            {"JOBTIDE_EMITTER_URL": f"http://127.0.0.1:{process.port}/v1/events"} if name == "sidekiq" else {"JOBTIDE_EMITTER_BROKER": kafka}
        )

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        worker = Process(Command(self.name, self._worker(), self._environment(), grace_s=20), self._folder, self._folder / "workers")
        worker.start()
        try:
            yield
        finally:
            worker.stop()

    def enqueue(self) -> None:
        argv = {
            "celery": [sys.executable, str(DRIVERS / "secrets_celery.py")],
            "sidekiq": ["ruby", str(DRIVERS / "secrets_sidekiq.rb"), "push"],
            "bullmq": ["node", str(DRIVERS / "secrets_bullmq.mjs"), "add"],
        }[self.name]
        done = subprocess.run(argv, env=os.environ | self._environment(), capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr[-2000:]

    def _worker(self) -> list[str]:
        return {
            "celery": [sys.executable, "-m", "celery", "-A", "secrets_celery", "worker", "--concurrency=2", "--loglevel=WARNING", "--without-mingle"],
            "sidekiq": ["sidekiq", "-r", str(DRIVERS / "secrets_sidekiq.rb"), "-c", "2", "-q", "secrets"],
            "bullmq": ["node", str(DRIVERS / "secrets_bullmq.mjs"), "work"],
        }[self.name]

    def _environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": str(DRIVERS), "RUBYLIB": str(languages.RUBY / "lib"), "JOBTIDE_EXAMPLE_REDIS": self.redis_url, "CANARY": CANARY,
            "PLANTED": json.dumps(PLANTED), "DB_PASSWORD": SECRET, "SECRET_KEY_BASE": SECRET, "JOBTIDE_EMITTER_TENANT": TENANT, **self._target,
        }  # fmt: skip


def _dead(api: Api) -> int:
    _, rows = api.classes(tenant=TENANT, last="1h")
    return sum(row["dead"] for row in rows.values())


async def _kafka(broker: str) -> list[bytes]:
    """Keys, values and headers of every record of every topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        tps = [TopicPartition(topic["topic"], each["partition"]) for topic in await admin.describe_topics() for each in topic["partitions"]]
    finally:
        await admin.close()
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False)
    await consumer.start()
    found: list[bytes] = []
    try:
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        ends = await consumer.end_offsets(tps)
        while waiting := [tp for tp in tps if await consumer.position(tp) < ends[tp]]:
            for records in (await consumer.getmany(*waiting, timeout_ms=500)).values():
                for record in records:
                    found += [record.key or b"", record.value or b"", *(part for name, value in record.headers for part in (name.encode(), value))]
    finally:
        await consumer.stop()
    return found


def _clickhouse(url: str) -> Iterator[bytes]:
    """Every row of every table and view."""
    client: Any = clickhouse_connect.get_client(dsn=url)
    for (table,) in client.query("SELECT name FROM system.tables WHERE database = 'jobtide'").result_rows:
        for row in client.query(f"SELECT * FROM jobtide.`{table}`").result_rows:
            yield repr(row).encode()


def _redis(url: str) -> Iterator[bytes]:
    """Every key, and its value as the server dumps it and as its type is read."""
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(count=1000):
            yield key
            kind = bytes(client.type(key))  # type: ignore[arg-type]
            readers: dict[bytes, Any] = {
                b"string": client.get, b"hash": client.hgetall, b"set": client.smembers,
                b"list": lambda name: client.lrange(name, 0, -1), b"zset": lambda name: client.zrange(name, 0, -1, withscores=True),
                b"stream": client.xrange,
            }  # fmt: skip
            read = readers[kind](key)
            yield read if isinstance(read, bytes) else repr(read).encode()


def _logs(process: UpProcess, apps: list[_App]) -> Iterator[bytes]:
    """jobtide's own logs whole; of the workers' logs, which are the apps' and the backends', what emitters wrote."""
    yield process.output.read_bytes()
    for path in process.data.rglob("*.log*"):
        yield path.read_bytes()
    for app in apps:
        for path in (app._folder / "workers").glob(f"{app.name}*.log*"):
            yield b"\n".join(line for line in path.read_bytes().splitlines() if b"jobtide" in line.split(b"hunter2")[0][:200])


def _searched(name: str, texts: Iterable[bytes]) -> report.Result:
    searched, bytes_of, canaries = 0, 0, 0
    found: Counter[str] = Counter()
    for text in texts:
        searched, bytes_of, canaries = searched + 1, bytes_of + len(text), canaries + text.count(CANARY.encode())
        for needle in NEEDLES:
            at = text.find(needle.encode())
            if at >= 0:
                found[text[max(0, at - 120) : at + 40].decode("utf-8", "replace")] += 1
                break
    sees = canaries > 0 or name == "logs"
    measured = f"{searched} pieces, {bytes_of / 1024:.0f} KiB, {sum(found.values())} with a secret; the word to be found {canaries}×"
    return report.row(f"D20, {name}", "0 found", measured, sees and not found, wrong=[f"{name}: …{text}…" for text in list(found)[:10]])


if __name__ == "__main__":
    report.main(run)
