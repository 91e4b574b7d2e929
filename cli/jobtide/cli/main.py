"""The `jobtide` program: which commands there are, and how errors leave it. Commands are imported when they are called.

A ConfigError becomes one sentence on standard error and exit code 2; Ctrl-C becomes 130; anything else unexpected keeps
its traceback, because it is a bug.
"""

from __future__ import annotations

import importlib
import sys

import click
from jobtide.streams.errors import ConfigError, StoreRejected, TransientError

# Name → the line in `jobtide --help`. One module of that name in `commands` each.
COMMANDS = {
    "up": "Start everything on this machine and show its address.",
    "top": "Watch job classes live.",
    "stats": "Totals, slowest queues, failing classes.",
    "queues": "Queues or job classes with their numbers.",
    "failed": "Failed attempts, newest first.",
    "job": "The story of one job.",
    "stuck": "What is late, slow, lost or runs twice.",
    "why": "Why the jobs of a queue waited.",
    "alerts": "What fires, and what fired.",
    "sql": "Ask a SELECT over the analysts' views.",
    "export": "A view of history as a file.",
    "mcp": "Let an assistant ask (MCP over stdin and stdout).",
    "emit": "Run a command and tell what becomes of it.",
    "agent": "Deliver what dead processes left on disk.",
    "replay": "Play a file of events into a running jobtide.",
    "health": "Say what works and what does not.",
    "worker": "Run one streams worker.",
    "sink": "Run the history writer.",
    "rules": "Check, test and backtest alert rules.",
    "notifier": "Tell people about alerts.",
    "api": "Run the query API.",
    "gateway": "Run the HTTP gateway for events.",
    "rebuild": "Fold job.events again from its beginning.",
    "dlq": "List or replay dead letters.",
    "keys": "Make, list and revoke API keys.",
    "erase": "Erase a job or a tenant.",
    "topics": "Make the Kafka topics.",
    "version": "Print the version.",
}
_HIDDEN = {"edge", "demo", "probe"}


class LazyGroup(click.Group):
    """Lists commands without importing them: `jobtide --help` and tab completion stay fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS and cmd_name not in _HIDDEN:
            return None
        command = importlib.import_module(f"jobtide.cli.commands.{cmd_name}").command
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """Turns the events of background jobs into exact live numbers and a history.

    Settings come from the environment (JOBTIDE_…); flags win over them.
    """


def main() -> None:
    """Entry point of the `jobtide` script."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except ConfigError as error:
        click.echo(f"jobtide: {error}", err=True)
        code = 2
    except (TransientError, StoreRejected) as error:
        click.echo(f"jobtide: {error}", err=True)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
