import json

import pytest

from tasks.api import InvalidJob, UnknownTask
from tasks.dead_letters import message_text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"a": 1}', '{"a": 1}'),
        ("grüße".encode(), "grüße"),
        (b"\xef\xbb\xbf{}", "{}"),
        ("{}".encode("utf-16"), "{}"),
        (b'{"a": "\xff"}', '{"a": "\\xff"}'),
        (b"", ""),
    ],
)
def test_bytes_are_shown_as_text(body, text):
    assert message_text.shown(body) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", r"not JSON: .* \(line 1, column 2\)"),
        ('{"a": "\\xff"}', "not JSON: Invalid"),
        ("[]", "no object"),
        ("7", "no object"),
        ("", "not JSON"),
        ('{"a": NaN}', "not JSON"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "names 'c' twice"),
        ('{"a": "\\u0000"}', "NUL"),
        ("[" * 200_000, "not JSON"),
        (json.dumps({"a": "x" * 400_000}), "limit"),
    ],
)
def test_what_is_no_json_object_says_why(text, said):
    with pytest.raises(InvalidJob, match=said) as caught:
        message_text.parsed(text)
    assert caught.value.problems[0]["field"] == "text"


@pytest.mark.parametrize(
    ("envelope", "task"),
    [
        ({"type": "probe.echo"}, "probe.echo"),
        ({"task": "probe.echo"}, "probe.echo"),
        ({"type": "probe.echo", "task": "probe.echo"}, "probe.echo"),
        ({"type": "email"}, "email.send"),
        ({"type": "report"}, "report.render"),
        ({"type": "image"}, "image.process"),
    ],
)
def test_a_task_is_named_or_meant_by_its_type(envelope, task):
    assert message_text.task_of(envelope) == task


@pytest.mark.parametrize(
    ("envelope", "error", "said"),
    [
        ({}, InvalidJob, "type: is missing"),
        ({"type": "probe.echo", "task": "probe.nap"}, InvalidJob, "something else than type"),
        ({"type": 7}, InvalidJob, "is not text"),
        ({"type": "telegram"}, UnknownTask, "no task 'telegram'"),
    ],
)
def test_a_task_that_is_not_clear_says_so(envelope, error, said):
    with pytest.raises(error, match=said):
        message_text.task_of(envelope)


def test_an_envelope_becomes_a_job():
    new = message_text.job_of(
        {
            "type": "probe.echo",
            "data": {"text": "hi"},
            "id": 17,
            "correlationId": "c-1",
            "priority": "high",
            "timestamp": "2026-01-01T00:00:00Z",
            "retryCount": 2,
            "replyTo": "somewhere",
        },
        "probe.echo",
        requested_by="ada",
    )
    assert (new.task, new.queue, new.priority) == ("probe.echo", "priority-queue", "high")
    assert (new.idempotency_key, new.correlation_id, new.requested_by) == ("17", "c-1", "ada")
    assert json.loads(new.payload)["text"] == "hi"


def test_everything_that_is_wrong_is_named_at_once():
    envelope = {
        "type": "probe.echo",
        "payload": {"seconds": "long", "failures": "many"},
        "id": {},
        "correlationId": "x" * 201,
        "priority": "urgent",
        "daat": {},
    }
    with pytest.raises(InvalidJob) as caught:
        message_text.job_of(envelope, "probe.echo")
    fields = {problem["field"] for problem in caught.value.problems}
    assert fields == {"payload.seconds", "payload.failures", "id", "correlationId", "priority", "daat"}


def test_a_payload_is_given_once_and_is_an_object():
    with pytest.raises(InvalidJob, match="stands beside data"):
        message_text.job_of({"data": {}, "payload": {}}, "probe.echo")
    with pytest.raises(InvalidJob, match="data: is an object"):
        message_text.job_of({"data": "text"}, "probe.echo")
