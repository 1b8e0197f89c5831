"""SMS and push: what a provider's answer means for the job, and that its keys stay secret."""

import json
from collections.abc import Iterator

import pytest

from notifications.channels.base import AllRefused
from notifications.channels.text import Text, TextChannel, _without_secrets
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
    assert [file.name.rpartition("-")[0] for file in files] == ["job-1-+4930901820", "job-1-______x"]
    assert json.loads(files[0].read_text())["text"] == "It works. Grüße"


PUSHOVER = f"pover://{'u' * 30}@{'azgdj' * 6}"


@pytest.mark.parametrize(
    ("url", "keys"),
    [
        pytest.param(PUSHOVER, ["u" * 30, "azgdj" * 6], id="in the host's place"),
        pytest.param("twilio://AC01234:f00dbabe@12025550143", ["AC01234", "f00dbabe"], id="user and password"),
        pytest.param("json://ann:p%40ss%2Fword@example.com/", ["p@ss/word", "p%40ss%2Fword"], id="quoted"),
        pytest.param("ntfys://ntfy.sh/?token=tk_abcdef", ["tk_abcdef", "TK_ABCDEF"], id="in the options"),
    ],
)
def test_a_key_is_hidden_wherever_an_address_has_it(url, keys):
    said = _without_secrets("refused: " + ", ".join(keys), url)
    assert said == "refused: " + ", ".join(["***"] * len(keys))


def test_the_host_is_told_since_it_says_which_provider_it_was():
    assert _without_secrets("ntfy.sh is away", "ntfys://ntfy.sh") == "ntfy.sh is away"


@pytest.mark.parametrize(
    ("url", "recipient"),
    [(PUSHOVER, "x" * 40), (f"tgram://123456789:{'A' * 35}", "a:b"), ("ntfys://ntfy.sh", "a:b@c")],
)
def test_a_recipient_that_the_provider_can_not_have_is_refused_for_good(url, recipient):
    with pytest.raises(AllRefused, match=recipient):
        TextChannel("push", [url]).send(text(recipient))


def test_what_apprise_logs_of_addresses_reaches_no_log_of_ours(provider, logged):
    provider.replies(500)
    for address, error in (("nosuch://s3cretkey", AllRefused), (url(provider), RetryLater)):
        with pytest.raises(error):
            TextChannel("sms", [address]).send(text())
    assert [line for line in logged if "s3cretkey" in line or "+4930901820" in line] == []


def test_a_key_that_spells_the_word_error_does_not_hide_what_the_answer_means(provider):
    provider.replies(400)
    with pytest.raises(AllRefused):
        TextChannel("sms", [url(provider, "error")]).send(text())
