"""Where a proof runs inside the test session: the session's servers, a directory of its own."""

from pathlib import Path

import pytest

from tests.proof.command import Servers


@pytest.fixture
def proof_servers(kafka_broker: str, redis_url: str, tmp_path: Path) -> Servers:
    return Servers(kafka_broker, redis_url, tmp_path)
