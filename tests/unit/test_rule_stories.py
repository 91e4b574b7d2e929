"""`jobtide rules check|test|default|schema`: rules and stories about them, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from jobtide.cli.commands.rules import command
from jobtide.streams.alerts.model import schema
from jobtide.streams.errors import ConfigError

RULES = """
rules:
  - {name: Failing, kind: ratio, metric: job_failure_rate, window: 5m, value: 0.25, min_samples: 20, for: 1m}
  - {name: Slow, kind: percentile, metric: wait, quantile: 0.95, window: 1m, value: 1s, min_samples: 5}
"""
STORIES = """
tests:
  - name: an outage pages
    series: {queue: mail, job_class: Send}
    story:
      - {for: 10m, finished: 2, wait: 20ms, run: 100ms}
      - {for: 5m, failed: 2, dead: 2}
    expect:
      - {rule: Failing, state: firing, between: [11m, 14m]}
      - {rule: Failing, state: resolved}
    never: [Slow]
"""


def run(tmp_path: Path, stories: str, *more: str) -> tuple[int, str]:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "stories.yaml").write_text(stories)
    result = CliRunner().invoke(command, ["test", str(tmp_path / "rules.yaml"), str(tmp_path / "stories.yaml"), *more])
    return result.exit_code, result.output


def test_a_story_that_ends_as_it_says(tmp_path: Path) -> None:
    code, said = run(tmp_path, STORIES, "--verbose")
    assert code == 0, said
    assert "ok    an outage pages" in said and "Failing firing (held" in said and "1 of 1 stories" in said


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("between: [11m, 14m]", "between: [1m, 2m]"), "Failing was not firing between 1m and 2m"),
        (("never: [Slow]", "never: [Failing]"), "Failing fired after"),
        (("rule: Failing, state: resolved", "rule: Missing, state: resolved"), "there is no rule Missing"),
    ],
)
def test_a_story_that_ends_otherwise(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    code, said = run(tmp_path, STORIES.replace(*change))
    assert code == 1 and complaint in said and "FAIL  an outage pages" in said


def test_a_mistake_in_either_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("rules: [{name: A, kind: ratio, metric: success_rate, value: 2}]")
    result = CliRunner().invoke(command, ["check", str(tmp_path / "bad.yaml")])
    assert isinstance(result.exception, ConfigError) and "rule A: field value" in str(result.exception)
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "stories.yaml").write_text(STORIES.replace("finished: 2", "finishd: 2"))
    result = CliRunner().invoke(command, ["test", str(tmp_path / "rules.yaml"), str(tmp_path / "stories.yaml")])
    assert isinstance(result.exception, ConfigError) and "finishd" in str(result.exception)


def test_check_says_what_each_rule_asks_and_the_rest_prints(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    said = CliRunner().invoke(command, ["check", str(tmp_path / "rules.yaml")]).output
    assert "Failing  warning  job_failure_rate > 0.25 over 5m" in said and "Slow  warning  wait time p95 > 1s over 1m" in said
    assert json.loads(CliRunner().invoke(command, ["schema"]).output) == schema()
    default = tmp_path / "default.yaml"
    default.write_text(CliRunner().invoke(command, ["default"]).output)
    assert CliRunner().invoke(command, ["check", str(default)]).exit_code == 0
