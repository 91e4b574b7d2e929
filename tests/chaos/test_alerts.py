"""The short forms of the alert proofs: processes killed while rules flap."""

import pytest

from tests.proof import alerts_kills, notifier_kills
from tests.proof.command import Servers


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_rules_say_the_same_when_their_worker_is_killed(proof_servers: Servers) -> None:
    figures = alerts_kills.run(False, proof_servers)
    assert figures["passed"], figures


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_everybody_is_told_once_when_the_notifier_is_killed(proof_servers: Servers) -> None:
    figures = notifier_kills.run(False, proof_servers)
    assert figures["passed"], figures
