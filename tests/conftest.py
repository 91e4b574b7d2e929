"""Fixtures shared by all tests: one Kafka and one Valkey per test session, and a name of one's own on them."""

import uuid
from collections.abc import Iterator

import pytest
from jobtide.sinks.clickhouse.connection import connect
from jobtide.streams import compiled
from jobtide.streams.settings import Settings

from tests import clickhouse_server as clickhouse_servers
from tests import servers


def pytest_report_header() -> str:
    hint = "" if compiled.active or compiled.PURE else " (not compiled since it was edited, or no C compiler: `make setup`)"
    return f"jobtide's hot path: {compiled.form()}{hint}"


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


@pytest.fixture(scope="session")
def chdb_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The session's embedded engine. A process can have one directory only: tests share it and keep apart by database names."""
    settings = Settings(clickhouse_url=f"chdb://{tmp_path_factory.mktemp('chdb')}")
    keeper = connect(settings, "", 60)  # with the last client the engine would stop, and start again with the next
    yield settings.clickhouse_url
    keeper.close()


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """The session's ClickHouse HTTP server. A test that needs to kill one starts its own."""
    if reason := clickhouse_servers.why_not():
        pytest.skip(reason)
    with clickhouse_servers.clickhouse(tmp_path_factory.mktemp("clickhouse")) as server:
        yield server


@pytest.fixture(params=["chdb", "server"])
def clickhouse_url(request: pytest.FixtureRequest) -> str:
    """Each engine in turn, for what must hold on both."""
    if request.param == "chdb":
        return str(request.getfixturevalue("chdb_url"))
    return str(request.getfixturevalue("clickhouse_server").address)


@pytest.fixture
def history_settings(clickhouse_url: str) -> Settings:
    """Settings for a database of one's own on each engine; nothing is in it yet."""
    return Settings(clickhouse_url=clickhouse_url, clickhouse_database=f"t{uuid.uuid4().hex[:10]}", partitions=2)


@pytest.fixture
def prefix() -> str:
    """A prefix no other test has: for topics, consumer groups and Redis keys."""
    return f"t{uuid.uuid4().hex[:10]}."
