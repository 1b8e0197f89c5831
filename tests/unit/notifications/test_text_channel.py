"""SMS and push: what a provider's answer means for the job, and that its keys stay secret."""

import json
from collections.abc import Iterator

import pytest

from notifications.channels.base import AllRefused
from notifications.channels.text import Text, TextChannel
from tasks.api import PermanentError, RetryLater
from tests.receiver import Receiver


@pytest.fixture
def provider() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def url(provider: Receiver, key: str = "s3cretkey") -> str:
    return f"json://user:{key}@127.0.0.1:{provider.port}/send?rto=5"


def text(*recipients: str) -> Text:
    return Text(id="job-1", recipients=recipients or ("+4930901820",), title="Hi", text="It works. Grüße")


def test_a_provider_is_told_the_text_at_an_address_with_the_recipient(provider):
    receipt = TextChannel("sms", [url(provider)]).send(text("+4930901820", "+4930901821"))

    assert (receipt.accepted, receipt.refused) == (["+4930901820", "+4930901821"], {})
    assert [received.path for received in provider.received] == ["/send/+4930901820", "/send/+4930901821"]
    assert provider.received[0].message["message"] == "It works. Grüße"


@pytest.mark.parametrize("status", [400, 404, 403])
def test_whom_the_provider_does_not_want_is_refused_for_good(provider, status):
    provider.replies(status)
    with pytest.raises(AllRefused, match=str(status)):
        TextChannel("sms", [url(provider)]).send(text())


@pytest.mark.parametrize("status", [429, 500, 503, 408])
def test_what_may_pass_is_tried_again(provider, status):
    provider.replies(status)
    with pytest.raises(RetryLater, match=str(status)):
        TextChannel("sms", [url(provider)]).send(text())


def test_a_provider_that_can_not_be_reached_is_tried_again():
    with pytest.raises(RetryLater):
        TextChannel("push", ["json://127.0.0.1:9/"]).send(text("phone-1"))


def test_whom_it_refuses_is_told_beside_whom_it_accepts_and_those_put_off_are_in_neither(provider):
    statuses = {"/send/a": 200, "/send/b": 400, "/send/c": 503}
    provider.answer = lambda received: (statuses[received.path], {}, b"")
    receipt = TextChannel("push", [url(provider)]).send(text("a", "b", "c"))

    assert receipt.accepted == ["a"]
    assert list(receipt.refused) == ["b"]


def test_a_second_provider_takes_what_the_first_does_not(provider):
    with Receiver() as broken:
        broken.replies(500)
        receipt = TextChannel("sms", [url(broken), url(provider)]).send(text())

    assert receipt.accepted == ["+4930901820"]
    assert len(provider.received) == 1


def test_what_may_pass_at_one_provider_is_not_given_up_because_another_refuses(provider):
    provider.replies(400)
    with Receiver() as busy:
        busy.replies(503)
        with pytest.raises(RetryLater):
            TextChannel("sms", [url(busy), url(provider)]).send(text())


def test_no_error_tells_the_providers_keys(provider):
    provider.replies(400, b"bad key s3cretkey")
    with pytest.raises(PermanentError) as caught:
        TextChannel("sms", [url(provider)]).send(text())
    assert "s3cretkey" not in str(caught.value)


def test_an_address_that_means_nothing_names_its_variable():
    with pytest.raises(AllRefused, match="SMS_URLS") as caught:
        TextChannel("sms", ["nosuch://s3cretkey"]).send(text())
    assert "s3cretkey" not in str(caught.value)


def test_without_a_provider_texts_are_files_and_the_same_again_is_one_file(settings, tmp_path):
    settings.OUTBOX_DIR = tmp_path
    for _ in range(2):
        TextChannel("sms", ["file://"]).send(text("+4930901820", "../../x"))

    files = sorted((tmp_path / "sms").iterdir())
    assert [file.name for file in files] == ["job-1-+4930901820.json", "job-1-______x.json"]
    assert json.loads(files[0].read_text())["text"] == "It works. Grüße"
