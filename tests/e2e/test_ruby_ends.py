"""How real Ruby workers end: killed, told to stop, or in children that fork and `exit!`. Every job that came to its end has told it.

What was cut off in the middle has a start and no outcome, in an epoch without a clean end: the stream reports it as lost.
"""

import asyncio
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.e2e.ruby_place import RUBY, SYSTEMS, Place, a_place, needs
from tests.e2e.test_ruby_workers import redis_of_its_own
from tests.e2e.worker_place import PARTITIONS, until

__all__ = ["redis_of_its_own"]  # a fixture
STEPS = """
require "SHOP/sidekiq_app.rb"
module Shop
  class Step
    include Sidekiq::Worker
    sidekiq_options queue: "default", retry: false
    def perform(key, seconds)
      Oracle.run("Shop::Step", key, 1) { sleep(seconds) }
    end
  end
end
"""
DRIVE = """
require "STEPS"
3.times { |number| Shop::Step.perform_async("long-#{number}", 60) }
150.times { |number| Shop::Step.perform_async("short-#{number}", 0.02) }
"""


def counted(oracle: list[dict[str, Any]], what: str) -> int:
    return sum(line["what"] == what for line in oracle)


def attempts(events: list[dict[str, Any]], *kinds: str) -> set[tuple[str, int]]:
    """Attempts of which one of these has been told."""
    return {(event["subject"], event["data"]["attempt"]) for event in events if event["type"].removesuffix(".v1").removeprefix("job.") in kinds}


def clean_epochs(events: list[dict[str, Any]]) -> set[str]:
    return {event["data"].get("epoch") or event["epoch"] for event in events if event["type"] == "emitter.stats.v1" and event["data"]["clean"]}


def check_whole(events: list[dict[str, Any]], epoch: str) -> None:
    """The epoch has no clean end, and no number of it is missing."""
    assert epoch not in clean_epochs(events)
    numbers: dict[int, set[int]] = {}
    for event in events:
        if event.get("epoch") == epoch:
            numbers.setdefault(event["lane"], set()).add(event["seq"])
    assert all(seen == set(range(len(seen))) for seen in numbers.values())


def killed(process: subprocess.Popen[bytes], spool: Path) -> set[Path]:
    """Kills it; returns the files it leaves."""
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    return set(spool.iterdir())


def epoch_of(events: list[dict[str, Any]], process: subprocess.Popen[bytes]) -> str:
    (epoch,) = {event["epoch"] for event in events if event["source"].endswith(f"/{process.pid}") and event.get("epoch")}
    assert isinstance(epoch, str)
    return epoch


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_sidekiq_killed_and_then_told_to_stop(system: str, kafka_broker: str, prefix: str, tmp_path: Path, redis_of_its_own: str) -> None:
    """SIGKILL with every thread busy: what had ended is told by the next worker. That one gets SIGTERM: it gives its jobs back, and says so."""
    needs("sidekiq", system)
    asyncio.run(servers.create_topics(kafka_broker, prefix, PARTITIONS))
    with a_place(system, kafka_broker, prefix, tmp_path) as place, place.gateway():
        (place.directory / "steps.rb").write_text(STEPS.replace("SHOP", place.shop))
        steps = place.inside(place.directory / "steps.rb")
        env = {
            "JOBTIDE_EXAMPLE_REDIS": redis_of_its_own, "JOBTIDE_EMITTER_SPOOL_DIR": place.inside(place.directory / "spool"),
            "JOBTIDE_EMITTER_SPOOL_FIRST": "1", "JOBTIDE_EMITTER_LINGER_MS": "2000",
        }  # fmt: skip
        place.ruby("-e", DRIVE.replace("STEPS", steps), **env)
        sidekiq = ["sidekiq", "-r", steps, "-c", "6", "-t", "1", "-q", "default"]
        with place.doomed_worker(*sidekiq, **env) as process:
            until("jobs end", lambda: counted(place.oracle(), "finished") >= 40)
            left = killed(process, place.directory / "spool")
        with place.worker(*sidekiq, **env):
            until("what the killed one has left is told", lambda: not any(path.exists() for path in left))
            until("more jobs end", lambda: counted(place.oracle(), "finished") >= 80)
        oracle, events = place.oracle(), place.events()
    assert left
    between = counted(oracle, "finished") - len(attempts(events, "finished"))  # killed after the body had ended, before the hook could know
    assert 0 <= between <= 6
    assert not attempts(events, "failed", "dead", "cancelled", "discarded")
    assert len(attempts(events, "started")) == len({line["key"] for line in oracle if line["what"] == "started"})
    check_whole(events, epoch_of(events, process))
    assert len(clean_epochs(events)) == 2  # of the driver, and of the worker that stopped
    assert Counter(event["type"] for event in events)["worker.offline.v1"] == PARTITIONS


@pytest.mark.slow
def test_delayed_job_killed_and_then_told_to_stop(kafka_broker: str, prefix: str, tmp_path: Path) -> None:
    needs("delayed_job_active_record")
    asyncio.run(servers.create_topics(kafka_broker, prefix, PARTITIONS))
    place = Place(kafka_broker, prefix, tmp_path)
    app = [f"{place.shop}/delayed_app.rb", str(place.directory / "shop.sqlite3")]
    env = {"JOBTIDE_EMITTER_SPOOL_DIR": str(tmp_path / "spool"), "JOBTIDE_EMITTER_SPOOL_FIRST": "1", "JOBTIDE_EMITTER_LINGER_MS": "2000"}
    with place.gateway():
        place.ruby(*app, "drive", "120", **env)
        with place.doomed_worker("ruby", *app, "work", **env) as process:
            until("jobs end", lambda: counted(place.oracle(), "finished") >= 20)
            left = killed(process, tmp_path / "spool")
        before = place.oracle()
        with place.worker("ruby", *app, "work", **env):
            until("what the killed one has left is told", lambda: not any(path.exists() for path in left))
            until("more jobs end", lambda: counted(place.oracle(), "finished") >= counted(before, "finished") + 20)
        oracle, events = place.oracle(), place.events()
    assert left
    ended = {(line["key"], line["attempt"]) for line in oracle if line["what"] in ("finished", "failed")}
    assert len(ended) - len(attempts(events, "finished", "failed")) in (0, 1)  # killed between the body's end and the hook
    check_whole(events, epoch_of(events, process))


FORKING = """
$LOAD_PATH << "RUBY/test/stand_ins"
require "resque"
require "jobtide/resque"
class Step
  def self.perform(what)
    case what
    when "fail" then raise ArgumentError, "told to"
    when "kill" then Process.kill(:KILL, Process.pid)
    when "exit" then exit!
    end
  end
end
Resque.directory = "DIRECTORY"
30.times { Resque.enqueue_to("default", Step, "ok") }
%w[fail kill exit kill ok].each { |what| Resque.enqueue_to("default", Step, what) }
Resque::Worker.new("default").work
"""


def test_children_that_fork_and_exit(kafka_broker: str, prefix: str, tmp_path: Path) -> None:
    """As Resque does it (on the stand-in for it): a child for each job, which ends by `exit!` or is killed."""
    needs("minitest")
    asyncio.run(servers.create_topics(kafka_broker, prefix, PARTITIONS))
    place = Place(kafka_broker, prefix, tmp_path)
    with place.gateway():
        place.ruby("-e", FORKING.replace("RUBY", str(RUBY)).replace("DIRECTORY", os.fspath(tmp_path)))
        events = place.events()
    assert len(attempts(events, "enqueued")) == len(attempts(events, "started")) == 35
    assert len(attempts(events, "finished")) == 31
    assert len(attempts(events, "failed")) == len(attempts(events, "dead")) == 3  # the worker tells of the two that were killed
    told = Counter(event["data"]["error"]["class"] for event in events if event["type"] == "job.dead.v1")
    assert told == {"ArgumentError": 1, "Resque::DirtyExit": 2}
    started = {event["epoch"] for event in events if event["type"] == "job.started.v1"}
    assert len(started) == 35
    assert len(started & clean_epochs(events)) == 32  # all but the killed and the one that went without a word
