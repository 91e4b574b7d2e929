"""The short form of D11: stuck work is found, named rightly, and the same after both stages were killed."""

import pytest

from tests.proof import d11_stuck, report
from tests.proof.command import Servers


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_stuck_work_is_found_and_nothing_else(proof_servers: Servers) -> None:
    found = d11_stuck.run(False, proof_servers)
    assert found["passes"], "\n".join([report.table(report.rows_of(found)), *found["wrong"]])
