"""What an address that somebody else chose may and may not give us."""

from collections.abc import Iterator
from typing import Any

import pytest

from tasks.downloads import check_url, download
from tasks.errors import PermanentError, RetryLater
from tests.receiver import Receiver


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.TASKS_WEBHOOK_ALLOW_HTTP = settings.TASKS_WEBHOOK_ALLOW_PRIVATE = True
    with Receiver() as receiver:
        yield receiver


def test_the_bytes_of_an_answer_are_read(receiver):
    receiver.answer = lambda received: (200, {"content-type": "image/png"}, b"\x00" * 5000)
    assert download(receiver.url, most_bytes=5000) == b"\x00" * 5000


def test_more_than_the_most_is_never_held(receiver):
    receiver.answer = lambda received: (200, {}, b"\x00" * 5001)
    with pytest.raises(PermanentError, match="5,000 bytes"):
        download(receiver.url, most_bytes=5000)


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, PermanentError), (401, PermanentError), (302, PermanentError), (429, RetryLater), (503, RetryLater)],
)
def test_an_answer_that_may_pass_is_asked_for_again_and_another_is_not(receiver, status, error):
    receiver.answer = lambda received: (status, {"location": "http://10.0.0.1/"}, b"no")
    with pytest.raises(error, match=str(status)):
        download(receiver.url, most_bytes=100)


def test_an_address_inside_our_network_is_not_called(settings):
    settings.TASKS_WEBHOOK_ALLOW_HTTP, settings.TASKS_WEBHOOK_ALLOW_PRIVATE = True, False
    with Receiver() as receiver:
        with pytest.raises(RetryLater, match="this host itself"):
            download(receiver.url, most_bytes=100)
        assert receiver.received == []


def test_a_url_is_checked_before_there_is_a_job():
    assert check_url("https://example.com/a.png") == "https://example.com/a.png"
    with pytest.raises(ValueError, match="https://"):
        check_url("ftp://example.com/a.png")


def test_a_signature_in_an_address_is_in_no_error(receiver):
    receiver.answer = lambda received: (404, {}, b"no")
    with pytest.raises(PermanentError) as raised:
        download(f"{receiver.url}?X-Signature=hunter22", most_bytes=100)
    assert "404" in str(raised.value)
    assert "hunter22" not in str(raised.value)
