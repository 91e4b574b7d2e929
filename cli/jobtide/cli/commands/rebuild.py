"""`jobtide rebuild`."""

import click


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(yes: bool) -> None:
    """Fold job.events again from its beginning: for a new version's state, or after a fix of the counting.

    Empties the checkpoint, job.panes and the live answers; job.events and the history stay. Stop the workers before and start them after;
    with `jobtide up`, use `jobtide up --rebuild`.
    """
    import asyncio

    from jobtide.cli.options import start
    from jobtide.sinks.redis.hot_state import forget
    from jobtide.streams.agents.rebuild import forget_derived

    settings = start()
    if not yes:
        click.confirm(f"Throw away the live state kept by Kafka at {settings.broker} and fold job.events again?", abort=True)
    messages = asyncio.run(forget_derived(settings))
    removed = asyncio.run(forget(settings))
    click.echo(f"Removed the derived state and {removed} live answers. Start the workers: they will fold {messages:,} messages of job.events.")
