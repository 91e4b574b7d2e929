"""The short forms of D3 for the history writer and the API: three SIGKILLs each, on a real ClickHouse server."""

import pytest

from tests.clickhouse_server import why_not
from tests.proof import d3_api, d3_history
from tests.proof.command import Servers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(why_not() is not None, reason=why_not() or ""),
]


def test_history_is_exact_after_its_writer_was_killed(proof_servers: Servers) -> None:
    figures = d3_history.run(False, proof_servers)
    assert figures["passed"], figures


def test_the_api_answers_again_and_right_after_it_was_killed(proof_servers: Servers) -> None:
    figures = d3_api.run(False, proof_servers)
    assert figures["passed"], figures
