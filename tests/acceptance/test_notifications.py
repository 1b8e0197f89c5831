"""One message to three channels, from POST /notifications to where it is received."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from aiosmtpd.controller import Controller

from tasks import brokers
from tasks.models import ApiToken, Job
from tests.acceptance.seeing import attempts, ended
from tests.acceptance.site import Server
from tests.receiver import Received, Receiver
from tests.unit.notifications.conftest import Post, free_port

KEY = "s3cretkey"


@pytest.fixture
def post() -> Iterator[Post]:
    post = Post()
    post.port = free_port()
    controller = Controller(post, hostname="127.0.0.1", port=post.port)
    controller.start()
    yield post
    controller.stop()


@pytest.fixture
def provider() -> Iterator[Receiver]:
    with Receiver() as provider:
        yield provider


@pytest.fixture
def notify(
    platform, start_worker: Callable, start_server: Callable[..., Server], post: Post, provider: Receiver
) -> Iterator[Callable[[dict], httpx.Response]]:
    """Posts a notification to a platform whose providers are here."""
    brokers.connect().apply_topology()
    address = f"json://user:{KEY}@127.0.0.1:{provider.port}"
    start_worker(
        "-c",
        "2",
        EMAIL_URL=f"smtp://127.0.0.1:{post.port}",
        SMS_URLS=f"{address}/sms",
        PUSH_URLS=f"{address}/push",
    )
    server = start_server("web")
    token, text = ApiToken.issue("notifications", ["jobs:read", "jobs:write"])
    headers = {"Authorization": f"Bearer {text}"}
    yield lambda body: httpx.post(f"{server.url}/api/v1/notifications", json=body, headers=headers, timeout=10)
    token.delete()


def jobs(response: httpx.Response) -> dict[str, Job]:
    """The jobs that an answer names, by task."""
    assert response.status_code == 202, response.text
    body = response.json()
    assert body["rejected"] == []
    found = Job.objects.filter(pk__in=[entry["id"] for entry in body["accepted"]])
    return {job.task: job for job in found}


def test_mail_sms_and_push_arrive_where_they_are_received(notify, post, provider):
    response = notify(
        {
            "to": {"email": ["ann@example.com"], "sms": ["+49 30 901820"], "push": ["phone-1"]},
            "title": "Ihr Bericht",
            "text": "Er ist fertig. Grüße",
        }
    )
    made = jobs(response)
    assert set(made) == {"email.send", "sms.send", "push.send"}
    assert ended(*made.values()) == ["succeeded"] * 3

    ((recipients, mail),) = post.received
    assert (recipients, mail["subject"]) == (["ann@example.com"], "Ihr Bericht")
    assert mail.get_content().strip() == "Er ist fertig. Grüße"
    arrived = {received.path: received.message for received in provider.received}
    assert set(arrived) == {"/sms/+4930901820", "/push/phone-1"}
    assert arrived["/sms/+4930901820"]["message"] == "Er ist fertig. Grüße"
    assert arrived["/push/phone-1"]["title"] == "Ihr Bericht"


def test_who_has_an_sms_gets_no_second_one_because_another_is_put_off(notify, provider):
    asked: list[str] = []

    def answer(received: Received):
        asked.append(received.path)
        busy = received.path.endswith("21") and asked.count(received.path) == 1
        return (429, {}, KEY.encode()) if busy else (200, {}, b"")

    provider.answer = answer
    made = jobs(notify({"to": {"sms": ["+4930901820", "+4930901821"]}, "title": "T", "text": "x"}))

    assert ended(made["sms.send"]) == ["succeeded"]
    assert attempts(made["sms.send"]) == ["RETRY", "SUCCESS"]
    assert sorted(asked) == ["/sms/+4930901820", "/sms/+4930901821", "/sms/+4930901821"]


def test_what_the_provider_refuses_for_good_is_dead_and_says_why_without_our_key(notify, provider, tmp_path):
    provider.replies(403, KEY.encode())
    made = jobs(notify({"to": {"sms": ["+4930901820"]}, "title": "T", "text": "x"}))

    assert ended(made["sms.send"]) == ["dead"]
    assert "403" in made["sms.send"].error
    assert KEY not in made["sms.send"].error
    assert KEY not in (tmp_path / "worker-0.log").read_text()
