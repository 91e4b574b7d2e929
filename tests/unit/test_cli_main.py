"""The `jobtide` program: its list of commands, how errors leave it, what it may import early."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from jobtide.cli import main
from jobtide.streams.errors import ConfigError, TransientError

LIGHT = {"aiokafka", "faust", "fastapi", "uvicorn", "redis", "chdb", "rich", "clickhouse_connect", "celery", "rq"}


def test_help_lists_every_command_and_each_explains_itself() -> None:
    listed = CliRunner().invoke(main.cli, ["--help"]).output
    for name in main.COMMANDS:
        assert f"\n  {name} " in listed
        shown = CliRunner().invoke(main.cli, [name, "--help"])
        assert shown.exit_code == 0 and shown.output.startswith(f"Usage: cli {name}"), shown.output
        # A command without a docstring would show options only.
        assert len(shown.output.split("\n\n")[1].strip()) > 10


def test_hidden_commands_are_not_listed() -> None:
    listed = CliRunner().invoke(main.cli, ["--help"]).output
    for name in ("edge", "demo", "probe"):
        assert f"\n  {name} " not in listed
        assert CliRunner().invoke(main.cli, [name, "--help"]).exit_code == 0


def test_every_command_module_is_reachable() -> None:
    from jobtide.cli import commands

    (directory,) = commands.__path__
    names = {path.stem for path in __import__("pathlib").Path(directory).glob("[a-z]*.py")}
    assert names == set(main.COMMANDS) | {"edge", "demo", "probe"}


def test_help_and_completion_import_nothing_heavy() -> None:
    program = "import sys; from jobtide.cli.main import cli, COMMANDS; [cli.get_command(None, n) for n in COMMANDS]"
    done = subprocess.run([sys.executable, "-c", f"{program}; print(*sys.modules)"], capture_output=True, text=True, check=True)
    assert not LIGHT & set(done.stdout.split())


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("JOBTIDE_X is wrong: mend it"), 2, "jobtide: JOBTIDE_X is wrong: mend it\n"),
        (TransientError("Kafka is away"), 1, "jobtide: Kafka is away\n"),
        (KeyboardInterrupt(), 130, ""),
        (click.UsageError("no"), 2, "Usage"),
        (SystemExit(3), 3, ""),
    ],
)
def test_errors_leave_with_their_code(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing() -> None:
        raise error

    monkeypatch.setattr(main.cli, "get_command", lambda ctx, name: click.Command(name, callback=failing))
    monkeypatch.setattr(sys, "argv", ["jobtide", "version"])
    with pytest.raises(SystemExit) as left:
        main.main()
    assert left.value.code == code and said in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(main.cli, "get_command", lambda ctx, name: click.Command(name, callback=failing))
    monkeypatch.setattr(sys, "argv", ["jobtide", "version"])
    with pytest.raises(ZeroDivisionError):
        main.main()
