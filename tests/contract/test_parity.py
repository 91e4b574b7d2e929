"""`emitters/PARITY.md` has every golden vector, and none that fails. Whether it is true is run in tests/e2e/test_parity.py."""

from __future__ import annotations

import re

from tests import parity


def test_the_table_has_every_vector_and_all_pass() -> None:
    committed = parity.PARITY.read_text()
    golden = parity.vectors()
    results: parity.Results = {language: {} for language in parity.LANGUAGES}
    for backend, language in re.findall(r"^\| (\w+) \| (python|ruby|node) \|", committed, re.MULTILINE):
        results[language][backend] = {mapping["name"]: "pass" for mapping in golden[backend]}
    shown = {capability.what: dict.fromkeys(parity.LANGUAGES, True) for capability in parity.CAPABILITIES}
    assert set().union(*results.values()) == set(golden)
    assert committed == parity.rendered(results, shown, golden), "stale: python -m tests.parity"
