"""The short forms of the end-to-end proofs: real workers, live latency, the same history three times.

The real trace (d1_trace) is only run by `make bars` for now: the history needs minutes to recompute a backfill of three months.

What each of them shows is in its module, tests/proof/NAME.py; the long forms are run by `python -m tests.proof.bars --full`.
"""

import importlib

import pytest

from tests.proof import report


def _passes(name: str) -> None:
    found = importlib.import_module(f"tests.proof.{name}").run(False)
    print(report.table(report.rows_of(found)))
    assert found["passes"], "\n".join(found["wrong"][:20]) or report.table(report.rows_of(found))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["d1_backends", "live_latency", "d16_history"])
def test_short_form_passes(name: str) -> None:
    _passes(name)
