"""`up`'s supervisor with small real processes: order, restarts, refusals, the end."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from jobtide.cli.embedded import claim
from jobtide.cli.embedded.process import LOG_LIMIT_BYTES, Command, Process, trim
from jobtide.cli.up.data import DataDirectory
from jobtide.cli.up.plan import Part, Plan
from jobtide.cli.up.supervisor import Stopped, Supervisor
from jobtide.streams.errors import ConfigError

# Says when it starts and ends, in one file for all; marks itself ready.
SCRIPT = """
trap 'echo "-$0" >> {log}; exit 0' TERM
echo "+$0" >> {log}
touch {here}/$0.ready
while :; do sleep 0.02; done
"""


class Lab:
    """A directory with parts whose starts and ends are written down."""

    def __init__(self, here: Path) -> None:
        self.here = here
        self.log = here / "order"
        self.told: list[str] = []

    def part(self, name: str, script: str = SCRIPT, once: bool = False) -> Part:
        argv = ["sh", "-c", script.format(log=self.log, here=self.here), name]
        process = Process(Command(name, argv, grace_s=2), self.here / "run", self.here / "logs")
        ready = self.here / f"{name}.ready"
        return Part(process, ready.exists if not once else (lambda: True), deadline_s=20, once=once)

    def supervisor(self, *stages: list[Part]) -> Supervisor:
        return Supervisor(Plan({}, list(stages)), self.told.append)

    def order(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def until(condition: Callable[[], bool], deadline_s: float = 15) -> None:
    limit = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < limit, "did not happen in time"
        time.sleep(0.01)


def test_stages_start_in_order_and_stop_in_reverse(lab: Lab) -> None:
    once = lab.part("once", "echo once >> {log}", once=True)
    supervisor = lab.supervisor([lab.part("a")], [once], [lab.part("b")])
    supervisor.start()
    supervisor.stop()
    assert lab.order() == ["+a", "once", "+b", "-b", "-a"]
    assert [line.split()[:2] for line in lab.told] == [["a", "ready"], ["once", "ready"], ["b", "ready"]]


def test_a_crashed_part_is_started_again(lab: Lab) -> None:
    part = lab.part("a")
    supervisor = lab.supervisor([part])
    supervisor.start()
    first = part.process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    until(lambda: supervisor.tick() is None and part.process.pid not in (None, first))
    assert any("SIGKILL" in line for line in lab.told)
    until(lambda: lab.order() == ["+a", "+a"])
    supervisor.stop()
    assert lab.order() == ["+a", "+a", "-a"]


def test_a_part_that_refuses_its_settings_ends_up_with_its_sentence(lab: Lab) -> None:
    refusing = lab.part("worker", "echo 'jobtide: JOBTIDE_X is wrong: mend it' >&2; exit 2")
    supervisor = lab.supervisor([lab.part("a")], [refusing])
    with pytest.raises(ConfigError, match=r"^worker: JOBTIDE_X is wrong: mend it$"):
        supervisor.start()
    supervisor.stop()
    assert lab.order() == ["+a", "-a"]


def test_a_part_that_keeps_crashing_at_the_start_is_given_up_with_its_last_lines(lab: Lab) -> None:
    supervisor = lab.supervisor([lab.part("a", "echo no luck; exit 1")])
    with pytest.raises(ConfigError, match=r"(?s)a keeps ending: see .*a\.log.*no luck"):
        supervisor.start()
    supervisor.stop()


def test_asked_to_stop_while_starting(lab: Lab) -> None:
    supervisor = lab.supervisor([lab.part("a", "while :; do sleep 0.02; done")])
    threading.Timer(0.3, supervisor.ask_to_stop).start()
    with pytest.raises(Stopped):
        supervisor.start()
    supervisor.stop()


def test_a_deaf_part_is_killed_with_everything_it_started(lab: Lab) -> None:
    part = lab.part("a", "trap '' TERM; sleep 600 & echo $! > {here}/child; touch {here}/a.ready; wait; wait")
    supervisor = lab.supervisor([part])
    supervisor.start()
    supervisor.stop()
    assert part.process.ended() == -signal.SIGKILL
    child = int((lab.here / "child").read_text())
    until(lambda: not claim.alive(child) or "Z" in Path(f"/proc/{child}/stat").read_text())


def test_one_up_at_a_time_on_a_directory(tmp_path: Path) -> None:
    held = DataDirectory(tmp_path).lock()
    with pytest.raises(ConfigError, match=rf"in use by another `jobtide up` \(process {os.getpid()}\).*--data"):
        DataDirectory(tmp_path).lock()
    os.close(held)
    os.close(DataDirectory(tmp_path).lock())


def test_a_directory_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be used .*--data DIR"):
        DataDirectory(tmp_path / "file" / "x").lock()


def test_a_log_is_kept_small_while_its_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"old line\n" * 100)
        writer.write(b"new line\n" * 100)
        trim(path, 1000)
        writer.write(b"last line\n")
    lines = path.read_bytes().splitlines()
    assert lines[-1] == b"last line" and set(lines[:-1]) == {b"new line"} and path.stat().st_size < 1000
    trim(path)
    assert path.read_bytes().splitlines() == lines
    assert LOG_LIMIT_BYTES > 1 << 20
