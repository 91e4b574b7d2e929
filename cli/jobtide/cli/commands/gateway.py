"""`jobtide gateway`."""

import click
from jobtide.cli.options import http_port


@click.command()
@http_port
def command(port: int | None) -> None:
    """Run the HTTP gateway: POST /v1/events → Kafka."""
    from jobtide.cli.options import start
    from jobtide.cli.serving import serve
    from jobtide.gateway import create_app

    settings = start(http_port=port)
    serve(create_app(settings), settings)
