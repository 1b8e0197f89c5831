"""The e-mail channel against a real SMTP server: what each reply means for the job."""

import socket
from dataclasses import replace
from threading import Thread

import pytest

from notifications.channels.base import AllRefused
from notifications.channels.email import Email, EmailChannel
from tasks.api import PermanentError, RetryLater
from tests.unit.notifications.conftest import GruffPost, Post, free_port, no_login

ANN, BOB = "ann@example.com", "bob@example.com"
EMAIL = Email(
    message_id="<1@example.com>",
    sender="Shop <shop@example.com>",
    to=(ANN,),
    cc=(BOB,),
    recipients=(ANN, BOB),
    subject="Grüße",
    text="Hello.\n.\nA line that is a dot must survive.",
    html=None,
)


def send(email: Email = EMAIL):
    return EmailChannel().send(email)


def test_an_accepted_mail_arrives_as_it_was_written(serve):
    post = serve()

    receipt = send()

    assert (receipt.accepted, receipt.refused) == ([ANN, BOB], {})
    ((recipients, mail),) = post.received
    assert recipients == [ANN, BOB]
    assert (mail["From"], mail["To"], mail["Cc"]) == ("Shop <shop@example.com>", ANN, BOB)
    assert (mail["Subject"], mail["Message-ID"]) == ("Grüße", "<1@example.com>")
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().splitlines() == EMAIL.text.splitlines()


def test_html_travels_as_the_better_alternative_of_the_text(serve):
    post = serve()
    send(replace(EMAIL, html="<p>Hello.</p>"))
    ((_, mail),) = post.received
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]


def test_recipients_may_be_fewer_than_the_mail_shows(serve):
    post = serve()
    send(replace(EMAIL, recipients=(BOB,)))
    ((recipients, mail),) = post.received
    assert recipients == [BOB]
    assert mail["To"] == ANN


def test_a_domain_beyond_ascii_travels_as_punycode(serve):
    post = serve()
    receipt = send(replace(EMAIL, to=("ann@bücher.example",), cc=(), recipients=("ann@bücher.example",)))
    assert receipt.accepted == ["ann@bücher.example"]
    assert post.received[0][0] == ["ann@xn--bcher-kva.example"]


LATER, NEVER = RetryLater, PermanentError


@pytest.mark.parametrize(
    ("manners", "outcome", "words"),
    [
        ({"mail": "450 4.7.1 slow down"}, LATER, "450 4.7.1 slow down"),
        ({"mail": "550 5.7.1 not you"}, NEVER, r"to our sender \(DEFAULT_FROM_EMAIL\): 550 5.7.1 not you"),
        ({"mail": "421 4.3.2 closing"}, LATER, "421 4.3.2 closing"),
        ({"data": "450 4.2.0 mailbox busy"}, LATER, "to the message: 450 4.2.0 mailbox busy"),
        ({"data": "452 4.3.1 disk full"}, LATER, "452 4.3.1 disk full"),
        ({"data": "550 5.7.1 policy"}, NEVER, "to the message: 550 5.7.1 policy"),
        ({"data": "554 5.6.0 spam"}, NEVER, "to the message: 554 5.6.0 spam"),
        ({"data": "hang up"}, LATER, "ended the conversation early"),
        ({"rcpt": {ANN: "550 5.1.1 who?", BOB: "550 5.1.1 who?"}}, AllRefused, "ann@.* was refused: 550 5.1.1 who?"),
        ({"rcpt": {ANN: "450 4.2.0 later", BOB: "450 4.2.0 later"}}, LATER, "ann@.* was put off: 450 4.2.0 later"),
        ({"rcpt": {ANN: "550 5.1.1 who?", BOB: "450 4.2.0 later"}}, LATER, "bob@.* was put off: 450 4.2.0 later"),
        ({"rcpt": {BOB: "421 4.3.2 closing"}}, LATER, "421 4.3.2 closing"),
    ],
)
def test_a_reply_of_4xx_means_later_and_5xx_never(serve, manners, outcome, words):
    post = serve(Post(**manners))
    with pytest.raises(outcome, match=words) as raised:
        send()
    assert isinstance(raised.value, PermanentError) == issubclass(outcome, PermanentError)
    assert post.received == []


def test_a_refused_recipient_is_named_beside_the_accepted_one(serve):
    post = serve(Post(rcpt={BOB: "550 5.1.1 no such user"}))
    receipt = send()
    assert receipt.accepted == [ANN]
    assert receipt.refused == {BOB: "550 5.1.1 no such user"}
    assert post.received[0][0] == [ANN]


def test_a_recipient_put_off_is_neither_accepted_nor_refused(serve):
    serve(Post(rcpt={BOB: "450 4.2.0 greylisted"}))
    receipt = send()
    assert (receipt.accepted, receipt.refused) == ([ANN], {})


def test_an_error_in_the_goodbye_does_not_undo_a_mail_that_was_taken(serve):
    post = serve(GruffPost())
    assert send().accepted == [ANN, BOB]
    assert len(post.received) == 1


def test_nobody_listening_means_later(use_port):
    port = free_port()
    use_port(port)
    with pytest.raises(RetryLater, match=f"127.0.0.1:{port} can not be reached: .*refused"):
        send()


def test_a_server_that_never_speaks_means_later(use_port, settings):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use_port(silent.getsockname()[1])
        settings.EMAIL_TIMEOUT = 0.05
        with pytest.raises(RetryLater, match="timed out"):
            send()


@pytest.mark.parametrize(
    ("greeting", "outcome"),
    [
        ("421 4.3.2 too busy", RetryLater),
        ("554 5.7.1 you are on a list", PermanentError),
        ("HTTP/1.1 400 Bad Request", RetryLater),
    ],
)
def test_a_greeting_can_turn_us_away(use_port, greeting, outcome):
    def greet() -> None:
        conversation, _ = listener.accept()
        with conversation:
            conversation.sendall(f"{greeting}\r\n".encode())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        use_port(listener.getsockname()[1])
        thread = Thread(target=greet)
        thread.start()
        with pytest.raises(outcome, match=greeting[4:]):
            send()
        thread.join(timeout=5)


def test_a_wrong_password_is_permanent_and_says_where_it_stands(serve, settings):
    serve(authenticator=no_login, auth_require_tls=False)
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "shop", "wrong"
    with pytest.raises(PermanentError, match=r"to our login \(EMAIL_URL .*\): 535"):
        send()


@pytest.mark.parametrize("missing", ["login", "TLS"])
def test_a_server_that_lacks_what_the_settings_want_is_permanent(serve, settings, missing):
    serve()
    if missing == "TLS":
        settings.EMAIL_USE_TLS = True
    else:
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "shop", "secret"
    with pytest.raises(PermanentError, match="can not be used as EMAIL_URL says"):
        send()


@pytest.mark.parametrize(
    "injected",
    [
        {"subject": "Hi\nBcc: eve@example.com"},
        {"subject": "Hi\r\n\r\nbody"},
        {"to": ("ann@example.com\nBcc: eve@example.com",)},
        {"sender": "shop@example.com\nBcc: eve@example.com"},
        {"message_id": "<1@example.com>\nBcc: eve@example.com"},
    ],
)
def test_a_line_break_never_becomes_a_header(serve, injected):
    post = serve()
    with pytest.raises(PermanentError, match="line break"):
        send(replace(EMAIL, **injected))
    assert post.received == []


def test_any_other_backend_of_django_takes_it_whole(settings, mailoutbox):
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert send().accepted == [ANN, BOB]
    assert mailoutbox[0].extra_headers["Message-ID"] == "<1@example.com>"
