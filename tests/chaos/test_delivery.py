"""The short form of: Faust loses one fetched batch in twenty and repeats another."""

import pytest

from tests.proof import lossy_delivery
from tests.proof.command import Servers


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_every_hole_is_read_again(proof_servers: Servers) -> None:
    figures = lossy_delivery.run(False, proof_servers)
    assert figures["passed"], figures
