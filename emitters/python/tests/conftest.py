"""Fixtures: an emitter that keeps its events in memory, and real servers for the tests that need them.

Servers: JOBTIDE_TEST_KAFKA (host:port) and JOBTIDE_TEST_REDIS (redis:// URL) name running ones; else the repository's
`tests/servers.py` starts them. Where neither exists, the tests that need them are skipped, but not in CI.
"""

import contextlib
import importlib
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jobtide_emitter
import pytest
from jobtide_emitter import guard
from jobtide_emitter.transports.memory import MemoryTransport

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
REPOSITORY = HERE.parents[2]
sys.path[:0] = [str(HERE), str(EXAMPLES)]


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """Each test begins without an emitter or errors of the test before, and with a log that a worker has not silenced."""
    guard.log.setLevel("WARNING")
    for site in guard.sites.values():
        site.errors = 0
    yield
    jobtide_emitter.configure(disabled=True)


@pytest.fixture
def memory() -> MemoryTransport:
    """What the emitter of the test delivers to."""
    return MemoryTransport()


@pytest.fixture
def emitter(memory: MemoryTransport) -> jobtide_emitter.Emitter:
    """The process's emitter, delivering to `memory` at once."""
    return jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=0, tenant="acme", environment="test")


@pytest.fixture
def delivered(emitter: jobtide_emitter.Emitter, memory: MemoryTransport) -> Callable[[], list[dict[str, Any]]]:
    """All events so far, after a flush, without statistics and heartbeats."""

    def events() -> list[dict[str, Any]]:
        assert emitter.flush(5000)
        return [e for e in memory.events if not e["type"].startswith(("emitter.", "worker."))]

    return events


@pytest.fixture
def no_errors() -> Iterator[None]:
    """The test fails if a hook failed: hooks swallow their errors, so nothing else would show."""
    yield
    failed = {name: site.errors for name, site in guard.sites.items() if site.errors}
    assert not failed


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a real Kafka."""
    with _server("JOBTIDE_TEST_KAFKA", "kafka", tmp_path_factory) as address:
        yield address


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """redis:// URL of a real Valkey, without the database number."""
    with _server("JOBTIDE_TEST_REDIS", "valkey", tmp_path_factory) as address:
        yield address.rpartition("/")[0] if address.count("/") > 2 else address


@contextlib.contextmanager
def _server(variable: str, name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if os.environ.get(variable):
        yield os.environ[variable]
        return
    if not (REPOSITORY / "tests" / "servers.py").exists():
        if os.environ.get("CI"):
            pytest.fail(f"CI needs {variable}: no server is named and none can be started")
        pytest.skip(f"set {variable}")
    sys.path.insert(0, str(REPOSITORY))
    servers = importlib.import_module("tests.servers")
    with getattr(servers, name)(tmp_path_factory.mktemp(name)) as server:
        yield server.address


@pytest.fixture
def topic(kafka_broker: str) -> Iterator[str]:
    """A topic of the test's own, like job.events."""
    from confluent_kafka.admin import AdminClient, NewTopic

    name = f"em.{uuid.uuid4().hex[:12]}"
    admin = AdminClient({"bootstrap.servers": kafka_broker})
    config = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(2 << 20)}
    admin.create_topics([NewTopic(name, 8, 1, config=config)])[name].result(60)
    deadline = time.monotonic() + 30
    while len(admin.list_topics(name, timeout=10).topics[name].partitions) < 8:  # known to be made is not yet known
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield name
    admin.delete_topics([name])[name].result(30)


@pytest.fixture(scope="session")
def postgres_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """libpq connection string of a real PostgreSQL: JOBTIDE_TEST_POSTGRES, or one that is started here."""
    if os.environ.get("JOBTIDE_TEST_POSTGRES"):
        yield os.environ["JOBTIDE_TEST_POSTGRES"]
        return
    from postgres_server import running

    with running(tmp_path_factory.mktemp("postgres")) as dsn:
        yield dsn
