"""The short forms of the proofs about questions to history. What each shows is in its module, tests/proof/NAME.py."""

import importlib

import pytest

from tests.proof import bars, report


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["why_slow_causes", "d16_questions"])
def test_short_form_passes(name: str) -> None:
    found = importlib.import_module(f"tests.proof.{name}").run(False)
    print(report.table(bars.rows_of("", found)))
    assert found["passes"], "\n".join(found["wrong"][:20]) or report.table(bars.rows_of("", found))
