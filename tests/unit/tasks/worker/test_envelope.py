import uuid

import pytest

from tasks.worker.envelope import WrongMessage, job_and_attempt_of, read_envelope

JOB = uuid.uuid4()
GOOD = {"task": "probe.echo", "id": f"{JOB}.2"}
BODY = b"[[], {}, {}]"
JSON = "application/json"


def test_a_job_message_names_its_attempt():
    envelope = read_envelope(GOOD, BODY, JSON)
    assert (envelope.job_id, envelope.attempt, envelope.task) == (JOB, 2, "probe.echo")
    assert envelope.attempt_id == GOOD["id"]


@pytest.mark.parametrize(
    ("headers", "body", "content_type", "reason"),
    [
        (None, BODY, JSON, "unknown_message"),
        ({}, b'{"type": "email"}', JSON, "unknown_message"),
        ({"task": "probe.echo"}, BODY, JSON, "unknown_message"),
        ({"task": "probe.echo", "id": 7}, BODY, JSON, "unknown_message"),
        ({"task": "probe.echo", "id": str(JOB)}, BODY, JSON, "unknown_message"),
        ({"task": "probe.echo", "id": f"{JOB}.0"}, BODY, JSON, "unknown_message"),
        ({"task": "probe.echo", "id": f"{JOB}.-1"}, BODY, JSON, "unknown_message"),
        ({"task": "probe.echo", "id": f"{JOB}.99999999999"}, BODY, JSON, "unknown_message"),
        ({"task": ["probe.echo"], "id": f"{JOB}.1"}, BODY, JSON, "unknown_message"),
        (GOOD, b'[["injected"], {}, {}]', JSON, "unknown_message"),
        (GOOD, b'[[], {"text": "injected"}, {}]', JSON, "unknown_message"),
        (GOOD, b"{}", JSON, "unknown_message"),
        (GOOD, b"\xff\xfe", JSON, "undecodable"),
        (GOOD, b"[[], {}", JSON, "undecodable"),
        (GOOD, b"[" * 100_000, JSON, "undecodable"),
        (GOOD, BODY, "application/x-python-serialize", "undecodable"),
        (GOOD, BODY, None, "undecodable"),
        ({**GOOD, "task": "nope.nope"}, BODY, JSON, "unknown_task"),
    ],
)
def test_what_is_wrong_with_a_message_is_told(headers, body, content_type, reason):
    with pytest.raises(WrongMessage) as caught:
        read_envelope(headers, body, content_type)
    assert caught.value.reason == reason


@pytest.mark.parametrize(("headers", "named"), [(GOOD, (JOB, 2)), ({"id": "x"}, None), (None, None)])
def test_the_job_of_a_broken_message_is_found_where_it_is_named(headers, named):
    assert job_and_attempt_of(headers) == named
