"""The embedded Kafka and Valkey: they keep data over SIGKILL, one process per directory, no orphans."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from jobtide.cli.embedded import claim, ports
from jobtide.cli.embedded.kafka import Kafka
from jobtide.cli.embedded.process import Command, Process
from jobtide.streams.errors import ConfigError

from tests import servers


async def _create(address: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 2, 1)])
    await admin.close()


async def _send(address: str, topic: str, values: list[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=address, acks="all", enable_idempotence=True)
    await producer.start()
    for value in values:
        await producer.send_and_wait(topic, value, partition=1)
    await producer.stop()


async def _read(address: str, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=address, auto_offset_reset="earliest")
    await consumer.start()
    try:
        return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


async def test_kafka_keeps_acknowledged_records_through_sigkill(tmp_path: Path) -> None:
    with servers.kafka(tmp_path) as server:
        await _create(server.address, "kept")
        values = [b"%d" % n for n in range(50)]
        await _send(server.address, "kept", values)
        server.process.kill()
        server.start(deadline_s=30)
        assert await _read(server.address, "kept", 50) == values


async def test_a_large_checkpoint_batch_fits(kafka_broker: str, prefix: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_broker)
    await admin.start()
    await admin.create_topics([NewTopic(f"{prefix}big", 1, 1, topic_configs={"max.message.bytes": str(16 << 20)})])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=kafka_broker, acks="all", max_request_size=32 << 20)
    await producer.start()
    try:
        await producer.send_and_wait(f"{prefix}big", os.urandom(15 << 20), partition=0)
    finally:
        await producer.stop()


def test_second_starter_ends_the_first_ones_leftover(tmp_path: Path) -> None:
    """A process whose starter is gone holds its claim; the next starter ends it before it starts its own."""
    program = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    argv = [sys.executable, "-c", program]
    first = Process(Command("sleeper", argv, grace_s=0.5), tmp_path, tmp_path)
    first.start()
    assert ports.wait_until(lambda: "deaf" in first.last_lines(), first.ended, 10)
    assert first.pid is not None and claim.holder(first.claim_path) == first.pid
    second = Process(Command("sleeper", argv, grace_s=0.5), tmp_path, tmp_path)
    second.start()
    try:
        assert first.ended() == -signal.SIGKILL
        pid = second.pid
        assert pid is not None and claim.holder(second.claim_path) == pid
    finally:
        second.stop()
    assert not claim.alive(pid)


def test_a_claim_is_not_trusted_for_a_process_with_a_reused_number(tmp_path: Path) -> None:
    path = tmp_path / "x.claim"
    path.write_text(f'{{"pid": {os.getpid()}, "started": 1}}')
    assert claim.holder(path) is None
    claim.end(path, signal.SIGKILL)  # would end this test run


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's death signal is Linux's")
def test_children_end_when_their_starter_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import pathlib, time
        from jobtide.cli.embedded.process import Command, Process
        here = pathlib.Path({str(tmp_path)!r})
        child = Process(Command("child", ["sleep", "600"]), here, here)
        child.start()
        print(child.pid, flush=True)
        time.sleep(600)
    """)
    starter = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    starter.kill()
    starter.wait()
    fd = os.open(tmp_path / "child.claim", os.O_RDWR)
    assert ports.wait_until(lambda: claim.locked(fd), lambda: None, 10), f"process {pid} outlived its starter"
    os.close(fd)


def test_missing_java_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(ConfigError, match=r"needs Java 17.*--ephemeral"):
        Kafka(tmp_path, 1, 2).process()


def test_missing_jars_and_maven_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "java").write_text("#!/bin/sh\necho 'openjdk version \"21.0.1\"' >&2\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    monkeypatch.setattr("shutil.which", lambda name, **_: str(tmp_path / "java") if name == "java" else None)
    with pytest.raises(ConfigError, match=r"no `mvn`.*KAFKA_HOME"):
        Kafka(tmp_path, 1, 2).process()
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"KAFKA_HOME=.* holds no Kafka jars"):
        Kafka(tmp_path, 1, 2).process()
