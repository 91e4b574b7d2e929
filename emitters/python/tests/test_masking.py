"""Secrets planted in arguments, messages and backtraces leave nowhere with the default settings; and what masks do to a job's time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import jobtide_emitter
import orjson
import pytest
from jobtide_emitter import bounds, masking, running
from jobtide_emitter.settings import Settings
from jobtide_emitter.transports.memory import MemoryTransport

SECRET = "hunter2-Zq83kd0Lw7"
PLANTED = [
    f"password={SECRET}",
    f"login failed: password is {SECRET}, user bob",
    f"DB_PASSWORD: {SECRET}",
    f'{{"api_key": "{SECRET}", "id": 7}}',
    f"stripe_secret='{SECRET}'",
    f"Authorization: Bearer {SECRET}",
    f"401 for Bearer {SECRET}0123456789",
    f"cannot connect to postgres://app:{SECRET}@db.internal:5432/shop",
    f"redis://:{SECRET}@cache",
    f"unexpected value '{SECRET}'",
    f'unexpected value "{SECRET}" in row 7',
    f"bad row {{'pin': {SECRET}}}",
    f"token={SECRET}&user=7",
    f"Cookie: {SECRET}",
    "key sk_live_" + SECRET.replace("-", ""),
    f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
    f"opaque {SECRET.replace('-', '')}AbCdEf0123",
]


@pytest.mark.parametrize("text", PLANTED)
def test_a_planted_secret_is_masked(text: str) -> None:
    assert SECRET not in masking.masked(text, "strict")
    assert SECRET.replace("-", "") not in masking.masked(text, "strict")
    assert masking.MASK in masking.masked(text, "strict")
    assert masking.masked(text, "off") == text


@pytest.mark.parametrize("text", ["4111 1111 1111 1111", "4111111111111111", "bob.smith+x@example.co.uk", "eyJhbGciOi.eyJzdWIiOi.SflKxwRJ"])
def test_what_identifies_people_and_accounts_is_masked(text: str) -> None:
    assert masking.masked(f"for {text}, sorry", "secrets") == f"for {masking.MASK}, sorry"


@pytest.mark.parametrize(
    "text",
    [
        "no such invoice 17",
        "connection refused: db.internal:5432",
        "timed out after 30.5 seconds",
        "job 7f0c9e2a-5d1b-4c3e-9a88-1c2d3e4f5a6b is gone",
        "division by zero",
        "[Errno 2] No such file or directory: /srv/app/shop/templates/invoice.html",
    ],
)
def test_what_people_need_stays(text: str) -> None:
    assert masking.masked(text, "strict") == text


def test_names_of_the_program_stay_though_they_are_quoted() -> None:
    assert bounds.error_of(ModuleNotFoundError("No module named 'shop'"), "full")["message"] == "No module named 'shop'"
    assert bounds.error_of(KeyError("hunter2"), "full")["message"] == f"'{masking.MASK}'"


ENDLESS = [
    "x", "a1", "-", "a@", "password", "'", '"', "{", "://",
    "eyJ.", "1 ", "-----BEGIN A-----", "a:", "\\", "a=", "{{} ", "{a{}", "é@", "eyJ-", "password is ",
]  # fmt: skip


@pytest.mark.parametrize("word", ENDLESS)
def test_no_message_costs_a_job_its_time(word: str) -> None:
    began = time.perf_counter()
    bounds.error_of(ValueError(word * (100_000 // len(word))), "full")
    assert time.perf_counter() - began < 0.25


def boom(secret: str) -> None:
    raise ValueError(f"no account for {secret!r}")


def test_a_backtrace_has_frames_but_no_source() -> None:
    try:
        boom("hunter2")  # a comment: hunter2
    except ValueError as error:
        facts = bounds.error_of(error, "full")
        import traceback

        given = bounds.error_of(error, "full", backtrace="".join(traceback.format_exception(error)))
    for text in (facts["backtrace"], given["backtrace"]):
        assert "hunter2" not in text
        assert "in boom" in text
        assert "test_masking.py" in text
    assert "hunter2" in bounds.error_of(error_of("hunter2"), "full", "off")["message"]


def error_of(text: str) -> ValueError:
    return ValueError(text)


def test_fingerprints_group_what_differs_only_in_what_varies() -> None:
    same = [f"no invoice {n} for 'user-{n}' at 0x{n:x} in 7f0c9e2a-5d1b-4c3e-9a88-{n:012d}\nsecond line {n}" for n in (17, 4711)]
    first, second = (bounds.error_of(ValueError(text), "full")["fingerprint"] for text in same)
    assert first == second
    assert len(first) == 16
    assert first != bounds.error_of(KeyError(same[0]), "full")["fingerprint"]
    assert first != bounds.error_of(ValueError("other"), "full")["fingerprint"]


CONTRACT = Path(__file__).parents[2] / "contract"


def vectors(folder: str) -> list[Any]:
    found = [vector for path in sorted((CONTRACT / "vectors" / folder).glob("*.json")) for vector in json.loads(path.read_bytes())]
    assert len(found) >= 10
    return found


def test_the_rules_are_the_contracts() -> None:
    rules = [{"name": name, "pattern": pattern, "ignore_case": ignore_case} for name, pattern, ignore_case in masking.RULES]
    here = {"mask": masking.MASK, "rules": rules, "quoted": masking.QUOTED, "varying": masking.VARYING}
    assert here == json.loads((CONTRACT / "masking.json").read_bytes())


@pytest.mark.parametrize("vector", vectors("fingerprints"), ids=lambda vector: vector["why"])
def test_messages_are_masked_and_grouped_as_in_every_language(vector: dict[str, Any]) -> None:
    text = vector["message"] if "message" in vector else "".join(part * times for part, times in vector["parts"])
    for level in ("strict", "secrets", "off"):
        facts = bounds.message_of(vector["class"], text, level)
        assert facts["fingerprint"] == vector["fingerprint"], level
        if level != "off":
            made = facts["message"]
            digest = {"sha256": sha256(made.encode()).hexdigest(), "chars": len(made)}
            assert (made if "message" in vector else digest) == vector[level]


@pytest.mark.parametrize("vector", vectors("arguments"), ids=lambda vector: vector["why"])
def test_arguments_are_masked_as_in_every_language(vector: dict[str, Any]) -> None:
    names = vector.get("args_mask", Settings().args_mask)
    assert masking.Arguments("*", names).shown(vector["value"]) == vector["shown"]


def delivered(memory: MemoryTransport) -> str:
    assert jobtide_emitter.flush(5000)
    return orjson.dumps(memory.events).decode()


def start(emitter: jobtide_emitter.Emitter, job_class: str) -> dict[str, Any]:
    job = emitter.job("cron", "q", job_class, "1")
    args: tuple[Any, ...] = (7, SECRET, {"card_number": SECRET, "note": f"token={SECRET}"}, [object()])
    emitter.job_started(job, "w", args_preview=emitter.preview(job, args, {"password": SECRET, "depth": [[[[[[[1]]]]]]]}))
    return job.facts


def test_arguments_are_off_by_default(memory: MemoryTransport) -> None:
    start(jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=0), "shop.mail")
    assert "args_preview" not in delivered(memory)


@pytest.mark.parametrize(("allowed", "seen"), [("shop.mail", True), ("other, shop.mail", True), ("*", True), ("shop.mailer", False)])
def test_arguments_of_allowed_classes_are_masked(memory: MemoryTransport, allowed: str, seen: bool, no_errors: None) -> None:
    start(jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=0, args=allowed), "shop.mail")
    text = delivered(memory)
    assert ("args_preview" in text) == seen
    if seen:
        preview = orjson.loads(memory.of("job.started")[0]["data"]["args_preview"])
        assert preview["args"][0] == 7
        assert preview["args"][2] == {"card_number": masking.MASK, "note": f"token={masking.MASK}"}
        assert preview["args"][3] == ["object"]
        assert preview["kwargs"]["password"] == masking.MASK


@pytest.mark.parametrize("text", PLANTED)
def test_secrets_in_errors_leave_nowhere_by_default(memory: MemoryTransport, text: str, no_errors: None) -> None:
    jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=0)
    with pytest.raises(ValueError), running("q", "c"):
        raise ValueError(text)
    sent = delivered(memory)
    assert "job.failed" in sent
    assert SECRET not in sent
    assert SECRET.replace("-", "") not in sent


def test_a_release_is_told_to_every_partition(memory: MemoryTransport, no_errors: None) -> None:
    emitter = jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=0, release="2026.11.22-3", heartbeat_ms=100)
    emitter.worker("cron", "w", ["q"], 1, list)
    until(lambda: len(memory.of("worker.heartbeat")) >= 24)
    marks = memory.of("deploy.marked")
    assert sorted(event["lane"] % 8 for event in marks) == list(range(8))
    assert {(event["data"]["release"], event["data"]["system"]) for event in marks} == {("2026.11.22-3", "cron")}


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
