"""`jobtide erase job|tenant`: takes a job or a tenant out of what jobtide keeps. Asks the API, which needs an admin's key."""

from __future__ import annotations

import json
from typing import Any

import click
from jobtide.cli.options import target


@click.group()
def command() -> None:
    """Erase a job or a tenant from history and live answers."""


@command.command()
@click.argument("job_id")
@click.option("--tenant", default="default", show_default=True, help="The job's tenant.")
@click.option("--json", "as_json", is_flag=True, help="The API's answer, as JSON.")
@target
def job(url: str, job_id: str, tenant: str, as_json: bool) -> None:
    """Erase the events and attempts of one job. Minute numbers stay: they hold no job."""
    from jobtide.cli.ask.api import Api, path_of

    _tell(Api(url).delete(path_of("v1", "admin", "jobs", job_id), {"tenant": tenant}), as_json)


@command.command()
@click.argument("name")
@click.option("--confirm", prompt="Type the tenant's name once more", help="The tenant's name once more.")
@click.option("--json", "as_json", is_flag=True, help="The API's answer, as JSON.")
@target
def tenant(url: str, name: str, confirm: str, as_json: bool) -> None:
    """Erase everything of one tenant."""
    from jobtide.cli.ask.api import Api, path_of

    _tell(Api(url).delete(path_of("v1", "admin", "tenants", name), {"confirm": confirm}), as_json)


def _tell(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(answer, indent=1))
        return
    for table, rows in answer["erased"].items():
        click.echo(f"erased {rows} of {table}")
    if not answer["erased"]:
        click.echo("there was nothing to erase")
    click.echo(answer["kept"])
