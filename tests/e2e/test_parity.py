"""`emitters/PARITY.md` is what the tests of the three languages say when they are run now."""

from __future__ import annotations

import subprocess

import pytest

from tests import parity


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_committed_table_is_what_the_three_languages_say() -> None:
    node = parity.EMITTERS / "node"
    if not (node / "dist").exists():
        subprocess.run(["npm", "run", "build", "--silent"], cwd=node, check=True, timeout=120)
    results, shown, failures = parity.measured()
    assert not failures, "\n".join(failures)
    assert parity.PARITY.read_text() == parity.rendered(results, shown, parity.vectors()), "stale: python -m tests.parity"
