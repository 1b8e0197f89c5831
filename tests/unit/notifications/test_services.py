"""notifications.services: composing, and seeing an e-mail through."""

from uuid import UUID

import pytest

from notifications import services
from notifications.channels.base import AllRefused
from notifications.channels.email import Email, EmailChannel
from tasks.api import PermanentError, RetryLater
from tests.unit.notifications.conftest import Memory, Post

JOB = UUID("01932b5e-0000-7000-8000-000000000001")
ANN, BOB, CYD = "ann@example.com", "bob@example.com", "cyd@example.com"


def compose(**changes) -> Email:
    return services.compose(
        **{"job_id": JOB, "to": [ANN, BOB], "cc": [], "subject": "Hi", "text": "Hello", "html": None, **changes}
    )


@pytest.fixture
def deliver():
    """One more attempt of the same job."""
    memory = Memory()
    return lambda email: services.deliver(email, EmailChannel(), memory.once)


@pytest.mark.parametrize(
    ("sender", "domain"),
    [
        ("shop@example.com", "example.com"),
        ("Shop <a@shop.example>", "shop.example"),
        ("shop@bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_the_message_id_is_the_jobs_in_the_senders_domain(settings, sender, domain):
    settings.DEFAULT_FROM_EMAIL = sender
    assert compose().message_id == f"<{JOB}@{domain}>"


def test_somebody_named_twice_gets_one_mail():
    assert compose(to=[ANN, BOB, ANN], cc=[BOB, CYD]).recipients == (ANN, BOB, CYD)


@pytest.mark.parametrize(("text", "expected"), [("", "Hello Ann"), ("  \n", "Hello Ann"), ("Hi Ann", "Hi Ann")])
def test_a_missing_text_is_made_from_the_html(text, expected):
    assert compose(text=text, html="<p>Hello <b>Ann</b></p>").text == expected


def test_a_second_attempt_sends_nothing_twice(serve, deliver):
    post = serve()
    first, second = deliver(compose()), deliver(compose())
    assert first == second
    assert len(post.received) == 1


def test_a_retry_after_an_unclear_end_carries_the_same_message_id(serve, deliver):
    post = serve(Post(data="hang up"))
    with pytest.raises(RetryLater):
        deliver(compose())
    post.data = "250 OK"
    deliver(compose())
    assert [mail["Message-ID"] for _, mail in post.received] == [compose().message_id]


def test_a_recipient_put_off_gets_it_later_and_the_others_not_again(serve, deliver):
    post = serve(Post(rcpt={BOB: "450 4.2.0 greylisted"}))
    with pytest.raises(RetryLater, match=r"bob@.* 450 4.2.0 greylisted \(these have it already: ann@example.com\)"):
        deliver(compose())

    post.rcpt = {}
    receipt = deliver(compose())

    assert [recipients for recipients, _ in post.received] == [[ANN], [BOB]]
    assert (receipt.accepted, receipt.refused) == ([ANN, BOB], {})


def test_too_many_recipients_for_one_mail_become_two(serve, deliver):
    class Narrow(Post):
        async def handle_RCPT(self, server, session, envelope, address, options):
            if envelope.rcpt_tos:
                return "452 4.5.3 too many recipients"
            return await super().handle_RCPT(server, session, envelope, address, options)

    post = serve(Narrow())
    assert deliver(compose(cc=[CYD])).accepted == [ANN, BOB, CYD]
    assert [recipients for recipients, _ in post.received] == [[ANN], [BOB], [CYD]]


def test_a_recipient_refused_after_being_put_off_is_named_in_the_receipt(serve, deliver):
    post = serve(Post(rcpt={BOB: "450 4.2.0 greylisted"}))
    with pytest.raises(RetryLater):
        deliver(compose())
    post.rcpt = {BOB: "550 5.1.1 no such user"}
    receipt = deliver(compose())
    assert (receipt.accepted, receipt.refused) == ([ANN], {BOB: "550 5.1.1 no such user"})


def test_a_server_that_turns_away_half_way_says_who_has_it(serve, deliver):
    post = serve(Post(rcpt={BOB: "450 4.2.0 greylisted"}))
    with pytest.raises(RetryLater):
        deliver(compose())
    post.mail = "550 5.7.1 not you"
    with pytest.raises(PermanentError, match=r"550 5.7.1 not you .*already: ann@example.com"):
        deliver(compose())


def test_after_a_failure_of_everybody_a_replay_sends_again(serve, deliver):
    post = serve(Post(rcpt={ANN: "550 5.1.1 who?", BOB: "550 5.1.1 who?"}))
    with pytest.raises(AllRefused):
        deliver(compose())
    post.rcpt = {}
    assert deliver(compose()).accepted == [ANN, BOB]


def test_a_replay_with_a_mended_address_sends_to_that_one_only(serve, deliver):
    post = serve(Post(rcpt={BOB: "450 4.2.0 greylisted"}))
    with pytest.raises(RetryLater):
        deliver(compose())
    deliver(compose(to=[ANN, CYD]))
    assert [recipients for recipients, _ in post.received] == [[ANN], [CYD]]
