"""`jobtide rules check|test|backtest|schema|default`: rules before they are switched on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from jobtide.cli.options import target

_file = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))


@click.group()
def command() -> None:
    """Check, test and backtest alert rules."""


def _rules(file: Path) -> Any:
    """The rules of a file; its mistakes end the command with exit code 2."""
    from jobtide.streams.alerts.loading import RulesError, load_rules
    from jobtide.streams.errors import ConfigError

    try:
        return load_rules(file.read_text("utf-8"), str(file))
    except (RulesError, UnicodeDecodeError) as error:
        raise ConfigError(str(error)) from None


@command.command()
@_file
def check(file: Path) -> None:
    """Say whether a rule file is right, and what each rule asks."""
    from jobtide.streams.alerts.compiled import compile_rules

    found = _rules(file)
    for compiled in compile_rules(found.rules, lambda _: [], lambda _: 0):
        from jobtide.streams.alerts.compiled import condition

        click.echo(f"{compiled.id}  {compiled.severity}  {condition(compiled.rule, compiled.extra.get('burn_rate'))}")
    off = [rule.name for rule in found.rules if not rule.enabled]
    click.echo(f"{len(found.rules)} rules, {len(off)} of them off" + (f": {', '.join(off)}" if off else ""))


@command.command()
@_file
@click.argument("tests", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--verbose", is_flag=True, help="Also show what the rules said.")
def test(file: Path, tests: Path, verbose: bool) -> None:
    """Run the stories of TESTS through the rules of FILE. Exit code 1 if one ends otherwise than it says."""
    from jobtide.streams.alerts import rule_tests
    from jobtide.streams.errors import ConfigError

    rules = _rules(file).rules
    try:
        stories = rule_tests.load(tests.read_text("utf-8"), str(tests)).tests
    except ValueError as error:
        raise ConfigError(str(error)) from None
    failed = 0
    for story in stories:
        verdict = rule_tests.run(rules, story)
        failed += bool(verdict.wrong)
        click.echo(f"{'FAIL' if verdict.wrong else 'ok  '}  {verdict.name}")
        for line in verdict.wrong:
            click.echo(f"      {line}")
        if verbose or verdict.wrong:
            for line in verdict.said:
                click.echo(f"      | {line}")
    click.echo(f"{len(stories) - failed} of {len(stories)} stories end as they should")
    sys.exit(1 if failed else 0)


@command.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--last", default="24h", show_default=True, help="How far back, at most 31d.")
@click.option("--tenant", help="Only this tenant.")
@click.option("--json", "as_json", is_flag=True, help="The API's answer as it is.")
@target
def backtest(file: Path | None, last: str, tenant: str | None, as_json: bool, url: str) -> None:
    """Say what FILE (or the rules in use) would have done over history."""
    from jobtide.cli.ask.api import Api

    text = ""
    if file is not None:
        _rules(file)  # its mistakes, named with the file
        text = file.read_text("utf-8")
    body = {"rules": text, "last": last} | ({"tenant": tenant} if tenant else {})
    answer = Api(url, timeout_s=600).post("/v1/rules/backtest", body)
    if as_json:
        click.echo(json.dumps(answer, indent=1))
        return
    click.echo(f"{answer['range_from']} to {answer['range_to']}: {answer['series']} series, {answer['seconds_with_data']} seconds with data")
    for each in answer["episodes"]:
        where = " ".join(each["labels"].get(name, "") for name in ("tenant", "queue", "job_class")).strip()
        until = each["resolved_at"] or "still firing"
        fired = f"{each['fired_at']} to {until}" if each["fired_at"] else f"{each['began_at']}, did not hold"
        click.echo(f"{each['severity']:<8} {each['rule']}  {where}  {fired}  value {each['value']} of {each['samples']}")
    click.echo(f"{answer['episodes_total']} episodes; flaps: {_counts(answer['flaps'])}; notifications: {_counts(answer['notifications'])}")
    if answer["not_in_history"]:
        click.echo(f"not in history, so left out: {', '.join(answer['not_in_history'])}")
    click.echo(f"compared with {answer['compared']} transitions that were said live: {len(answer['differences'])} differences")
    for each in answer["differences"]:
        click.echo(f"  {each['where']}  {each['at']}  {each['rule']} {each['state']}")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items()) or "none"


@command.command("schema")
def schema_() -> None:
    """Print the JSON Schema of a rule file."""
    from jobtide.streams.alerts.model import schema

    click.echo(json.dumps(schema(), indent=1))


@command.command()
def default() -> None:
    """Print the rules that are used when JOBTIDE_RULES is not set."""
    from jobtide.streams.alerts.loading import default_text

    click.echo(default_text(), nl=False)
