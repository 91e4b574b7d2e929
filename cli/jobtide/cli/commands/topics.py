"""`jobtide topics create`."""

import click


@click.group()
def command() -> None:
    """Make the Kafka topics."""


@command.command()
def create() -> None:
    """Make the missing topics, and check the partitions of those that exist."""
    import asyncio

    from jobtide.cli.options import start
    from jobtide.streams.agents.kafka import ensure_topics
    from jobtide.streams.topics import TOPICS

    settings = start()
    asyncio.run(ensure_topics(settings))
    click.echo(f"{', '.join(settings.topic(topic.name) for topic in TOPICS)}: {settings.partitions} partitions each")
