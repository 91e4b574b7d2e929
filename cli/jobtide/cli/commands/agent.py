"""`jobtide agent`: delivers what dead processes left on disk. What it does is in `jobtide_emitter.agent`."""

import logging
import os
import sys

import click
from jobtide.streams.errors import ConfigError


@click.command()
@click.option("--spool-dir", default="", help="Directory that the emitters of this machine spool to (JOBTIDE_EMITTER_SPOOL_DIR).")
@click.option("--url", default="", help="Gateway to post to (JOBTIDE_EMITTER_URL).  [default: as the emitters' settings say]")
@click.option("--once", is_flag=True, help="Deliver what is there and end: exit code 0 if nothing is left, else 1.")
def command(spool_dir: str, url: str, once: bool) -> None:
    """Deliver what dead processes left in the spool directory.

    Ruby, Node and Python emitters spool events that they cannot deliver, and deliver what others left as they start. The agent does it
    where none may start for long. Its settings are the emitters' (JOBTIDE_EMITTER_...), and must name the same target.
    Events keep their epochs and numbers: nothing is counted twice.
    """
    from jobtide_emitter import ConfigError as EmitterConfigError
    from jobtide_emitter.agent import Agent, serve
    from jobtide_emitter.settings import load

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    environment = dict(os.environ)
    if url:
        environment["JOBTIDE_EMITTER_URL"] = url
        environment.pop("JOBTIDE_EMITTER_BROKER", None)
    try:
        settings, _ = load(environment, **({"spool_dir": spool_dir} if spool_dir else {}))
        agent = Agent(settings)
    except EmitterConfigError as error:
        raise ConfigError(str(error)) from error
    sys.exit(serve(agent, once=once))
