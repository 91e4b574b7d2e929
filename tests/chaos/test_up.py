"""The short form of the proof of `jobtide up`: each child and `up` itself killed once under HTTP load."""

import pytest

from tests.proof import up_kills
from tests.proof.command import Servers


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_exact_through_sigkill_of_every_child_and_of_up(proof_servers: Servers) -> None:
    figures = up_kills.run(False, proof_servers)
    assert figures["passed"], figures
