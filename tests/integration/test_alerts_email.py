"""Alerts by e-mail, to a real SMTP server: what arrives, and where nothing is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from email import message_from_bytes
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from jobtide.cli.embedded import ports
from jobtide.sinks.webhook import smtp
from jobtide.sinks.webhook.addresses import networks
from jobtide.sinks.webhook.payloads import Request
from jobtide.sinks.webhook.receivers import Email

LOOPBACK = networks("127.0.0.0/8, ::1/128")
REQUEST = Request("msg_1", "post", "g", "email", "FIRING JobsFailing\nü\n".encode(), subject="[FIRING] JobsFailing mail\r\nBcc: all@example.com")


class Inbox:
    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.connections = 0

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str) -> str:
        self.connections += 1
        session.host_name = hostname
        return "250 HELP"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.messages.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return "250 OK"


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, int]]:
    found = Inbox()
    port = ports.free_block(1)
    controller = Controller(found, hostname="127.0.0.1", port=port)
    controller.start()
    yield found, port
    controller.stop()


def receiver(port: int, tls: str = "none") -> Email:
    return Email.model_validate(
        {"name": "post", "kind": "email", "host": "127.0.0.1", "port": port, "sender": "jobtide@example.com", "to": ["ops@example.com"], "tls": tls}
    )


async def test_the_message_arrives_with_the_letters_id_and_nothing_slipped_in(inbox: tuple[Inbox, int]) -> None:
    found, port = inbox
    assert (await smtp.send(receiver(port), REQUEST, LOOPBACK)).status == 250
    sender, to, content = found.messages[0]
    message = message_from_bytes(content)
    assert (sender, to) == ("jobtide@example.com", ["ops@example.com"])
    assert message["Message-ID"] == "<msg_1@example.com>" and message["Bcc"] is None and message["Subject"].startswith("[FIRING] JobsFailing mail")
    assert message.get_payload(decode=True) == REQUEST.body.replace(b"\n", b"\r\n") or message.get_payload(decode=True) == REQUEST.body


async def test_nothing_goes_to_a_private_address_or_without_tls(inbox: tuple[Inbox, int]) -> None:
    found, port = inbox
    for kind in ("none", "starttls", "implicit"):
        assert (await smtp.send(receiver(port, kind), REQUEST)).error.startswith("refused: ")
    assert found.connections == 0


async def test_a_server_that_does_not_offer_tls_gets_nothing(inbox: tuple[Inbox, int]) -> None:
    found, port = inbox
    answer = await smtp.send(receiver(port, "starttls"), REQUEST, LOOPBACK)
    assert answer.status is None and "STARTTLS" in answer.error and found.messages == []


async def test_a_server_that_is_not_there_is_an_answer_like_any_other() -> None:
    answer = await asyncio.wait_for(smtp.send(receiver(1), REQUEST, LOOPBACK), 60)
    assert answer.status is None and "ConnectionRefused" in answer.error


@pytest.mark.parametrize("breaks", ["\u0085", "\u2028", "\u2029", "\x1d", "\r\n"])
async def test_no_line_break_in_a_name_makes_a_letter_that_cannot_be_sent(inbox: tuple[Inbox, int], breaks: str) -> None:
    found, port = inbox
    request = Request("msg_2", "post", "g", "email", b"x\n", subject=f"[FIRING] R mail{breaks}Bcc: all@example.com")
    assert (await smtp.send(receiver(port), request, LOOPBACK)).status == 250
    message = message_from_bytes(found.messages[0][2])
    assert message["Subject"] == "[FIRING] R mail Bcc: all@example.com" and message["Bcc"] is None


async def test_what_no_message_can_say_is_a_refusal_and_does_not_end_the_notifier(inbox: tuple[Inbox, int]) -> None:
    _, port = inbox
    answer = await smtp.send(receiver(port), Request("msg_3", "post", "g", "email", b"\xff", subject="s"), LOOPBACK)
    assert answer.status is None and answer.error.startswith("UnicodeDecodeError")


async def test_one_refused_recipient_of_two_is_no_delivery(inbox: tuple[Inbox, int], monkeypatch: pytest.MonkeyPatch) -> None:
    found, port = inbox

    async def handle_rcpt(server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address.startswith("gone"):
            return "550 nobody here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    monkeypatch.setattr(found, "handle_RCPT", handle_rcpt, raising=False)
    both = receiver(port).model_copy(update={"to": ["ops@example.com", "gone@example.com"]})
    answer = await smtp.send(both, REQUEST, LOOPBACK)
    assert answer.status is None and "gone@example.com" in answer.error and "550" in answer.error
