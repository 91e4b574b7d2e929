"""Sends one request by e-mail. Blocking, in a thread; the same guard as for HTTP, and the connection goes to the checked address."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage

from jobtide.sinks.webhook.addresses import Network, allowed, blocked
from jobtide.sinks.webhook.http import Answer, look_up
from jobtide.sinks.webhook.payloads import Request
from jobtide.sinks.webhook.receivers import Email

TIMEOUT_S = 15.0


def message(receiver: Email, request: Request) -> EmailMessage:
    """The same request gives the same message, whenever it is sent; its id lets mail programs show it once."""
    out = EmailMessage()
    out["From"], out["To"] = receiver.sender, ", ".join(receiver.to)
    out["Subject"] = " ".join(request.subject.split())[:200]  # a header takes no kind of line break, Unicode's neither
    out["Message-ID"] = f"<{request.id}@{receiver.sender.rpartition('@')[2]}>"
    out.set_content(request.body.decode())
    return out


async def send(receiver: Email, request: Request, allow: Sequence[Network] = ()) -> Answer:
    try:
        addresses = await look_up(receiver.host, receiver.port)
        import ipaddress

        found = [ipaddress.ip_address(each.split("%")[0]) for each in addresses]
        if not found or any(blocked(each, allow) for each in found):
            return Answer(None, "refused: an address of a private, local or reserved network; see JOBTIDE_WEBHOOK_ALLOW")
        if receiver.tls == "none" and not all(allowed(each, allow) for each in found):
            return Answer(None, "refused: e-mail without TLS goes only to allowed networks")
        refused = await asyncio.wait_for(asyncio.to_thread(_send, receiver, message(receiver, request), addresses[0]), 3 * TIMEOUT_S)
    except smtplib.SMTPResponseException as error:
        return Answer(None, f"SMTP {error.smtp_code}: {error.smtp_error!r}"[:300])
    except (smtplib.SMTPException, OSError, TimeoutError, ValueError) as error:  # ValueError: what no message can say, UnicodeError too
        return Answer(None, f"{type(error).__name__}: {error}"[:300])
    if refused:
        return Answer(None, f"refused for {', '.join(sorted(refused))}: {next(iter(refused.values()))!r}"[:300])
    return Answer(250)


def _send(receiver: Email, what: EmailMessage, address: str) -> dict[str, tuple[int, bytes]]:
    """Returns the recipients that the server refused while it took the others."""
    context = ssl.create_default_context()
    if receiver.tls == "implicit":
        server: smtplib.SMTP = _ImplicitTls(receiver.host, context, timeout=TIMEOUT_S)
    else:
        server = smtplib.SMTP(timeout=TIMEOUT_S)
    with server:
        server.connect(address, receiver.port)
        server._host = receiver.host  # type: ignore[attr-defined]  # what STARTTLS checks the certificate against
        if receiver.tls == "starttls":
            server.starttls(context=context)
        if receiver.username:
            server.login(receiver.username, receiver.password.get_secret_value())
        return server.send_message(what)


class _ImplicitTls(smtplib.SMTP_SSL):
    """Connects to an address but checks the certificate of a name."""

    def __init__(self, name: str, context: ssl.SSLContext, timeout: float) -> None:
        self._name = name
        super().__init__(context=context, timeout=timeout)

    def _get_socket(self, host: str, port: int, timeout: float) -> object:
        import socket

        plain = socket.create_connection((host, port), timeout)
        return self.context.wrap_socket(plain, server_hostname=self._name)
