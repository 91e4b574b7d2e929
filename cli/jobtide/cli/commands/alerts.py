"""`jobtide alerts`: what fires now; with a range, every change of an alert in it."""

from __future__ import annotations

import click
from jobtide.cli.ask import flags
from jobtide.cli.options import target
from jobtide.streams.errors import ConfigError

NOW_TAKES = ("tenant", "rule", "state", "limit")  # what the question about now can be narrowed down by


@click.command()
@click.option("--last", help="How far back: 90s, 36h, 7d. Then all changes of alerts in that time are listed, newest first.")
@click.option("--rule", help="Only of this rule.")
@click.option("--state", type=click.Choice(["pending", "firing", "resolved", "inactive"]), multiple=True, help="Only these; may be repeated.")
@click.option("--severity", type=click.Choice(["info", "warning", "critical"]), multiple=True, help="Only these; with --last; may be repeated.")
@flags.selection
@flags.limit
@flags.as_json
@target
def command(url: str, as_json: bool, last: str | None, **params: str | int | tuple[str, ...] | None) -> None:
    """Alerts that fire or are pending, the worst first. With --last: what fired, since when, and when it was over."""
    from jobtide.cli.ask import pictures, screen
    from jobtide.cli.ask.api import Api

    given = {name: value for name, value in params.items() if value not in (None, ())}
    if last is not None:
        answer = Api(url).get("/v1/alerts/history", {"last": last, **given})
        screen.show(answer, [] if as_json else [pictures.page(answer, pictures.ALERT_COLUMNS, "no alert changed")], as_json)
        return
    if unknown := sorted(given.keys() - set(NOW_TAKES)):
        names = ", ".join("--class" if name == "job_class" else f"--{name}" for name in unknown)
        raise ConfigError(f"{names}: only with --last; what fires now can be narrowed down by --tenant, --rule and --state")
    answer = Api(url).get("/v1/alerts", given)
    screen.show(answer, [] if as_json else [pictures.alerts(answer)], as_json)
