"""A real SMTP server on loopback, in a thread, with the manners a test asks for."""

import json
import logging
import socket
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session


class Post:
    """The server's side: what it answers, and what it was given."""

    def __init__(self, *, mail: str = "250 OK", rcpt: dict[str, str] | None = None, data: str = "250 OK"):
        self.mail = mail
        self.rcpt = rcpt or {}
        self.data = data
        self.port = 0
        self.received: list[tuple[list[str], EmailMessage]] = []

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list) -> str:
        if self.mail.startswith("250"):
            envelope.mail_from = address
        return self.mail

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list) -> str:
        reply = self.rcpt.get(address, "250 OK")
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.data == "hang up":
            server.transport.close()
        elif self.data.startswith("250"):
            mail = message_from_bytes(envelope.content, policy=policy.default)
            self.received.append((envelope.rcpt_tos, mail))
        return self.data


class GruffPost(Post):
    """Takes the mail, then answers the goodbye with a line longer than the protocol knows."""

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return "221 " + "bye " * 3000


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def use_port(settings) -> Callable[[int], None]:
    """Point Django's mail settings at a port of this machine."""

    def use(port: int) -> None:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        settings.EMAIL_TIMEOUT = 5
        settings.DEFAULT_FROM_EMAIL = "Shop <shop@example.com>"

    return use


@pytest.fixture
def serve(use_port) -> Iterator[Callable[..., Post]]:
    """Start an SMTP server with these manners and make it Django's."""
    running: list[Controller] = []

    def start(post: Post | None = None, **options: Any) -> Post:
        post = post or Post()
        post.port = free_port()
        controller = Controller(post, hostname="127.0.0.1", port=post.port, **options)
        controller.start()
        running.append(controller)
        use_port(post.port)
        return post

    yield start
    for controller in running:
        controller.stop()


def no_login(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
    return AuthResult(success=False, handled=False)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What gets to the handlers of the root, as in a worker; caplog hears loggers that hand nothing on as well."""
    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    root, listener = logging.getLogger(), Listener()
    before = root.level
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    yield lines
    root.setLevel(before)
    root.removeHandler(listener)


class Memory:
    """JobContext.once over the attempts of one job: values pass through JSON, as in the database."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def once(self, key: str, effect: Callable[[], Any]) -> Any:
        if key not in self.values:
            self.values[key] = json.dumps(effect())
        return json.loads(self.values[key])
