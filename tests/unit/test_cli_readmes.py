"""The READMEs of gateway and cli against the code: examples are accepted, tables are complete."""

import json
import re
from pathlib import Path

from click.testing import CliRunner
from jobtide.cli import main
from jobtide.gateway.intake import MAX_EVENTS, Arrival, Intake, judge

ROOT = Path(__file__).parents[2]
GATEWAY = (ROOT / "emitters/gateway/README.md").read_text()
CLI = (ROOT / "cli/README.md").read_text()


def test_the_gateways_examples_are_accepted() -> None:
    bodies = re.findall(r"-d '(\{.+?\})'", GATEWAY)
    assert bodies
    intake = Intake()
    for body in bodies:
        judge(1, body.encode(), Arrival(8, "2026-11-22T10:00:00Z", "n"), intake)
    assert (intake.accepted, intake.rejected) == (len(bodies), [])
    assert json.loads(re.findall(r"^# (\{.+\})$", GATEWAY, re.MULTILINE)[0]) == {"accepted": 1, "rejected": []}


def test_every_status_the_gateway_answers_is_explained() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "emitters/gateway/jobtide/gateway").glob("*.py"))
    used = {*re.findall(r"Problem\((\d{3})", sources), *re.findall(r"(\d{3}) if", sources), "202", "401", "403"}  # the last two are the guard's
    assert used == set(re.findall(r"^\| (\d{3}) \|", GATEWAY, re.MULTILINE))
    assert f"{MAX_EVENTS:,}".replace(",", " ") in GATEWAY


def test_every_command_is_listed() -> None:
    listed = set(re.findall(r"`(?:jobtide )?(\w+)(?: \w+)?(?: FILE)?`", CLI.split("## up")[0]))
    assert set(main.COMMANDS) - {"version"} <= listed


def test_the_flags_of_up_are_those_it_has() -> None:
    shown = set(re.findall(r"--[a-z]+", CliRunner().invoke(main.cli, ["up", "--help"]).output)) - {"--help"}
    synopsis = next(line for line in CLI.splitlines() if line.startswith("jobtide up ["))
    assert set(re.findall(r"--[a-z]+", synopsis)) == shown
