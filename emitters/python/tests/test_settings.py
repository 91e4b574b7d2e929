"""Settings: from the environment, from `configure`, documented, and wrong ones named."""

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import jobtide_emitter
import pytest
from jobtide_emitter.errors import ConfigError
from jobtide_emitter.settings import PREFIX, Settings, load

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_every_setting_is_read_from_the_environment() -> None:
    given = {
        "url": "http://h/v1/events",
        "topic": "t",
        "client": "aiokafka",
        "tenant": "acme",
        "environment": "prod",
        "disabled": True,
        "off_file": "/off",
        "source": "/a/b",
        "token": "secret",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_username": "u",
        "sasl_password": "p",
        "tls_ca": "/ca",
        "queue_events": 200,
        "queue_bytes": 70_000,
        "spool_dir": "/s",
        "spool_bytes": 2_000_000,
        "linger_ms": 1,
        "flush_timeout_ms": 3,
        "request_timeout_ms": 400,
        "heartbeat_ms": 500,
        "snapshot_ms": 700,
        "stats_ms": 600,
        "error_detail": "class",
        "error_masking": "off",
        "args": "shop.mail",
        "args_mask": "pin",
        "release": "r1",
        "tag": "mail-eu",
    }
    assert {f.name for f in fields(Settings)} == {*given, "broker"}
    environ = {PREFIX + name.upper(): "1" if value is True else str(value) for name, value in given.items()}
    settings, unknown = load(environ)
    assert unknown == []
    assert {name: getattr(settings, name) for name in given} == given
    assert load({PREFIX + "BROKER": "h:9092"})[0].broker == "h:9092"


def test_arguments_win_over_the_environment() -> None:
    assert load({PREFIX + "TENANT": "env"}, tenant="arg")[0].tenant == "arg"


def test_unknown_names_are_reported_not_fatal() -> None:
    settings, unknown = load({PREFIX + "TENNANT": "acme", "JOBTIDE_BROKER": "x"})
    assert unknown == [PREFIX + "TENNANT"]
    assert settings.tenant == "default"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tenant", "Acme!"),
        ("tenant", ""),
        ("environment", ""),
        ("url", "ftp://x"),
        ("queue_events", "many"),
        ("queue_events", "5"),
        ("queue_bytes", "10"),
        ("disabled", "maybe"),
        ("client", "kafkajs"),
        ("error_detail", "all"),
        ("security_protocol", "TLS"),
        ("heartbeat_ms", "0"),
        ("topic", ""),
    ],
)
def test_wrong_values_are_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=PREFIX + name.upper()):
        load({PREFIX + name.upper(): value})


def test_url_and_broker_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="not both"):
        load({PREFIX + "URL": "http://h", PREFIX + "BROKER": "h:1"})


def test_configure_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ConfigError, match="tennant"):
        jobtide_emitter.configure(tennant="acme")


def test_settings_are_frozen_and_hide_secrets() -> None:
    settings = Settings(token="s3cret", sasl_password="pa55")
    with pytest.raises(FrozenInstanceError):
        settings.tenant = "x"  # type: ignore[misc]
    assert "s3cret" not in repr(settings)
    assert "pa55" not in repr(settings)


@pytest.mark.parametrize("setting", fields(Settings), ids=lambda setting: setting.name)
def test_every_setting_is_in_the_readme_with_its_default(setting: object) -> None:
    row = f"| `{PREFIX}{setting.name.upper()}` |"  # type: ignore[attr-defined]
    (line,) = [line for line in README.splitlines() if line.startswith(row)]
    assert setting.metadata["doc"] in line.replace("\\|", "|")  # type: ignore[attr-defined]
    default = setting.default  # type: ignore[attr-defined]
    shown = ("1" if default else "0") if isinstance(default, bool) else default if default != "" else "—"
    assert f"| {shown} |" in line


def test_a_wrong_environment_turns_it_off_and_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv(PREFIX + "TENANT", "NOT OK")
    monkeypatch.setattr("jobtide_emitter.process._current", None)
    assert not jobtide_emitter.emitter().enabled
    assert PREFIX + "TENANT" in caplog.text


def test_without_a_target_it_is_off() -> None:
    assert not Settings().active
    assert not jobtide_emitter.configure().enabled
