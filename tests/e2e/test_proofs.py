"""The short forms of the end-to-end proofs: real workers, the real trace, live latency, the same history three times.

What each of them shows is in its module, tests/proof/NAME.py; the long forms are run by `python -m tests.proof.bars --full`.
"""

import importlib
from collections.abc import Iterator

import pytest

from tests.proof import d1_backends, report, trace


def _passes(name: str) -> None:
    found = importlib.import_module(f"tests.proof.{name}").run(False)
    print(report.table(report.rows_of(found)))
    assert found["passes"], "\n".join(found["wrong"][:20]) or report.table(report.rows_of(found))


@pytest.fixture(scope="class")
def one_installation() -> Iterator[None]:
    with d1_backends.sharing():
        yield


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("one_installation")
class TestOnOneInstallation:
    """Proofs of real workers, each under tenants of its own."""

    @pytest.mark.parametrize("name", ["d1_backends", "d1_languages", "d10_waits", "d20_privacy", "ends"])
    def test_short_form_passes(self, name: str) -> None:
        _passes(name)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["d15_hot_path", "outage", "live_latency", "d16_history"])
def test_short_form_passes(name: str) -> None:
    _passes(name)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_real_trace() -> None:
    if trace.find() is None:
        pytest.skip(trace.why_not())
    _passes("d1_trace")
