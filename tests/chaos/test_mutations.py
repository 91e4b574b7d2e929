"""The judge of the fault runs notices a worker with one guarantee taken out. See tests/proof/mutations.py."""

import asyncio

import pytest

from tests.proof import mutations
from tests.proof.command import Servers


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("mutant", mutations.SHORT)
def test_a_mutant_is_caught(proof_servers: Servers, mutant: str) -> None:
    assert asyncio.run(mutations.caught(mutant, mutations.FAULTS[mutant], proof_servers))
