"""What is sent, to where, and what each answer leads to."""

import socket
import ssl
import subprocess
from datetime import timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.utils import timezone
from django.utils.http import http_date
from standardwebhooks.webhooks import Webhook

from tasks.context import JobContext
from tasks.errors import JobCancelled, PermanentError, RetryLater
from tasks.models import WebhookDelivery, WebhookEndpoint
from tasks.webhooks import delivery, endpoints, pinned
from tests.receiver import Receiver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("outbox")]


def send(endpoint: WebhookEndpoint, job_id=None, attempt=1):
    """One attempt to deliver a test message."""
    job = endpoints.test(endpoint.pk, requested_by="ann")
    context = JobContext(job_id or job.pk, attempt, task=job.task, metadata=job.metadata, requested_by="ann")
    return delivery.deliver(delivery.DeliveryPayload.model_validate(job.payload), context)


def test_a_message_arrives_signed_and_says_what_happened(add, receiver):
    endpoint, secret = add()
    assert send(endpoint)["status"] == 204
    (received,) = receiver.received
    assert received.headers["webhook-id"] == f"msg_{WebhookDelivery.objects.get().job_id}"
    assert received.headers["content-type"] == "application/json"
    message = Webhook(secret).verify(received.body, received.headers)
    assert message["type"] == "webhook.test"
    assert message["version"] == 1
    assert message["data"] == {"endpoint_id": str(endpoint.pk), "requested_by": "ann"}


def test_each_attempt_has_the_same_id_and_body(add, receiver):
    endpoint, _ = add()
    job = endpoints.test(endpoint.pk, requested_by="ann")
    for attempt in (1, 2):
        context = JobContext(job.pk, attempt, task=job.task, metadata={}, requested_by="ann")
        delivery.deliver(delivery.DeliveryPayload.model_validate(job.payload), context)
    first, second = receiver.received
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])


def test_after_a_rotation_the_old_secret_and_the_new_one_verify(add, receiver):
    endpoint, old = add()
    _, new = endpoints.rotate(endpoint.pk, requested_by="ann")
    send(endpoint)
    (received,) = receiver.received
    for secret in (old, new):
        Webhook(secret).verify(received.body, received.headers)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(add, receiver, status):
    endpoint, _ = add()
    receiver.replies(status)
    assert send(endpoint)["status"] == status


@pytest.mark.parametrize("status", [300, 304, 400, 401, 404, 408, 422, 425, 429, 500, 503])
def test_any_other_answer_is_tried_again(add, receiver, status):
    endpoint, _ = add()
    receiver.replies(status)
    with pytest.raises(RetryLater, match=f"answered {status}") as failure:
        send(endpoint)
    assert failure.value.delay_seconds is None


def test_410_disables_the_endpoint_for_good(add, receiver):
    endpoint, _ = add()
    receiver.replies(410)
    with pytest.raises(PermanentError, match="410"):
        send(endpoint)
    endpoint.refresh_from_db()
    assert endpoint.disabled_at is not None
    assert endpoint.disabled_why == "it answered 410, gone"


def test_a_redirect_is_not_followed(add, receiver):
    endpoint, _ = add()
    with Receiver() as other:
        receiver.replies(307, location=other.url)
        with pytest.raises(RetryLater, match="a redirect is not followed"):
            send(endpoint)
        assert (len(receiver.received), other.received) == (1, [])


def test_what_the_answer_asks_for_is_how_long_it_waits(add, receiver):
    endpoint, _ = add()
    receiver.replies(503, retry_after="120")
    with pytest.raises(RetryLater) as failure:
        send(endpoint)
    assert failure.value.delay_seconds == 120


NOW = timezone.now().replace(microsecond=0)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("1.5", 1.5),
        ("-5", 0),
        ("9" * 400, 86_400),
        (http_date((NOW + timedelta(minutes=5)).timestamp()), 300),
        (http_date((NOW - timedelta(minutes=5)).timestamp()), 0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("Mon, 99 Foo 2026 00:00:00 GMT", None),
    ],
)
def test_a_wish_is_understood_as_seconds_or_a_date(header, seconds):
    assert delivery.wish_of(header, now=NOW) == seconds


def test_the_attempts_span_about_a_day():
    waits = [delivery.RETRY.delay_seconds(attempt, jitter=max) or 0 for attempt in range(1, 20)]
    assert 20 < sum(waits) / 2 / 3600 < 28  # on average a wait is half of its longest


def test_an_endpoint_that_hangs_up_or_is_not_there_is_tried_again(add, receiver):
    endpoint, _ = add()
    receiver.__exit__()
    with pytest.raises(RetryLater, match="can not be reached"):
        send(endpoint)
    receiver.__init__()  # for the fixture to end
    receiver.__enter__()


def test_a_long_answer_is_not_read_to_its_end(add, receiver):
    endpoint, _ = add()
    receiver.replies(200, b"x" * 50_000_000)
    assert send(endpoint)["status"] == 200


def test_a_disabled_endpoint_is_sent_nothing(add, receiver):
    endpoint, _ = add()
    job = endpoints.test(endpoint.pk, requested_by="ann")
    endpoints.disable(endpoint.pk, requested_by="ann", reason="moving house")
    context = JobContext(job.pk, 1, task=job.task, metadata={}, requested_by="ann")
    with pytest.raises(PermanentError, match=r"disabled \(moving house\): enable it"):
        delivery.deliver(delivery.DeliveryPayload.model_validate(job.payload), context)
    assert receiver.received == []


def test_a_removed_endpoint_cancels_what_was_for_it():
    context = JobContext(uuid4(), 1, task=delivery.TASK, metadata={}, requested_by="ann")
    with pytest.raises(JobCancelled, match="removed"):
        delivery.deliver(delivery.DeliveryPayload(endpoint_id=uuid4(), message={}), context)


def test_a_rehearsal_sends_nothing_and_says_what_it_would(add, receiver):
    endpoint, _ = add()
    told = []
    job = endpoints.test(endpoint.pk, requested_by="ann")
    context = SimpleNamespace(job_id=job.pk, rehearsal=True, would_send=lambda *words: told.append(words))
    delivery.deliver(delivery.DeliveryPayload(endpoint_id=endpoint.pk, message={"type": "job.dead"}), context)
    assert (told, receiver.received) == ([("webhook", [receiver.url], "job.dead")], [])


def test_what_the_platform_did_not_make_is_never_signed(add, receiver):
    (mine, _), (other, _) = add(), add()
    with pytest.raises(PermanentError, match="made no such delivery"):
        send(mine, job_id=uuid4())
    job = endpoints.test(mine.pk, requested_by="ann")
    context = JobContext(job.pk, 1, task=job.task, metadata={}, requested_by="ann")
    with pytest.raises(PermanentError, match="made no such delivery"):
        delivery.deliver(delivery.DeliveryPayload(endpoint_id=other.pk, message={"type": "job.dead"}), context)
    assert receiver.received == []


def test_a_secret_that_is_lost_asks_for_a_rotation(add, receiver, settings):
    endpoint, _ = add()
    settings.SECRET_KEY = "another"
    with pytest.raises(PermanentError, match="rotate the endpoint's secret"):
        send(endpoint)
    assert receiver.received == []


def test_an_address_that_has_become_private_is_refused_when_it_is_sent_to(add, receiver, settings):
    endpoint, _ = add()
    settings.TASKS_WEBHOOK_ALLOW_PRIVATE = False
    with pytest.raises(RetryLater, match="this host itself"):
        send(endpoint)
    assert receiver.received == []


def test_a_name_that_changes_after_the_check_changes_nothing(add, receiver, names, monkeypatch):
    names("127.0.0.1")
    endpoint, _ = add(url=f"http://receiver.example:{receiver.port}/hook")
    asked = []
    look_up = socket.getaddrinfo

    def first_here_then_there(host, *args, **options):
        asked.append(host)
        if host == "receiver.example" and asked.count(host) > 1:
            return look_up("127.0.0.2", *args, **options)  # where nobody listens on this port
        return look_up(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", first_here_then_there)
    send(endpoint)
    assert asked.count("receiver.example") == 1
    assert receiver.received[0].headers["host"] == f"receiver.example:{receiver.port}"


def test_no_proxy_of_the_environment_is_asked(add, receiver, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    endpoint, _ = add()
    assert send(endpoint)["status"] == 204


def test_the_next_address_is_tried_where_the_first_takes_no_connection(add, receiver, names):
    names("127.0.0.3", "127.0.0.1")
    endpoint, _ = add(url=f"http://receiver.example:{receiver.port}/hook")
    assert send(endpoint)["status"] == 204


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """For receiver.example, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    names = ["-subj", "/CN=receiver.example", "-addext", "subjectAltName=DNS:receiver.example"]
    files = ["-keyout", folder / "key.pem", "-out", folder / "certificate.pem"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files]
    subprocess.run(make, check=True, capture_output=True)
    return folder


@pytest.fixture
def tls_receiver(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "certificate.pem"))
    pinned._tls.cache_clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    with Receiver(tls=context) as receiver:
        yield receiver
    pinned._tls.cache_clear()


def test_the_certificate_must_be_for_the_name_though_the_address_is_pinned(add, tls_receiver, names):
    names("127.0.0.1")
    endpoint, _ = add(url=f"https://receiver.example:{tls_receiver.port}/hook")
    assert send(endpoint)["status"] == 204
    assert tls_receiver.received[0].headers["host"] == f"receiver.example:{tls_receiver.port}"
    endpoint, _ = add(url=f"https://other.example:{tls_receiver.port}/hook")
    with pytest.raises(RetryLater, match="certificate"):
        send(endpoint)
    assert len(tls_receiver.received) == 1
