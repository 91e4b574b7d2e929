"""The mapping vectors: what a backend's hook was given, and the exact events that must follow.

The hooks are called with real objects of the backend where it has plain ones (Celery's Context, Dramatiq's Message) and
with stand-ins where an object needs a server (RQ's Job). That real workers give the hooks just these things is tested
in `test_real_workers`. With JOBTIDE_PARITY_DIR the results are written there as python.json, {backend: {vector: "pass" |
"fail"}}, for the table of all languages.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dramatiq
import jobtide_emitter
import pytest
from celery.app.task import Context
from dramatiq.broker import MessageProxy
from jobtide_emitter import dramatiq as dramatiq_hooks
from jobtide_emitter.celery import lost, publishing, running
from jobtide_emitter.rq import attempts, enqueueing, outcomes
from jobtide_emitter.transports.memory import MemoryTransport

VECTORS = Path(__file__).parents[2] / "contract" / "vectors" / "mappings"
BACKENDS = ("celery", "dramatiq", "rq")  # the others' are played in their own languages
MAPPINGS = [mapping for backend in BACKENDS for mapping in json.loads((VECTORS / f"{backend}.json").read_text())]
Step = dict[str, Any]


class Play:
    """Plays the steps of one mapping; keeps the objects that live longer than a step."""

    def step(self, step: Step) -> dict[str, Any]:
        """Calls the hook of a step; returns what it wrote into the backend's own data, as `injects` has it."""
        raise NotImplementedError


def exception_of(native: dict[str, Any] | None) -> Exception | None:
    if not native:
        return None
    kind: type[Exception] = {"ValueError": ValueError}[native["class"]]
    return kind(native["message"])


class PlayCelery(Play):
    def __init__(self) -> None:
        self.requests: dict[str, Context] = {}
        publishing.running_here.clear()

    def step(self, step: Step) -> dict[str, Any]:
        native = step["native"]
        task: Any = SimpleNamespace(name=native.get("sender"), max_retries=None, request=self._request(native))
        hook: Callable[[], Any] = {
            "before_task_publish": lambda: publishing.before_publish(**native),
            "after_task_publish": lambda: publishing.after_publish(**native),
            "task_prerun": lambda: running.prerun(task=task),
            "task_success": lambda: running.success(sender=task),
            "task_failure": lambda: running.failure(
                sender=task, task_id=native["task_id"], exception=exception_of(native["exception"]), einfo=einfo(native)
            ),
            "task_retry": lambda: running.retry(sender=task, request=task.request, reason=reason(native), einfo=einfo(native)),
            "task_postrun": lambda: running.postrun(task=task, state=native["state"]),
            "task_revoked": lambda: lost.revoked(sender=task, request=task.request, terminated=native["terminated"], expired=native["expired"]),
        }[step["hook"]]
        hook()
        return {"headers": {"jobtide_enqueued_at": (native.get("headers") or {}).get("jobtide_enqueued_at")}}

    def _request(self, native: dict[str, Any]) -> Context | None:
        facts = native.get("request")
        job_id = native.get("task_id") or (facts or {}).get("id")
        if facts is not None and job_id not in self.requests:
            self.requests[job_id] = Context(facts)
        return self.requests.get(job_id)


def einfo(native: dict[str, Any]) -> Any:
    return SimpleNamespace(traceback=native.get("traceback"))


def reason(native: dict[str, Any]) -> Any:
    when = native["when"]
    moment = datetime.fromisoformat(when) if isinstance(when, str) else when
    return SimpleNamespace(exc=exception_of(native["exception"]), when=moment)


class PlayRq(Play):
    def __init__(self) -> None:
        self.jobs: dict[str, Any] = {}

    def step(self, step: Step) -> dict[str, Any]:
        native, job = step["native"], self._job(step["native"])
        worker: Any = SimpleNamespace(
            _stopped_job_id=job.id if step["hook"] == "stopped" else None,
            connection=Counter(job),
            **native.get("worker", {}),
        )
        queue: Any = SimpleNamespace(is_async=True)
        if step["hook"] == "enqueue":
            enqueueing.after_enqueue(enqueueing.before_enqueue(queue, job), None, queue, job)
        elif step["hook"] == "schedule":
            token = enqueueing.before_schedule(queue, job, datetime.fromisoformat(native["datetime"]))
            enqueueing.after_schedule(token, None, queue, job)
        elif step["hook"] == "cancel":
            enqueueing.cancelled(enqueueing.before_removal(job), None, job)
        elif step["hook"] == "perform":
            attempts.count_attempt(None, None, worker, job)
            job.worker_name = worker.name
            outcomes.started(job)
        else:
            self._end(step["hook"], native, worker, queue, job)
        return {"fields": {"jobtide_attempts": attempts.state_of(job).attempts}}

    def _end(self, hook: str, native: dict[str, Any], worker: Any, queue: Any, job: Any) -> None:
        outcomes.body_returned(worker, job)
        if hook == "success":
            outcomes.succeeded(None, None, worker, job)
            return
        if hook == "failure":
            error = exception_of(native["exception"])
            outcomes.raised(worker, job, type(error), error, None)
            attempts.state_of(job).error = {**attempts.state_of(job).error, "backtrace": native["traceback"]}
        token = outcomes.before_failure(worker, job)
        if native.get("retry"):
            now = datetime.fromisoformat(jobtide_emitter.moments.text_of(time.time_ns() // 1000))
            run_at = now.timestamp() + native["retry_interval_s"]
            enqueueing.before_schedule(queue, job, datetime.fromtimestamp(run_at, tz=now.tzinfo))
        outcomes.after_failure(token, None, worker, job)
        outcomes.outcome_done(worker)

    def _job(self, native: dict[str, Any]) -> Any:
        facts = dict(native["job"])
        fields, status = facts.pop("fields"), facts.pop("status")
        job = self.jobs.get(facts["id"])
        if job is None:
            job = self.jobs[facts["id"]] = SimpleNamespace(key="rq:job:1", func=None, started_at=None, **facts)
            job.enqueued_at = facts["enqueued_at"] and datetime.fromisoformat(facts["enqueued_at"])
            attempts.load_state(None, None, job, {name.encode(): str(value).encode() for name, value in fields.items()})
        job.get_status = lambda refresh: status
        return job


class Counter:
    """The one command that the hooks send to Redis themselves."""

    def __init__(self, job: Any) -> None:
        self.job = job

    def hincrby(self, key: str, field: str, amount: int) -> int:
        assert (key, field) == (self.job.key, "jobtide_attempts")
        return attempts.state_of(self.job).attempts  # the hook has counted locally, in case Redis fails


class PlayDramatiq(Play):
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.middleware = dramatiq_hooks.JobtideMiddleware()
        self.monkeypatch = monkeypatch
        self.broker: Any = SimpleNamespace(actors={})

    def step(self, step: Step) -> dict[str, Any]:
        native = step["native"]
        facts = {**native["message"], "args": tuple(native["message"]["args"])}
        message: Any = dramatiq.Message(**facts)
        worker = native.get("worker", {"hostname": "web-1", "pid": 4242})
        self.monkeypatch.setattr(dramatiq_hooks, "_worker_id", lambda: f"{worker['hostname']}:{worker['pid']}")
        if step["hook"] == "after_enqueue":
            self.middleware.before_enqueue(self.broker, message, native["delay"])
            self.middleware.after_enqueue(self.broker, message, native["delay"])
        elif step["hook"] == "after_process_message":
            self.monkeypatch.setattr(jobtide_emitter.bounds, "_backtrace", lambda *_: native.get("traceback"))
            error = exception_of(native["exception"])
            self.middleware.after_process_message(self.broker, MessageProxy(message), exception=error)
        else:
            getattr(self.middleware, step["hook"])(self.broker, MessageProxy(message))
        return {"options": {name: value for name, value in message.options.items() if name.startswith("jobtide")}}


@pytest.fixture
def play(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Play:
    backend = request.getfixturevalue("mapping")["backend"]
    return {"celery": PlayCelery, "rq": PlayRq, "dramatiq": lambda: PlayDramatiq(monkeypatch)}[backend]()


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, dict[str, str]]]:
    """What became of each vector."""
    found: dict[str, dict[str, str]] = {}
    yield found
    if directory := os.environ.get("JOBTIDE_PARITY_DIR"):
        (Path(directory) / "python.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


@pytest.mark.parametrize("mapping", MAPPINGS, ids=lambda mapping: f"{mapping['backend']}-{mapping['name']}")
def test_native_becomes_exactly_these_events(
    mapping: dict[str, Any], play: Play, memory: MemoryTransport, monkeypatch: pytest.MonkeyPatch, no_errors: None,
    results: dict[str, dict[str, str]],
) -> None:  # fmt: skip
    of_backend = results.setdefault(mapping["backend"], {})
    of_backend[mapping["name"]] = "fail"
    emitter = jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=0, **mapping["settings"])
    clock: dict[str, int] = {}
    monkeypatch.setattr(time, "time_ns", lambda: clock["wall_us"] * 1000)
    monkeypatch.setattr(time, "monotonic_ns", lambda: clock["monotonic_ns"])
    for step in mapping["steps"]:
        clock.update(step["clock"])
        wrote = play.step(step)
        for part, expected in step.get("injects", {}).items():
            assert wrote[part] == expected
    assert emitter.flush(5000)
    made = sorted(memory.events, key=lambda event: int(event["seq"]))
    assert [trimmed(event) for event in made] == mapping["events"]
    of_backend[mapping["name"]] = "pass"


def trimmed(event: dict[str, Any]) -> dict[str, Any]:
    """What the vectors say. Fingerprints are optional, and tested in test_masking."""
    if "error" in event["data"]:
        event["data"]["error"].pop("fingerprint", None)
    return {member: event[member] for member in ("type", "time", "partitionkey", "traceparent", "data") if member in event}
