"""`jobtide sink`."""

import click


@click.command()
def command() -> None:
    """Run the history writer: job.events → ClickHouse."""
    from jobtide.cli import aside
    from jobtide.cli.history_meters import registered
    from jobtide.cli.options import start
    from jobtide.sinks import history

    settings = start()
    metrics = registered()
    aside.run(lambda stop: history.run(settings, stop, metrics), settings)
