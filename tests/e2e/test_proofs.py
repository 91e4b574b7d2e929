"""The short forms of the end-to-end proofs: real workers, the real trace, live latency, the same history three times.

What each of them shows is in its module, tests/proof/NAME.py; the long forms are run by `python -m tests.proof.bars --full`.
"""

import importlib

import pytest

from tests.proof import report, trace


def _passes(name: str) -> None:
    found = importlib.import_module(f"tests.proof.{name}").run(False)
    print(report.table(report.rows_of(found)))
    assert found["passes"], "\n".join(found["wrong"][:20]) or report.table(report.rows_of(found))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name", ["d1_backends", "d1_languages", "d10_waits", "d15_hot_path", "d20_privacy", "ends", "outage", "live_latency", "d16_history"]
)
def test_short_form_passes(name: str) -> None:
    _passes(name)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_real_trace() -> None:
    if trace.find() is None:
        pytest.skip(trace.why_not())
    _passes("d1_trace")
