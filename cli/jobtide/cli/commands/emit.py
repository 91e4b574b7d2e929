"""`jobtide emit -- CMD…`: a command as a job. What it does is in `jobtide_emitter.command`."""

import os
import sys

import click


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--queue", default="cron", show_default=True, help="Queue the job is shown in.")
@click.option("--name", default="", help="Job class.  [default: the command's name]")
@click.option("--job-id", default="", help="Id of this run.  [default: a new one]")
@click.option("--expected-ms", type=click.IntRange(1), help="How long it may run before it counts as slow.")
@click.option("--url", help="Gateway to post to (JOBTIDE_EMITTER_URL).  [default: that of this machine, port 8321]")
@click.argument("cmd", nargs=-1, required=True, type=click.UNPROCESSED)
def command(queue: str, name: str, job_id: str, expected_ms: int | None, url: str | None, cmd: tuple[str, ...]) -> None:
    """Run a command and tell what becomes of it.

    The job is started, has heartbeats while it runs, and is finished or failed by its exit status. Signals, terminal and
    pipes are the command's; the exit code is its own. It runs all the same when nothing can be told.
    """
    from jobtide_emitter import ConfigError, configure
    from jobtide_emitter.command import run, use_local_gateway

    use_local_gateway(os.environ)
    if url:
        os.environ["JOBTIDE_EMITTER_URL"] = url
        os.environ.pop("JOBTIDE_EMITTER_BROKER", None)
    try:
        configure()
    except ConfigError as error:
        click.echo(f"jobtide: nothing is told: {error}", err=True)
    sys.exit(run(cmd, queue=queue, name=name, job_id=job_id, expected_ms=expected_ms))
