"""The short form of D3 for the stages: three SIGKILLs and a zombie under load."""

import pytest

from tests.proof import d3_kills
from tests.proof.command import Servers


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_is_lost_or_doubled_when_workers_are_killed_and_frozen(proof_servers: Servers) -> None:
    figures = d3_kills.run(False, proof_servers)
    assert figures["passed"], figures
