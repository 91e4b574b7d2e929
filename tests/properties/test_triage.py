"""Late, slow, lost, duplicate: the right verdict at the right time, through both stages, and the same after any crash."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobtide.streams.triage.baselines import ERA_S, Baselines, Measure

from tests.proof.job_events import SECOND
from tests.properties.searching import searching
from tests.properties.triage_world import World

HOUR_S = 3_600


def started(*job_ids: str, **data: object) -> World:
    world = World()
    for job_id in job_ids:
        world.say("enqueued", job_id)
        world.say("started", job_id, **data)
    return world


def beating(world: World, seconds: int, *job_ids: str, every_s: int = 10) -> None:
    for _ in range(0, seconds, every_s):
        world.beat("w-1", *job_ids)
        world.pass_time(every_s)


# -- slow


def test_a_class_that_has_taught_nothing_is_slow_from_the_first_rung_of_the_ladder() -> None:
    world = started("job-1")
    world.pass_time(600)
    assert world.verdicts == {}, "the watermark is two seconds behind"
    world.pass_time(3)
    (found,) = world.stuck.values()
    assert (found.verdict, found.severity, found.limit_us, found.limit_source, found.worker_id) == ("slow", "low", 600 * SECOND, "ladder", "w-1")


def test_severity_climbs_the_ladder_with_age() -> None:
    world = started("job-1")
    seen = []
    for _ in range(13):
        world.pass_time(600, step_s=10)
        seen.append(world.stuck["job-1"].severity if world.stuck else None)
    assert seen == [None, "low", "low", "medium", "medium", "medium", "high", "high", "high", "high", "high", "high", "critical"]


def test_what_the_emitter_expects_wins() -> None:
    world = World()
    world.say("enqueued", "quick", expected_ms=5_000)
    world.say("started", "quick")
    world.say("started", "patient", expected_ms=3_600_000)
    world.pass_time(8)
    assert world.verdicts == {"quick": "slow"}
    found = world.stuck["quick"]
    assert (found.limit_source, found.limit_us, found.expected_us) == ("expected", 5 * SECOND, 5 * SECOND)
    world.pass_time(3_500, step_s=10)
    assert "patient" not in world.verdicts
    world.pass_time(200, step_s=10)
    assert world.verdicts["patient"] == "slow"


def test_a_class_teaches_its_own_limit() -> None:
    """Five runs of 40 s: three times that."""
    world = World()
    for n in range(5):
        world.run(f"run-{n}", 40)
    world.pass_time(120)
    world.say("enqueued", "job-1")
    world.say("started", "job-1")
    world.pass_time(118)
    assert world.verdicts == {}
    world.pass_time(8)
    found = world.stuck["job-1"]
    assert (found.verdict, found.limit_source) == ("slow", "baseline")
    assert found.limit_us == pytest.approx(120 * SECOND, rel=0.01) and found.p99_us == pytest.approx(40 * SECOND, rel=0.01)


def test_failures_teach_nothing() -> None:
    world = World()
    for n in range(9):
        world.run(f"run-{n}", 40, outcome="failed")
    world.pass_time(120)
    world.say("started", "job-1")
    world.pass_time(595)
    assert world.verdicts == {}


@pytest.mark.parametrize("outcome", ["finished", "failed", "cancelled", "discarded", "dead", "retry_scheduled"])
def test_an_end_clears(outcome: str) -> None:
    world = started("job-1")
    world.pass_time(700, step_s=5)
    assert world.verdicts == {"job-1": "slow"}
    world.say(outcome, "job-1", **({"run_at": world.now_us + HOUR_S * SECOND} if outcome == "retry_scheduled" else {}))
    world.pass_time(2)
    assert world.verdicts == {}


def test_a_nightly_job_of_three_hours_stops_paging_within_a_week() -> None:
    world, paged = World(), []
    for night in range(12):
        world.say("enqueued", f"night-{night}")
        world.say("started", f"night-{night}")
        world.pass_time(3 * HOUR_S - 60, step_s=60)
        paged.append(bool(world.stuck))
        world.say("finished", f"night-{night}")
        world.pass_time(21 * HOUR_S + 60, step_s=300)
        if night % 4 == 3:
            world.restart_stage2(batch=500, last=2_000)
    assert paged == [True] * 5 + [False] * 7
    world.say("started", "stuck")
    world.pass_time(11 * HOUR_S, step_s=60)
    assert world.verdicts == {"stuck": "slow"}, "and still finds one that hangs"


def test_one_runaway_that_finished_moves_the_limit_at_most_twofold_a_day() -> None:
    measure, before = Measure(), None
    for day in range(20_000, 20_012):
        measure.learn(day * 86_400, {698: 50} if day != 20_004 else {698: 50, 1300: 3})  # 1 s; then three runs of 43 h
        limit = measure.limit_us
        assert limit is not None and (before is None or limit <= 2 * before), day
        before = limit
    assert before == 60 * 2**8 * SECOND, "seven days after the runaway"


def test_samples_count_for_thirty_to_sixty_days() -> None:
    baselines = Baselines()
    baselines.learn(b"s", 100 * ERA_S, {698: 9}, {})
    baselines.learn(b"s", 101 * ERA_S, {800: 1}, {})
    assert baselines.by_series[b"s"].run.before == {698: 9}
    baselines.learn(b"s", 102 * ERA_S, {800: 1}, {})
    assert baselines.by_series[b"s"].run.limit_us is None, "two samples are left"
    baselines.forget_before(104 * ERA_S)
    assert baselines.by_series == {}


def test_the_class_that_has_taught_nothing_for_longest_makes_room() -> None:
    baselines = Baselines(limit=3)
    for n in range(5):
        baselines.learn(b"%d" % n, n * 60, {1: 1}, {})
    assert sorted(baselines.by_series) == [b"2", b"3", b"4"] and baselines.dropped == 2
    assert dict(baselines.take_unsaved())[b"0"] is None


# -- late


def test_late_is_not_started_by_its_time_and_a_start_ends_it() -> None:
    world = World()
    world.say("enqueued", "job-1")
    world.say("scheduled", "job-2", run_at=world.now_us + 3_000 * SECOND)
    world.pass_time(700, step_s=5)
    assert world.verdicts == {"job-1": "late"}
    assert world.stuck["job-1"].since_us == world.stuck["job-1"].last_event_us and world.stuck["job-1"].worker_id == ""
    world.say("started", "job-1")
    world.pass_time(2)
    assert world.verdicts == {}
    world.say("finished", "job-1")
    world.pass_time(2_850, step_s=5)
    assert world.verdicts == {}, "it may not start before its time"
    world.pass_time(100, step_s=5)
    assert world.verdicts == {"job-2": "late"}


def test_expected_ms_is_no_limit_for_waiting() -> None:
    world = World()
    world.say("enqueued", "job-1", expected_ms=1_000)
    world.pass_time(500, step_s=5)
    assert world.verdicts == {}


def test_a_lost_start_is_repaired_by_the_worker_that_holds_the_job() -> None:
    world = World()
    world.say("enqueued", "job-1")
    world.say("enqueued", "job-2")
    beating(world, 650, "job-1")
    assert world.verdicts == {"job-1": "slow", "job-2": "late"}
    assert world.stuck["job-1"].worker_id == "w-1"


# -- lost


def test_offline_is_lost_at_once() -> None:
    world = started("job-1")
    world.beat("w-1", "job-1")
    world.pass_time(5)
    world.beat("w-1", kind="offline")
    world.pass_time(2)
    found = world.stuck["job-1"]
    assert (found.verdict, found.reason, found.limit_source) == ("lost", "offline", "heartbeat")


def test_silence_of_the_worker_is_lost_within_thirty_seconds_and_a_heartbeat_brings_it_back() -> None:
    world = started("job-1")
    beating(world, 60, "job-1")
    killed_us = world.now_us - 10 * SECOND  # right after its last heartbeat
    world.pass_time(13)
    assert world.verdicts == {}
    world.pass_time(killed_us // SECOND + 29 - world.now_us // SECOND)
    assert world.verdicts == {"job-1": "lost"} and world.stuck["job-1"].reason == "silent"
    assert world.stuck["job-1"].heartbeat_us == killed_us
    world.beat("w-1", "job-1")
    world.pass_time(2)
    assert world.verdicts == {}


def test_a_worker_that_never_spoke_loses_nothing() -> None:
    world = started("job-1")
    world.beat("w-2")
    world.pass_time(300)
    assert world.verdicts == {}


def test_two_complete_heartbeats_without_the_job_are_lost_one_is_not() -> None:
    world = started("job-1")
    world.beat("w-1", "job-1")
    world.pass_time(10)
    world.beat("w-1")
    world.pass_time(9)
    assert world.verdicts == {}
    world.pass_time(1)
    world.beat("w-1")
    world.pass_time(2)
    assert world.verdicts == {"job-1": "lost"} and world.stuck["job-1"].reason == "dropped"


def test_incomplete_heartbeats_say_nothing_about_what_is_missing() -> None:
    world = started("job-1")
    for _ in range(6):
        world.beat("w-1", complete=False)
        world.pass_time(10)
    assert world.verdicts == {}


def test_the_jobs_own_heartbeats_stop() -> None:
    """Jobs outside any worker, such as a decorated function: two heartbeats tell the interval."""
    world = started("job-1")
    for _ in range(4):
        world.say("heartbeat", "job-1")
        world.pass_time(10)
    assert world.verdicts == {}
    world.pass_time(20)
    assert world.verdicts == {"job-1": "lost"}


def test_a_leap_of_time_is_not_silence() -> None:
    """The broker was away, or nobody folded: an hour counts for five seconds, in which the workers' next heartbeats come."""
    world = started("job-1")
    beating(world, 30, "job-1")
    world.leap(3_600)
    world.pass_time(8)
    assert "lost" not in world.verdicts.values()
    world.pass_time(10)
    assert world.verdicts == {"job-1": "lost"}


@pytest.mark.parametrize("why", ["silent", "dropped", "own heartbeats"])
def test_who_was_lost_before_a_restart_is_lost_after_it(why: str) -> None:
    world = started("job-1")
    for _ in range(3):
        if why == "own heartbeats":
            world.say("heartbeat", "job-1")
        else:
            world.beat("w-1", *(["job-1"] if why == "silent" else []))
        world.pass_time(10)
    world.pass_time(20)
    before = world.stuck
    assert before["job-1"].verdict == "lost"
    world.restart_stage1()
    for _ in range(5):
        world.pass_time(1)
        assert world.stuck == before, "not even for a moment"


def test_a_restarted_stage_gives_every_worker_its_patience() -> None:
    world = started("job-1")
    beating(world, 30, "job-1")
    world.pass_time(10)
    world.restart_stage1()
    world.pass_time(20)
    assert world.verdicts == {}
    world.pass_time(10)
    assert world.verdicts == {"job-1": "lost"}


# -- duplicate


def test_one_attempt_on_two_workers_at_once() -> None:
    world = started("job-1")
    world.pass_time(5)
    world.say("started", "job-1", worker_id="w-2")
    world.pass_time(2)
    found = world.stuck["job-1"]
    assert (found.verdict, found.worker_id, found.others) == ("duplicate", "w-1", ["w-2"])
    assert world.fold.counters.double_starts == 1
    world.restart_stage1()
    world.pass_time(2)
    assert world.verdicts == {"job-1": "duplicate"}, "it is in the checkpoint"
    world.say("finished", "job-1")
    world.pass_time(2)
    assert world.verdicts == {} and not world.fold.lifecycles.remarks.by_key


def test_a_rescue_from_a_dead_worker_is_no_duplicate() -> None:
    world = started("job-1")
    world.beat("w-1", "job-1")
    world.pass_time(2)
    world.beat("w-1", kind="offline")
    world.pass_time(3)
    world.say("started", "job-1", worker_id="w-2")
    world.beat("w-2", "job-1")
    world.pass_time(8)
    assert world.verdicts == {}
    world.pass_time(30)
    assert world.verdicts == {"job-1": "lost"} and world.stuck["job-1"].worker_id == "w-2"


# -- bounds


def test_of_many_old_attempts_the_oldest_are_told_and_the_rest_is_a_number() -> None:
    world = World()
    for n in range(500):
        world.say("enqueued", f"waits-{n:03}")
        world.now_us += 1_000
    world.pass_time(700, step_s=5)
    assert sorted(world.verdicts) == [f"waits-{n:03}" for n in range(200)]
    (write,) = [w for w in world.windows.take_changes() if w.kind == "stuck"]
    assert b'"counts":{"late":200},"unjudged":300' in (write.value or b"")


# -- crashes


@searching(25)
@given(st.integers(0, 2**32))
def test_the_same_verdicts_after_any_crash(seed: int) -> None:
    """Two worlds with the same events, one of which loses both stages again and again; when all is quiet they say the same."""
    plan = Random(seed)
    steps = [(plan.choice(("start", "end", "enqueue", "double", "expect")), plan.randrange(12), plan.choice((1, 5, 30, 90))) for _ in range(60)]
    crashes = Random(seed + 1)
    seen = []
    for crashing in (False, True):
        world = World()
        world.say("started", "job-x", worker_id="w-5", expected_ms=30_000)
        for number, (what, job, seconds) in enumerate(steps):
            job_id = f"job-{job}"
            worker_id = f"w-{job % 3}"
            if what == "enqueue":
                world.say("enqueued", job_id)
            elif what == "end":
                world.say("finished", job_id, worker_id=worker_id)
            elif what == "expect":
                world.say("started", job_id, worker_id=worker_id, expected_ms=45_000)
            else:
                world.say("started", job_id, worker_id="w-9" if what == "double" else worker_id)
            if number < 40:
                world.beat("w-1", *(f"job-{n}" for n in range(1, 12, 3)))
            world.pass_time(seconds, step_s=5)
            if crashing and crashes.random() < 0.3:
                world.restart_stage1()
            if crashing and crashes.random() < 0.3:
                world.restart_stage2(batch=crashes.choice((1, 7, 1000)))
        world.pass_time(120)
        seen.append(world.stuck)
    assert seen[0] == seen[1]
    assert seen[0]["job-x"].verdict == "slow"


def test_limits_survive_a_restart_that_cannot_read_the_old_panes() -> None:
    world = World()
    for n in range(5):
        world.run(f"run-{n}", 40)
    world.pass_time(90)
    world.say("started", "job-1")
    world.pass_time(130)
    before = world.stuck
    assert before["job-1"].limit_source == "baseline"
    world.restart_stage2(last=0)
    world.pass_time(61)
    assert world.stuck == before
    world.restart_stage2()
    assert world.stuck == before, "what is read again teaches nothing twice"


def test_a_baseline_learns_each_minute_once() -> None:
    baselines = Baselines()
    assert baselines.learn(b"s", 60, {5: 1}, {})
    assert not baselines.learn(b"s", 60, {5: 1}, {})
    assert not baselines.learn(b"s", 120, {}, {})
    assert baselines.by_series[b"s"].run.samples == {5: 1}
    after = Baselines()
    for series, value in baselines.take_unsaved():
        after.load(series, value)
    assert after.by_series == baselines.by_series
    assert not after.learn(b"s", 120, {9: 1}, {}), "that minute is over, whatever came late to it"
    assert after.learn(b"s", 180, {9: 1}, {})
