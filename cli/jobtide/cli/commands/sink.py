"""`jobtide sink`."""

import click


@click.command()
def command() -> None:
    """Run the history writer: job.events → ClickHouse."""
    from jobtide.cli.options import start
    from jobtide.cli.signals import run_until_signalled
    from jobtide.sinks import history

    settings = start()
    run_until_signalled(lambda stop: history.run(settings, stop))
