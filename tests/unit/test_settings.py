"""Settings: what is refused, what is hidden, and that the README's table says what the code says.

`python -m tests.unit.test_settings` writes the table anew.
"""

from dataclasses import fields
from pathlib import Path

import pytest
from jobtide.streams.errors import ConfigError
from jobtide.streams.settings import Settings, is_loopback, load, variable

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- settings:", "<!-- /settings -->"


def table() -> str:
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for f in fields(Settings):
        default = f.default if f.default != "" else "(empty)"
        rows.append(f"| `{variable(f.name)}` | `{default}` | {f.metadata['doc']} |")
    return "\n".join(rows)


def readme_with(text: str) -> str:
    page = README.read_text()
    head, rest = page.split(BEGIN, 1)
    comment, rest = rest.split("\n", 1)
    return f"{head}{BEGIN}{comment}\n{text}\n{END}{rest.split(END, 1)[1]}"


def test_the_readme_lists_every_setting_with_its_default() -> None:
    assert README.read_text() == readme_with(table()), "run python -m tests.unit.test_settings"


def test_an_unknown_setting_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"JOBTIDE_BROKERS is not a jobtide setting; did you mean JOBTIDE_BROKER\?"):
        load({"JOBTIDE_BROKERS": "a:1"})


def test_emitter_settings_and_foreign_variables_are_left_alone() -> None:
    assert load({"JOBTIDE_EMITTER_URL": "x", "PATH": "/bin", "JOBTIDE_HTTP_PORT": "1"}).http_port == 1


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("JOBTIDE_PARTITIONS", "12", "JOBTIDE_PARTITIONS must divide 64"),
        ("JOBTIDE_PARTITIONS", "0", "JOBTIDE_PARTITIONS must be from 1 to 64"),
        ("JOBTIDE_FLUSH_MS", "soon", "JOBTIDE_FLUSH_MS must be a whole number"),
        ("JOBTIDE_LOG_LEVEL", "loud", "JOBTIDE_LOG_LEVEL must be debug"),
        ("JOBTIDE_BROKER", "kafka", "JOBTIDE_BROKER must be host:port"),
        ("JOBTIDE_CLICKHOUSE_URL", "tcp://x", "JOBTIDE_CLICKHOUSE_URL must start with"),
        ("JOBTIDE_REDIS_URL", "http://x", "JOBTIDE_REDIS_URL must start with"),
        ("JOBTIDE_OTLP_ENDPOINT", "collector:4317", "JOBTIDE_OTLP_ENDPOINT must be http"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load({name: value})


def test_secrets_and_passwords_in_urls_are_never_shown() -> None:
    settings = load({"JOBTIDE_CLICKHOUSE_PASSWORD": "s3cret", "JOBTIDE_REDIS_URL": "redis://user:s3cret@host:1/0"})
    assert "s3cret" not in repr(settings)
    assert "redis://***@host:1/0" in repr(settings)
    assert "s3cret" not in repr(load({"JOBTIDE_OTLP_HEADERS": "api-key=s3cret,x=http://s3cret"}))


@pytest.mark.parametrize(("host", "inside"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("example", False)])
def test_loopback(host: str, inside: bool) -> None:
    assert is_loopback(host) is inside


if __name__ == "__main__":
    README.write_text(readme_with(table()))
