"""The short form of D4: one worker, then four, then two, under load."""

import pytest

from tests.proof import d4_rebalance
from tests.proof.command import Servers


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_is_lost_or_doubled_when_workers_join_and_leave(proof_servers: Servers) -> None:
    figures = d4_rebalance.run(False, proof_servers)
    assert figures["passed"], figures
