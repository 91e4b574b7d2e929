"""The receivers file: who is told, by what, about which alerts. YAML through pydantic, like the rules. Pure but for the given environment.

Secrets may stand in the file or, as `env:NAME`, in the environment; they are never shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import yaml
from jobtide.sinks.webhook import signing
from jobtide.sinks.webhook.addresses import refuse_url
from jobtide.sinks.webhook.silences import Inhibition
from jobtide.streams.alerts.durations import Duration
from jobtide.streams.alerts.transitions import Transition
from jobtide.streams.errors import ConfigError
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

MINUTE_MS = 60_000
PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
ORDER = {"info": 0, "warning": 1, "critical": 2}
Labels = dict[Annotated[str, Field(max_length=100)], Annotated[str, Field(max_length=500)]]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReceiverBase(Strict):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")
    least_severity: Literal["info", "warning", "critical"] = "info"


class Addressed(ReceiverBase):
    url: SecretStr

    @field_validator("url")
    @classmethod
    def _an_address(cls, value: SecretStr) -> SecretStr:
        refusal = refuse_url(value.get_secret_value())
        if refusal is not None:
            raise ValueError(f"is not used: {refusal.value}")
        return value


class Webhook(Addressed):
    """Signed by Standard Webhooks. Several secrets: all sign, so that one can be replaced."""

    kind: Literal["webhook"]
    secrets: list[SecretStr] = Field([], max_length=5)

    @field_validator("secrets")
    @classmethod
    def _keys(cls, value: list[SecretStr]) -> list[SecretStr]:
        for each in value:
            try:
                signing.key(each.get_secret_value())
            except ValueError:
                raise ValueError("is no secret: write whsec_ and the base64 of 24 to 64 random bytes, or env:NAME") from None
        return value


class Slack(Addressed):
    kind: Literal["slack"]


class PagerDuty(Addressed):
    kind: Literal["pagerduty"]
    url: SecretStr = SecretStr(PAGERDUTY)
    routing_key: SecretStr


class Alertmanager(Addressed):
    """`url`: the Alertmanager itself; `/api/v2/alerts` is added."""

    kind: Literal["alertmanager"]


class StatusPage(Addressed):
    """The state of every queue as one JSON document, whenever an alert changes it."""

    kind: Literal["status_page"]


class Email(ReceiverBase):
    kind: Literal["email"]
    host: str = Field(min_length=1, max_length=253)
    port: int = Field(587, ge=1, le=65535)
    sender: str = Field(max_length=320, pattern=r"^[^\s@]+@[^\s@]+$")
    to: list[Annotated[str, Field(max_length=320, pattern=r"^[^\s@]+@[^\s@]+$")]] = Field(min_length=1, max_length=50)
    username: str = ""
    password: SecretStr = SecretStr("")
    tls: Literal["starttls", "implicit", "none"] = "starttls"


Receiver = Annotated[Webhook | Slack | PagerDuty | Alertmanager | StatusPage | Email, Field(discriminator="kind")]


class Route(Strict):
    """Alerts that match go to the receivers. All routes that match are taken; without routes everybody is told everything."""

    match: Labels = {}
    receivers: list[str] = Field(min_length=1)
    group_by: list[str] = ["rule", "tenant", "environment", "system", "queue"]
    wait: Duration = 0
    interval: Duration = 5 * MINUTE_MS
    repeat: Duration = 240 * MINUTE_MS


class Inhibit(Strict):
    source: Labels
    target: Labels
    equal: list[str] = ["tenant", "environment", "system", "queue"]


class ReceiversFile(Strict):
    version: Literal[1] = 1
    receivers: list[Receiver] = Field([], max_length=100)
    routes: list[Route] = Field([], max_length=200)
    inhibit: list[Inhibit] = Field(
        [
            Inhibit(source={"severity": "critical"}, target={"severity": severity}, equal=["tenant", "environment", "system", "queue", "job_class"])
            for severity in ("warning", "info")
        ],
        max_length=100,
        description="By default a critical alert tells what warnings of the same series would.",
    )

    def receiver(self, name: str) -> Any:
        return next((each for each in self.receivers if each.name == name), None)

    def routes_of(self, transition: Transition, labels: Mapping[str, str]) -> list[tuple[Route, str]]:
        """(route, receiver) of an alert; the first route that names a receiver counts."""
        from jobtide.sinks.webhook.silences import matches

        out: dict[str, Route] = {}
        for route in self.routes or [Route(receivers=[each.name for each in self.receivers])] if self.receivers else []:
            if matches(route.match, labels):
                for name in route.receivers:
                    if ORDER[transition.severity] >= ORDER[self.receiver(name).least_severity]:
                        out.setdefault(name, route)
        return [(route, name) for name, route in out.items()]

    def inhibitions(self) -> list[Inhibition]:
        return [Inhibition(dict(each.source), dict(each.target), list(each.equal)) for each in self.inhibit]


def load_receivers(text: str, file: str, environ: Mapping[str, str]) -> ReceiversFile:
    """Raises ConfigError naming file, receiver and field."""
    try:
        data = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: is not YAML: {' '.join(str(error).split())}") from None
    try:
        found = ReceiversFile.model_validate(_from_environment(data, environ, file))
    except ValidationError as error:
        said = [f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}" for each in error.errors(include_url=False)]
        raise ConfigError(f"{file}: {'; '.join(said)}") from None
    names = [each.name for each in found.receivers]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{file}: two receivers are called {name}; give one another name")
    for route in found.routes:
        for name in route.receivers:
            if name not in names:
                raise ConfigError(f"{file}: a route names the receiver {name}, which is not there; add it to receivers or correct the name")
    return found


def _from_environment(data: Any, environ: Mapping[str, str], file: str) -> Any:
    if isinstance(data, dict):
        return {key: _from_environment(value, environ, file) for key, value in data.items()}
    if isinstance(data, list):
        return [_from_environment(value, environ, file) for value in data]
    if isinstance(data, str) and data.startswith("env:"):
        if data[4:] not in environ:
            raise ConfigError(f"{file}: the environment has no {data[4:]}; set it or write the value into the file")
        return environ[data[4:]]
    return data
