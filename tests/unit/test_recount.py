"""The oracle side of D1 by hand-counted cases, and that a comparison really sees what differs."""

from dataclasses import replace

from tests.proof import hooks, recount, trace
from tests.proof.answers import Comparison
from tests.proof.recount import Attempt

SERIES = ("celery", "mail", "Welcome")
FIRST = Attempt(SERIES, "a", 1, 1_000, started_us=3_000, ended_us=9_000, run_us=6_000, outcome="failed", retried=True)
SECOND = Attempt(SERIES, "a", 2, 9_000, eligible_us=20_000, started_us=21_000, ended_us=22_000, run_us=1_000, outcome="finished")


def row(**changes: object) -> dict[str, object]:
    """What an API would answer to FIRST and SECOND together."""
    stats = {"count": 2, "p50": 1.0, "p90": 2.0, "p95": 2.0, "p99": 2.0, "max": 2.0}
    runs = {"count": 2, "p50": 1.0, "p90": 6.0, "p95": 6.0, "p99": 6.0, "max": 6.0}
    counts = {"enqueued": 2, "started": 2, "finished": 1, "failed": 1, "retried": 1, "dead": 0}
    return {**counts, "wait_ms": stats, "run_ms": runs, **changes}


def compared(found: dict[str, object]) -> list[str]:
    comparison = Comparison()
    comparison.classes(recount.totals([FIRST, SECOND], 0, 100_000), {SERIES: found}, "")
    return comparison.wrong


def test_a_wait_begins_when_the_attempt_may_start() -> None:
    assert [FIRST.wait_us, SECOND.wait_us] == [2_000, 1_000]


def test_a_range_holds_its_first_moment_and_not_its_end() -> None:
    assert recount.totals([FIRST], 1_000, 9_000)[SERIES].counts == {"enqueued": 1, "started": 1}
    assert recount.totals([FIRST], 9_000, 9_001)[SERIES].counts == {"failed": 1, "retried": 1}


def test_quantiles_are_values_of_their_rank() -> None:
    assert [recount.quantile([10, 20, 30, 40], q) for q in (0.01, 0.25, 0.26, 0.5, 1.0)] == [10, 10, 20, 20, 40]


def test_the_right_answer_is_accepted_and_every_wrong_one_seen() -> None:
    assert compared(row()) == []
    for name in recount.COUNTED:
        assert any(name in line for line in compared(row(**{name: 7})))
    stats = {"count": 2, "p50": 1.011, "p90": 2.0, "p95": 2.0, "p99": 2.0, "max": 2.0}
    assert [line.split(":")[0].split()[-1] for line in compared(row(wait_ms={**stats, "p50": 1.02}))] == ["p50"]
    assert compared(row(wait_ms={**stats, "p50": 1.005})) == []
    assert compared(row(wait_ms={**stats, "p50": None}))
    assert compared({**row(), "run_ms": {**stats, "count": 1}})


def test_an_unknown_series_is_seen() -> None:
    comparison = Comparison()
    comparison.counts({}, {SERIES: row()}, "")
    assert comparison.wrong


def test_moved_jobs_keep_their_shape_and_the_future_has_not_happened() -> None:
    hour_us = 3_600_000_000
    whole = replace(FIRST, run_us=0, outcome="finished", retried=False)
    jobs = [
        replace(whole, enqueued_us=n * hour_us, started_us=n * hour_us + 60_000_000, ended_us=(n + 2) * hour_us) for n in range(11)
    ]
    moved = trace.moved(jobs, until_us=10**12, lasting_us=10_000_000)
    assert [job.enqueued_us - moved[0].enqueued_us for job in moved[:3]] == [0, 999_999, 1_999_999]
    assert moved[10].enqueued_us < 10**12 <= moved[0].enqueued_us + 10_000_000
    assert [job.outcome for job in moved[-3:]] == ["finished", None, None]
    in_flight, waiting = recount.levels(moved)
    assert (in_flight[SERIES], waiting[SERIES]) == (1, 1)


def test_a_hook_inside_its_body_is_seen() -> None:
    runs = {("celery", "q", "C"): [-2_000, 100], ("rq", "q", "C"): [3_000], ("dramatiq", "q", "C"): [200, 9_000, 9_000]}
    found = hooks.row("", hooks.Gaps(runs, {}))["wrong"]
    assert len(found) == 2 and "celery" in found[0] and "dramatiq" in found[1]


def test_an_attempt_that_has_not_ended_counts_for_nothing_more() -> None:
    running = replace(FIRST, ended_us=None, outcome=None, run_us=None, retried=False)
    assert recount.totals([running], 0, 100_000)[SERIES].counts == {"enqueued": 1, "started": 1}
