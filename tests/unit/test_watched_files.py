"""Rule and receiver files that are read again while a process runs: only a right one is used, and what is wrong is said once."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from jobtide.sinks.webhook import receivers_file
from jobtide.sinks.webhook.receivers_file import WatchedReceivers
from jobtide.streams.agents import rules_file
from jobtide.streams.agents.rules_file import RulesFile
from jobtide.streams.errors import ConfigError
from jobtide.streams.settings import Settings
from prometheus_client import Gauge

RULES = "rules: [{name: %s, kind: threshold, metric: dead, value: 1}]"
RECEIVERS = "receivers: [{name: %s, kind: webhook, url: 'https://example.org/x', secrets: ['whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=']}]"
Write = Callable[[str], None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file.yaml"


@pytest.fixture
def write(file: Path) -> Write:
    """Each time with a later time of change, whatever the file system's clock says."""
    times = iter(range(1, 100))

    def to_file(text: str) -> None:
        file.write_text(text)
        os.utime(file, (1_800_000_000 + next(times),) * 2)

    return to_file


def value(gauge: Gauge) -> float:
    return next(iter(gauge.collect()[0].samples)).value


def test_other_rules_are_used_and_a_bad_file_keeps_those_from_before(file: Path, write: Write, caplog: pytest.LogCaptureFixture) -> None:
    write(RULES % "One")
    rules = RulesFile(str(file))
    assert not rules.changed()
    write(RULES % "Two")
    assert rules.changed() and [each.name for each in rules.current.rules] == ["Two"]
    write("rules: [{name: Three, kind: threshhold}]")
    caplog.clear()
    assert rules.changed(), "what is wrong is news"
    assert [each.name for each in rules.current.rules] == ["Two"] and "did you mean threshold?" in rules.problems[0]
    assert value(rules_file.FILE_OK) == 0
    assert rules.status()["problems"] == rules.problems
    assert not rules.changed() and not rules.changed()
    assert len([each for each in caplog.records if each.levelno == logging.ERROR]) == 1
    file.unlink()
    assert rules.changed() and "cannot be read" in rules.problems[0]
    assert not rules.changed(), "once"
    write(RULES % "Two")
    assert rules.changed() and rules.problems == [] and value(rules_file.FILE_OK) == 1


def test_a_file_that_was_touched_but_says_the_same_is_no_change(file: Path, write: Write) -> None:
    write(RULES % "One")
    rules = RulesFile(str(file))
    write(RULES % "One")
    assert not rules.changed()


def test_the_default_rules_never_change() -> None:
    assert not RulesFile("").changed()


def test_other_receivers_are_used_and_a_bad_file_keeps_those_from_before(
    file: Path, write: Write, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers_file, "LOOK_S", 0.0)
    write(RECEIVERS % "one")
    watched = WatchedReceivers(Settings(receivers=str(file)))
    assert not watched.changed()
    write(RECEIVERS % "two")
    assert watched.changed() and [each.name for each in watched.current.receivers] == ["two"]
    caplog.clear()
    write("receivers: [{name: three, kind: pigeon}]")
    assert not watched.changed() and not watched.changed()
    assert [each.name for each in watched.current.receivers] == ["two"]
    assert "receivers.0" in watched.problem and value(receivers_file.FILE_OK) == 0
    assert len([each for each in caplog.records if each.levelno == logging.ERROR]) == 1
    file.unlink()
    assert not watched.changed() and "cannot be read" in watched.problem
    write(RECEIVERS % "two")
    assert not watched.changed() and watched.problem == "" and value(receivers_file.FILE_OK) == 1
    write(RECEIVERS % "four")
    assert watched.changed()


def test_a_receivers_file_with_a_mistake_is_refused_at_start(file: Path, write: Write) -> None:
    write("receivers: 7")
    with pytest.raises(ConfigError):
        WatchedReceivers(Settings(receivers=str(file)))


def test_without_a_receivers_file_nobody_is_told() -> None:
    watched = WatchedReceivers(Settings())
    assert watched.current.receivers == [] and not watched.changed()
