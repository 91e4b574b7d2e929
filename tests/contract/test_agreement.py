"""The decoder and the JSON Schema accept and refuse the same events, over ten thousand generated ones."""

from __future__ import annotations

import json
import re
from collections import Counter
from random import Random
from typing import Any

import jsonschema_rs
import orjson
import pytest
from jobtide.streams.errors import ContractError
from jobtide.streams.events import MAX_EVENT_BYTES, Job, Reason, decode, decode_job, is_job

from tests.contract import generated, vectors

VALIDATOR = jsonschema_rs.Draft202012Validator(vectors.schema(), validate_formats=True)
SEED = 20261122
MEMBERS = (
    "kind", "epoch", "lane", "seq", "backfill", "time_us", "tenant", "environment", "system", "queue", "job_class", "job_id", "attempt",
    "worker_id", "duration_ms", "enqueued_us", "started_us", "run_us",
)  # fmt: skip


def verdict(value: bytes) -> Reason | None:
    """Why it is refused, if it is; the short way for plain values must say the same or nothing."""
    plain = decode_job(value)
    try:
        events = decode(value)
    except ContractError as refused:
        assert plain is None, value
        return refused.reason
    if plain is not None:
        (event,) = events
        assert is_job(event)
        judged = Job(event, True)
        assert [getattr(plain, name) for name in MEMBERS] == [getattr(judged, name) for name in MEMBERS], value
        assert plain.data() == event.data, value
    return None


def plainly(tree: Any) -> Any:
    """Without characters that JSON escapes."""
    if isinstance(tree, dict):
        return {plainly(key): plainly(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [plainly(item) for item in tree]
    return re.sub(r'[^ -~]|["\\\\]', "x", tree) if isinstance(tree, str) else tree


def test_decoder_and_schema_agree_on_ten_thousand_events() -> None:
    verdicts: Counter[Reason | None] = Counter()
    types: Counter[str] = Counter()
    plain = 0
    for number, (tree, value) in enumerate(generated.events(10_000, SEED)):
        reason = verdict(value)
        accepted = VALIDATOR.is_valid(tree) and len(value) <= MAX_EVENT_BYTES
        said = f"event {number} of seed {SEED}: schema {accepted}, decoder {reason or 'accepts'}: {value[:2000]!r}"
        assert accepted == (reason is None), said
        verdicts[reason] += 1
        types[tree.get("type") if reason is None else "refused"] += 1
        written_plainly = json.dumps(plainly(tree)).encode()
        verdict(written_plainly)
        plain += decode_job(written_plainly) is not None
    assert verdicts[None] >= 2_000 and plain >= 1_000
    assert verdicts.total() - verdicts[None] >= 2_000
    often = {reason for reason, count in verdicts.items() if count >= 5}
    assert often >= {
        Reason.UNSUPPORTED_VERSION, Reason.UNKNOWN_TYPE, Reason.MISSING_FIELD, Reason.WRONG_TYPE, Reason.OUT_OF_BOUNDS,
        Reason.BAD_NAME, Reason.BAD_TIME, Reason.PARTIAL_SEQUENCE,
    }  # fmt: skip
    assert all(types[name] >= 50 for name in generated.TYPES)


def test_they_agree_on_damaged_bytes() -> None:
    """Bytes flipped, removed, doubled: what is still JSON is judged the same, what is not is `not_json` or too deep."""
    random = Random(SEED)
    verdicts: Counter[Reason | None] = Counter()
    for tree, value in generated.events(5_000, SEED + 1):
        damaged = damage(random, json.dumps(tree, separators=(",", ":")).encode() if random.random() < 0.5 else value)
        reason = verdict(damaged)
        try:
            parsed = orjson.loads(damaged)
        except ValueError:
            assert reason is not None, damaged
        else:
            if isinstance(parsed, list):
                continue
            accepted = VALIDATOR.is_valid(parsed) and len(damaged) <= MAX_EVENT_BYTES
            assert accepted == (reason is None), (reason, damaged[:2000])
        verdicts[reason] += 1
    assert verdicts[None] >= 200
    assert verdicts[Reason.NOT_JSON] >= 200


def damage(random: Random, value: bytes) -> bytes:
    at = random.randrange(len(value))
    before, after = value[:at], value[at:]
    intruder = random.choice([b'"', b"\\", b"{", b"[", b",", b"\x00", b"\xff", b"\\u0000", b"9", b"e9"])
    flipped = bytes([random.randrange(256)])
    return random.choice([before, before + after[1:], before + flipped + after[1:], before + intruder + after])


@pytest.mark.parametrize("bound", ["id", "seq", "job_class", "attempt"])
def test_a_bound_moved_in_the_schema_alone_is_noticed(bound: str) -> None:
    """The agreement test can fail: each of these, moved by one, is hit within the generated events."""
    moved = vectors.schema()
    node = {
        "id": moved["properties"]["id"],
        "seq": moved["properties"]["seq"],
        "job_class": moved["$defs"]["name"],
        "attempt": moved["$defs"]["attempt"],
    }[bound]
    for key in ("maxLength", "maximum"):
        if key in node:
            node[key] -= 1
    validator = jsonschema_rs.Draft202012Validator(moved, validate_formats=True)
    disagreed = sum(
        validator.is_valid(tree) != (verdict(value) is None) for tree, value in generated.events(2_000, SEED)
    )
    assert disagreed > 0
