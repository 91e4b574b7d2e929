"""`jobtide worker`."""

import click


@click.command()
def command() -> None:
    """Run one streams worker. Several share the partitions of the topics between them."""
    from jobtide.cli import aside
    from jobtide.cli.options import start
    from jobtide.sinks.redis.hot_state import hot_state
    from jobtide.streams.app import run_worker

    settings = start()
    aside.run(
        lambda stop: run_worker(settings, lambda: hot_state(settings), stop, idempotent=not settings.broker_in_memory),
        settings,
    )
