"""`jobtide replay`: what becomes of the events, how they are sent, what happens when the gateway is busy or away."""

import gzip
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jobtide.cli.main import cli
from jobtide.cli.replay import play
from jobtide.cli.replay.file import opened
from jobtide.cli.replay.history import backfill
from jobtide.cli.replay.post import Outcome, Sender
from jobtide.cli.replay.retime import Run, Timeline, run_name, start_of, tree_of
from jobtide.gateway.intake import Arrival, Intake, judge
from jobtide.streams.errors import ConfigError, ContractError, TransientError
from jobtide.streams.events import decode, lane_of, time_us

DAY_US = 86_400_000_000
ORIGIN = time_us("2013-01-01T00:00:00Z")


def line(kind: str, time_text: str, job_id: str = "7", **data: Any) -> bytes:
    """A short event."""
    event = {
        "type": kind,
        "time": time_text,
        "system": "grid",
        "queue": "q",
        "job_class": "c",
        "job_id": job_id,
        **data,
    }
    return json.dumps(event).encode()


def full(**changes: Any) -> bytes:
    key = "acme/celery/j1"
    event = {
        "specversion": "1.0", "id": "event-of-a-first-run", "source": "host/1", "type": "job.enqueued.v1",
        "subject": "j1", "time": "2013-01-01T00:00:00Z", "partitionkey": key, "epoch": "epoch-000001",
        "lane": lane_of(key), "seq": 7,
        "data": {"tenant": "acme", "system": "celery", "queue": "q", "job_class": "C", "job_id": "j1", "attempt": 1},
        **changes,
    }  # fmt: skip
    return json.dumps(event).encode()


def test_history_keeps_everything_but_the_mark() -> None:
    before, after = json.loads(full()), json.loads(backfill(full()))
    assert after == before | {"backfill": True}


@pytest.mark.parametrize(("bad", "reason"), [(b"{", "not_json"), (b"[]", "not_an_event"), (b"{}", "missing_field")])
def test_history_needs_events_with_a_time(bad: bytes, reason: str) -> None:
    with pytest.raises(ContractError) as refused:
        backfill(bad)
    assert refused.value.reason.value == reason


def retimed(lines: list[bytes], start_us: int = ORIGIN + 1000 * DAY_US, speed: float = 1.0, name: str = "a1") -> list[Any]:
    """The decoded events of a run over the lines."""
    run: Run | None = None
    events = []
    for number, raw in enumerate(lines, 1):
        at_us, tree = tree_of(raw)
        run = run or Run(name, Timeline(at_us, start_us, speed))
        event = run.retime(number, at_us, tree)
        if event is not None:
            events.append((event.due_us, decode(event.line)[0]))
    return events


def test_a_live_run_moves_times_and_divides_durations() -> None:
    start = ORIGIN + 1000 * DAY_US
    done = line("job.finished", "2013-01-01T01:00:00Z", worker_id="w", duration_ms=1_800_000, started_at="2013-01-01T00:30:00Z")
    (_, first), (due, last) = retimed([line("job.enqueued", "2013-01-01T00:00:00Z"), done], start, speed=60)
    assert first.time_us == start
    assert due == last.time_us == start + 60_000_000
    assert last.data.started_us == start + 30_000_000 and last.data.duration_ms == 30_000


def test_a_live_run_makes_new_jobs_that_stay_together() -> None:
    lines = [line("job.enqueued", "2013-01-01T00:00:00Z"), line("job.cancelled", "2013-01-01T00:00:01Z")]
    one, other = retimed(lines, name="a1"), retimed(lines, name="b2")
    assert {event.data.job_id for _, event in one} == {"7~a1"}
    assert {event.data.job_id for _, event in other} == {"7~b2"}
    ids = [event.id for _, event in one + other]
    assert len(set(ids)) == 4
    assert [event.id for _, event in retimed(lines, name="a1")] == ids[:2]


def test_long_job_ids_stay_apart() -> None:
    lines = [line("job.enqueued", "2013-01-01T00:00:00Z", job_id="x" * 250 + end) for end in "ab"]
    assert len({event.data.job_id for _, event in retimed(lines)}) == 2


def test_numbers_have_no_holes_although_some_lines_are_refused() -> None:
    lines = [line("job.enqueued", "2013-01-01T00:00:00Z", job_id=str(n)) for n in range(200)]
    bad = line("job.enqueued", "2013-01-01T00:00:00Z", attempt=0)
    run = Run("a1", Timeline(ORIGIN, ORIGIN, 1))
    numbers: dict[int, list[int]] = {}
    for number, raw in enumerate([entry for good in lines for entry in (good, bad)]):
        try:
            event = run.retime(number, *tree_of(raw))
        except ContractError:
            continue
        assert event is not None
        (one,) = decode(event.line)
        assert one.lane == lane_of(one.partitionkey)
        numbers.setdefault(one.lane, []).append(one.seq)
    assert all(found == list(range(len(found))) for found in numbers.values()) and len(numbers) > 30
    (farewell,) = run.farewell(ORIGIN)
    (stats,) = decode(farewell)
    assert stats.data.clean and stats.data.epoch == one.epoch
    assert stats.data.next == {str(lane): len(found) for lane, found in numbers.items()}


def test_worker_events_are_placed_by_the_gateway_and_name_the_runs_jobs() -> None:
    beat = {
        "type": "worker.heartbeat", "time": "2013-01-01T00:00:10Z", "system": "grid", "worker_id": "w",
        "running": [{"queue": "q", "job_id": "7", "attempt": 1, "started_at": "2013-01-01T00:00:00Z"}],
    }  # fmt: skip
    lines = [line("job.enqueued", "2013-01-01T00:00:00Z"), json.dumps(beat).encode(), full(type="emitter.stats.v1")]
    _, (_, event) = retimed(lines, start_us=ORIGIN)
    assert (event.lane, event.data.running[0].job_id, event.data.running[0].started_us) == (None, "7~a1", ORIGIN)


def test_what_a_live_run_sends_is_what_the_gateway_accepts() -> None:
    run = Run("a1", Timeline(ORIGIN, ORIGIN, 1))
    intake = Intake()
    for number, raw in enumerate([full(), line("job.enqueued", "2013-01-01T00:00:00Z")], 1):
        event = run.retime(number, *tree_of(raw))
        assert event is not None
        judge(number, event.line, Arrival(8, "", ""), intake)
    for farewell in run.farewell(ORIGIN):
        judge(3, farewell, Arrival(8, "", ""), intake)
    assert (intake.accepted, intake.rejected) == (4, [])  # two tenants say goodbye


def test_a_runs_name_says_when_it_began() -> None:
    assert start_of(run_name(ORIGIN + 123_456)) == ORIGIN + 123_000
    with pytest.raises(ConfigError, match="--run"):
        start_of("monday")


class Fake(ThreadingHTTPServer):
    """A gateway that answers as told and keeps what it got."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses: list[int] = []
        self.bodies: list[list[bytes]] = []
        self.guard = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def taken(self) -> list[bytes]:
        return [line for body in self.bodies for line in body]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Fake

    def do_POST(self) -> None:
        lines = self.rfile.read(int(self.headers["Content-Length"])).split(b"\n")
        with self.server.guard:
            status = self.server.statuses.pop(0) if self.server.statuses else 202
            if status == 202:
                self.server.bodies.append(lines)
        bad = [{"line": n, "reason": "r", "detail": "d"} for n, one in enumerate(lines, 1) if one == b"bad"]  # no more: random ids hold it, too
        body = json.dumps({"accepted": len(lines) - len(bad), "rejected": bad, "detail": "because"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status in (429, 503):
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def fake() -> Iterator[Fake]:
    server = Fake()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_busy_is_tried_again_and_too_large_is_halved(fake: Fake) -> None:
    fake.statuses = [429, 503, 500, 413, 202, 413, 202, 202]
    sender = Sender(fake.url, threading.Event())
    outcome = sender.send([(n, b"bad" if n == 3 else b"%d" % n) for n in range(1, 5)])
    assert outcome == Outcome(3, [(3, "r", "d")])
    assert fake.bodies == [[b"1", b"2"], [b"bad"], [b"4"]]


def test_an_answer_that_will_not_change_ends_it(fake: Fake) -> None:
    fake.statuses = [403]
    with pytest.raises(ConfigError, match="answered 403: because"):
        Sender(fake.url, threading.Event()).send([(1, b"x")])


def test_giving_up_is_possible_at_any_time() -> None:
    give_up = threading.Event()
    threading.Timer(0.2, give_up.set).start()
    begun = time.monotonic()
    with pytest.raises(TransientError, match="no answer"):
        Sender("http://127.0.0.1:1", give_up).send([(1, b"x")])
    assert time.monotonic() - begun < 10


def test_history_is_sent_whole_from_plain_and_gzipped_files(fake: Fake, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(play, "_BATCH_EVENTS", 10)
    lines = [line("job.enqueued", "2013-01-01T00:00:00Z", job_id=str(n)) for n in range(95)]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines) + b"\n\nnonsense")
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"\n".join(lines)))
    for name, refused in (("a.jsonl", [97]), ("a.gz", [])):
        fake.bodies.clear()
        with opened(str(tmp_path / name)) as file:
            total = play.play_history(file, fake.url, lambda total: None)
        assert total.accepted == 95 and [number for number, *_ in total.refused] == refused
        assert sorted(fake.taken) == sorted(backfill(one) for one in lines)
        assert max(map(len, fake.bodies)) == 10


def test_live_is_sent_in_time_order_at_its_pace(fake: Fake, tmp_path: Path) -> None:
    times = ["2013-01-01T00:00:30Z", "2013-01-01T00:00:00Z", "2013-01-01T00:00:10Z"]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(line("job.enqueued", text, job_id=str(n)) for n, text in enumerate(times)))
    now = time.time_ns() // 1000
    name = run_name(now)
    with opened(str(path)) as file:
        total = play.play_live(file, fake.url, name, 30, lambda total: None)
    ended = time.time_ns() // 1000
    events = [decode(one)[0] for one in fake.taken]
    assert total.accepted == 3
    assert [event.subject.partition("~")[0] for event in events] == ["1", "2", "0", "default"]
    assert events[2].time_us - events[0].time_us == 1_000_000  # 30 s at 30 times
    assert ended >= events[2].time_us and start_of(name) == events[0].time_us


def test_the_command_says_what_was_refused_and_fails(fake: Fake, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(line("job.enqueued", "2013-01-01T00:00:00Z") + b"\nnonsense\n")
    result = CliRunner().invoke(cli, ["replay", str(path), "--history", "--url", fake.url])
    assert result.exit_code == 1
    assert "1 events accepted" in result.output and "line 2: not_json" in result.output


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*No such file"), opened(str(tmp_path / "none")):
        pass
    (tmp_path / "cut.gz").write_bytes(gzip.compress(full() * 1000)[:-20])
    with opened(str(tmp_path / "cut.gz")) as file, pytest.raises(ConfigError, match="cannot be read to its end"):
        list(file.lines())
