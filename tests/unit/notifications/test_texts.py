"""The tasks sms.send and push.send: what they accept, and that no attempt repeats another's work."""

import pytest
from django.conf import settings as project_settings
from pydantic import ValidationError

from notifications.payloads import PushPayload, SmsPayload
from notifications.tasks import send_push, send_sms
from tasks.api import PermanentError, RetryLater
from tasks.registry import registry
from tests.receiver import Receiver
from tests.unit.notifications.test_tasks import Context as OneContext


class Context(OneContext):
    rehearsal = False

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[str, list[str]]] = []

    def would_send(self, channel, recipients, subject=""):
        self.shown.append((channel, list(recipients)))


@pytest.mark.parametrize(
    ("given", "kept"),
    [("+49 30 901820", "+4930901820"), ("+1 (202) 555-0143", "+12025550143"), ("+4930901820", "+4930901820")],
)
def test_a_phone_number_is_kept_as_e164(given, kept):
    assert SmsPayload(to=[given], text="x").to == [kept]


@pytest.mark.parametrize(
    "number",
    ["030 901820", "+49", "+999123456789", "hello", "", "+49301234567890123456", "+1" * 50, "+49 30 901820 ext. 5"],
)
def test_what_is_no_number_of_anybody_is_refused(number):
    with pytest.raises(ValidationError):
        SmsPayload(to=[number], text="x")


@pytest.mark.parametrize("target", ["a/b", "a?b", "", "a b", "é", "a\n"])
def test_a_push_recipient_can_not_change_the_providers_address(target):
    with pytest.raises(ValidationError):
        PushPayload(to=[target], text="x")


@pytest.mark.parametrize("words", ["", " \n"])
def test_a_text_that_says_nothing_is_refused(words):
    for payload, to in ((SmsPayload, "+4930901820"), (PushPayload, "phone-1")):
        with pytest.raises(ValidationError, match="says nothing"):
            payload(to=[to], text=words)


@pytest.mark.parametrize(("name", "queue"), [("sms.send", "sms-queue"), ("push.send", "push-queue")])
def test_each_has_its_queue(name, queue):
    assert registry.get(name).queue.name == queue


def test_a_later_attempt_sends_only_to_those_still_waiting(settings):
    context = Context()
    with Receiver() as provider:
        settings.PUSH_URLS = [f"json://127.0.0.1:{provider.port}/"]
        provider.answer = lambda received: ({"/a": 200, "/b": 503}[received.path], {}, b"")
        with pytest.raises(RetryLater):
            send_push(PushPayload(to=["a", "b"], title="T", text="x"), context)
        provider.replies(200)
        result = send_push(PushPayload(to=["a", "b"], title="T", text="x"), context)

    assert result == {"accepted": ["a", "b"], "refused": []}
    assert [received.path for received in provider.received].count("/a") == 1


def test_an_attempt_that_ends_in_the_middle_leaves_only_the_rest_to_the_next(settings):
    class Killed(BaseException):
        pass

    context, told = Context(), []

    def answer(received):
        told.append(received.path)
        return 200, {}, b""

    def killed_after_two(key, effect):
        if len(told) == 2:
            raise Killed
        return Context.once(context, key, effect)

    with Receiver() as provider:
        settings.PUSH_URLS, provider.answer = [f"json://127.0.0.1:{provider.port}/"], answer
        context.once = killed_after_two
        with pytest.raises(Killed):
            send_push(PushPayload(to=["a", "b", "c"], text="x"), context)
        del context.once
        result = send_push(PushPayload(to=["a", "b", "c"], text="x"), context)

    assert told == ["/a", "/b", "/c"]
    assert result["accepted"] == ["a", "b", "c"]


def test_where_nobody_is_accepted_the_job_fails_for_good(settings):
    with Receiver() as provider:
        settings.PUSH_URLS = [f"json://127.0.0.1:{provider.port}/"]
        provider.replies(400)
        with pytest.raises(PermanentError, match=r"a was refused.*b was refused"):
            send_push(PushPayload(to=["a", "b"], text="x"), Context())


def test_a_rehearsal_shows_whom_it_would_reach_and_reaches_nobody(settings, tmp_path):
    settings.OUTBOX_DIR = tmp_path
    context = Context()
    context.rehearsal = True
    assert send_sms(SmsPayload(to=["+4930901820"], text="x"), context) == {}
    assert context.shown == [("sms", ["+4930901820"])]
    assert list(tmp_path.iterdir()) == []


def test_without_settings_texts_are_files():
    assert project_settings.SMS_URLS == project_settings.PUSH_URLS == ["file://"]
