"""The history writer's fingerprints are the emitters': one pattern, and the vectors whose messages hold no secrets."""

import json
from pathlib import Path

import pytest
from jobtide.access.redaction import MASK, RULES
from jobtide.sinks.fingerprints import VARYING, fingerprint

CONTRACT = Path(__file__).parents[2] / "emitters" / "contract"
VECTORS = [vector for path in sorted((CONTRACT / "vectors" / "fingerprints").glob("*.json")) for vector in json.loads(path.read_text())]
PLAIN = [v for v in VECTORS if "message" in v and v["secrets"] == v["message"]]


def test_the_pattern_is_the_contracts() -> None:
    assert json.loads((CONTRACT / "masking.json").read_text())["varying"] == VARYING


def test_the_audit_logs_rules_are_those_of_the_contract() -> None:
    rules = json.loads((CONTRACT / "masking.json").read_text())
    assert [(rule["pattern"], rule["ignore_case"]) for rule in rules["rules"]] == list(RULES) and rules["mask"] == MASK


@pytest.mark.parametrize("vector", PLAIN, ids=lambda v: v["why"][:60])
def test_vector(vector: dict[str, str]) -> None:
    assert fingerprint(vector["class"], vector["message"]) == vector["fingerprint"]


def test_there_are_enough_vectors() -> None:
    assert len(PLAIN) > 10
