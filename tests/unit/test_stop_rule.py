"""The stop rule: when a partition of mostly bad events is paused, and that it always goes on."""

from jobtide.streams.folds.stop_rule import JUDGED_AT_ONCE, LONGEST_PAUSE_S, StopRule


def test_one_percent_of_bad_events_never_pauses() -> None:
    rule = StopRule()
    assert [rule.note(100, 1) for _ in range(1000)] == [0.0] * 1000


def test_a_flood_pauses_longer_each_time_and_never_for_good() -> None:
    rule = StopRule()
    pauses = [rule.note(JUDGED_AT_ONCE, JUDGED_AT_ONCE) for _ in range(8)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_PAUSE_S]


def test_good_events_after_the_fix_start_over() -> None:
    rule = StopRule()
    rule.note(JUDGED_AT_ONCE, JUDGED_AT_ONCE)
    assert rule.note(JUDGED_AT_ONCE, 0) == 0.0
    assert rule.note(JUDGED_AT_ONCE, JUDGED_AT_ONCE) == 1.0


def test_a_handful_is_too_few_to_judge() -> None:
    assert StopRule().note(JUDGED_AT_ONCE - 1, JUDGED_AT_ONCE - 1) == 0.0
