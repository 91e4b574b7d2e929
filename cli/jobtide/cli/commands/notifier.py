"""`jobtide notifier`: runs it; `jobtide notifier dead|redeliver|enable`: what became of letters."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import click


@click.group(invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Tell people about alerts, as JOBTIDE_RECEIVERS says. Several stand by for one another."""
    if context.invoked_subcommand is not None:
        return
    from jobtide.cli import aside
    from jobtide.cli.options import start
    from jobtide.sinks.webhook import notifier
    from jobtide.sinks.webhook.receivers_file import WatchedReceivers

    settings = start()
    WatchedReceivers(settings)  # a mistake is said before anything starts
    aside.run(lambda stop: notifier.run(settings, stop), settings)


@command.command()
def dead() -> None:
    """List letters that could not be delivered."""
    from jobtide.cli.options import start
    from jobtide.sinks.webhook.letters import read_letters

    letters = asyncio.run(read_letters(start()))
    found = [letter for letter in letters.values() if letter.state == "dead"]
    for letter in sorted(found, key=lambda each: each.ended_ms):
        at = datetime.fromtimestamp(letter.ended_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        click.echo(f"{letter.request.id}  {at}  {letter.request.receiver}  {letter.attempts} attempts  {letter.reason}")
    click.echo(f"{len(found)} dead letters; `jobtide notifier redeliver ID` sends one again", err=True)


@command.command()
@click.argument("ids", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All dead letters.")
def redeliver(ids: tuple[str, ...], all_: bool) -> None:
    """Send dead letters again: the same bytes under the same id."""
    from jobtide.cli.options import start
    from jobtide.sinks.webhook.letters import read_letters, send_command

    if not ids and not all_:
        raise click.UsageError("which? Name ids of `jobtide notifier dead`, or --all")
    settings = start()

    async def ask() -> int:
        letters = await read_letters(settings)
        dead = [id_ for id_, letter in letters.items() if letter.state == "dead"]
        strangers = [id_ for id_ in ids if id_ not in dead]
        if strangers:
            raise click.UsageError(f"no dead letter is called {', '.join(strangers)}; see `jobtide notifier dead`")
        chosen = dead if all_ else list(ids)
        for id_ in chosen:
            await send_command(settings, "redeliver", id_)
        return len(chosen)

    click.echo(f"{asyncio.run(ask())} letters will be sent again")


@command.command()
@click.argument("receiver")
def enable(receiver: str) -> None:
    """Use a receiver again that was disabled because it answered 410 (Gone)."""
    from jobtide.cli.options import start
    from jobtide.sinks.webhook.letters import send_command

    asyncio.run(send_command(start(), "enable", receiver))
    click.echo(f"{receiver} will be used again; its dead letters wait for `jobtide notifier redeliver`")
