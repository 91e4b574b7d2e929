"""`emitters/PARITY.md` has every golden vector, and none that fails. Whether it is true is run in tests/e2e/test_parity.py."""

from __future__ import annotations

import json
import re

from tests import parity

ROOT = parity.ROOT


def test_the_table_has_every_vector_and_all_pass() -> None:
    committed = parity.PARITY.read_text()
    golden = parity.vectors()
    results: parity.Results = {language: {} for language in parity.LANGUAGES}
    for backend, language in re.findall(r"^\| (\w+) \| (python|ruby|node) \|", committed, re.MULTILINE):
        results[language][backend] = {mapping["name"]: "pass" for mapping in golden[backend]}
    shown = {capability.what: dict.fromkeys(parity.LANGUAGES, True) for capability in parity.CAPABILITIES}
    assert set().union(*results.values()) == set(golden)
    assert committed == parity.rendered(results, shown, golden), "stale: python -m tests.parity"


def test_the_versions_it_names_are_those_that_are_installed_for_tests() -> None:
    """Node's from its package, Python's from the constraints; Ruby's come from Debian."""
    node = json.loads((parity.EMITTERS / "node" / "package.json").read_bytes())["devDependencies"]
    pinned = dict(line.split("==", 1) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line and not line.startswith("#"))
    installed = {**node, **{name.lower(): version for name, version in pinned.items()}}
    compared = 0
    for backend, language, how in parity.EVIDENCE:
        if language in ("Node", "Python"):
            version = re.findall(r"\d+\.\d+$", how)[0]
            assert installed[backend.lower()].startswith(f"{version}."), (backend, installed[backend.lower()])
            compared += 1
    assert compared == 12
