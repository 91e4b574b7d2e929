"""The short forms of the alert proofs: processes killed while rules flap."""

import pytest

from tests.proof import alert_speed, alerts_kills, d12_alert_latency, d13_delivery, d14_replay, notifier_kills, random_series
from tests.proof.command import Servers


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_rules_say_the_same_when_their_worker_is_killed(proof_servers: Servers) -> None:
    figures = alerts_kills.run(False, proof_servers)
    assert figures["passed"], figures


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_everybody_is_told_once_when_the_notifier_is_killed(proof_servers: Servers) -> None:
    figures = notifier_kills.run(False, proof_servers)
    assert figures["passed"], figures


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_each_receiver_is_told_whatever_the_others_do(proof_servers: Servers) -> None:
    figures = d13_delivery.run(False, proof_servers)
    assert not figures["wrong"], figures


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_alert_goes_all_the_way(proof_servers: Servers) -> None:
    figures = d12_alert_latency.run(False, proof_servers)
    assert figures["passed"], figures


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_replay_and_a_backtest_say_the_same(proof_servers: Servers) -> None:
    figures = d14_replay.run(False, proof_servers)
    assert figures["passed"], figures


@pytest.mark.slow
def test_rules_look_at_what_changed_and_not_at_everything() -> None:
    found = alert_speed.run(False)
    assert found["passes"], found


@pytest.mark.slow
def test_ten_thousand_random_series_break_no_law() -> None:
    found = random_series.run(True)
    assert found["passes"], found
