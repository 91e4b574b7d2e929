"""Fixtures shared by all tests: one Kafka and one Valkey per test session, and a name of one's own on them."""

import uuid
from collections.abc import Iterator

import pytest

from tests import servers


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """The session's Apache Kafka. Do not kill it: a test that needs to starts its own with `servers.kafka`."""
    with servers.kafka(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_broker(kafka_server: servers.Server) -> str:
    """`host:port` of the session's Apache Kafka."""
    return kafka_server.address


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """The session's Valkey."""
    with servers.valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(valkey_server: servers.Server) -> str:
    """redis:// URL of the session's Valkey."""
    return valkey_server.address


@pytest.fixture
def prefix() -> str:
    """A prefix no other test has: for topics, consumer groups and Redis keys."""
    return f"t{uuid.uuid4().hex[:10]}."
