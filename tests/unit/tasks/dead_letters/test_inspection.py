import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from django_celery_results.models import TaskResult

from tasks import jobs
from tasks.dead_letters.burial import bury
from tasks.dead_letters.inspection import cause_of_death, dump, error_line, inspect, spelled, unmask
from tasks.dead_letters.masking import MASK
from tasks.models import AuditEntry, DeadLetter, Job, LetterEdit, Operation, OperationItem
from tasks.states import JobState
from tests.unit.tasks.factories import letter_of, make_job

pytestmark = pytest.mark.django_db

DIED = datetime(2026, 3, 1, 12, tzinfo=UTC)
REJECTED = {"deaths": [{"queue": "email-queue", "reason": "rejected", "count": 1}]}


def make_attempt(job: Job, number: int, *, minutes_before: float, seconds: float = 2, status: str = "RETRY") -> None:
    begun = DIED - timedelta(minutes=minutes_before)
    row = TaskResult.objects.create(
        task_id=f"{job.pk}.{number}",
        status=status,
        worker=f"w{number}@host",
        result=json.dumps({"exc_type": "ValueError", "exc_message": f"no {number}"}),
        traceback=f"Traceback {number}",
    )
    TaskResult.objects.filter(pk=row.pk).update(date_started=begun, date_done=begun + timedelta(seconds=seconds))


def dead_after(attempts: int, **values) -> DeadLetter:
    letter = letter_of(attempt=attempts, died_at=DIED, properties=REJECTED, **values)
    Job.objects.filter(pk=letter.job_id).update(attempt=attempts)
    for number in range(1, attempts + 1):
        make_attempt(letter.job, number, minutes_before=(attempts - number) * 6)
    return letter


def test_the_cause_is_told_in_one_sentence():
    assert inspect(dead_after(3).pk).cause == "rejected by email-queue after 3 attempts in 12 minutes"


def test_attempts_before_a_replay_do_not_count_for_the_next_death(outbox):
    letter = dead_after(2)
    jobs.replay(letter.job_id)
    job = Job.objects.get()
    Job.objects.filter(pk=job.pk).update(state=JobState.RUNNING, attempt=3)
    job.refresh_from_db()
    bury(job, JobState.RUNNING, reason="exhausted", properties=REJECTED, died_at=DIED)
    make_attempt(job, 3, minutes_before=1)
    second = DeadLetter.objects.exclude(pk=letter.pk).get()
    assert inspect(second.pk).cause == "rejected by email-queue after 1 attempt in 1 minute"
    assert inspect(letter.pk).cause == "rejected by email-queue after 2 attempts in 6 minutes"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"properties": {"deaths": [{"queue": "q", "reason": "expired"}]}}, "expired in q before a worker took it"),
        ({"properties": {"deaths": [{"queue": "q", "reason": "maxlen"}]}}, "pushed out of q, which was full"),
        (
            {"properties": {"deaths": [{"queue": "q", "reason": "delivery_limit", "count": 2}]}},
            "given up by q, which had delivered it too often",
        ),
        ({"properties": {"deaths": ["odd"]}}, "died on work-queue before it began"),
        ({"properties": {}}, "died on work-queue before it began"),
        ({"job_id": None, "reason": "undecodable"}, "found on work-queue: message can not be decoded"),
        (
            {"job_id": None, "properties": REJECTED, "reason": "undecodable"},
            "rejected by email-queue: message can not be decoded",
        ),
    ],
)  # fmt: skip
def test_what_never_ran_has_a_cause_as_well(values, text):
    assert cause_of_death(letter_of(**values), []) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "less than a second"), (1, "1 second"), (45, "45 seconds"), (60, "1 minute"), (720, "12 minutes"),
     (7100, "118 minutes"), (7300, "2 hours"), (200_000, "2 days")],
)  # fmt: skip
def test_a_span_is_spelled_out(seconds, text):
    assert spelled(seconds) == text


def test_each_attempt_keeps_its_error_worker_and_duration():
    newest, oldest = inspect(dead_after(2).pk).attempts
    assert (newest.number, oldest.number) == (2, 1)
    assert (oldest.worker, oldest.seconds, oldest.traceback) == ("w1@host", 2.0, "Traceback 1")
    assert (oldest.error_type, oldest.error) == ("ValueError", "no 1")


def test_the_life_of_the_job_is_one_timeline(outbox):
    job = make_job(JobState.RUNNING)
    make_attempt(job, 1, minutes_before=0.1, status="FAILURE")
    bury(job, JobState.RUNNING, reason="permanent", error="no", died_at=DIED)
    letter = DeadLetter.objects.get()
    jobs.replay(job.pk, requested_by="ann")
    LetterEdit.objects.create(
        letter=letter, task="probe.echo", payload={}, reason="typo", edited_by="bob",
        decided_by="carol", decided_at=DIED + timedelta(hours=1), state="applied",
    )  # fmt: skip
    operation = Operation.objects.create(verb="replay", total=9, requested_by="dora")
    OperationItem.objects.create(operation=operation, place=0, letter=letter, state="sent")
    timeline = inspect(letter.pk).timeline
    assert [moment.at for moment in timeline] == sorted(moment.at for moment in timeline)
    told = {(moment.kind, moment.text, moment.by) for moment in timeline}
    assert told == {
        ("attempt", "Attempt 1 failed on w1@host after 2.0 s: ValueError: no 1", ""),
        ("event", "Dead: permanent error; no", ""),
        ("replay", "Replayed: by ann", "ann"),
        ("letter", f"Dead letter {str(letter.pk)[-4:]}: Permanent error", ""),
        ("edit", "Edited: typo", "bob"),
        ("edit", "Edit applied", "carol"),
        ("operation", "Replay of 9, number 1: sent, without an outcome yet", "dora"),
    }


def secret_letter() -> DeadLetter:
    letter = letter_of(
        payload={"to": "ann", "password": "hunter-two"},
        error="wrong: hunter-two",
        traceback="login('hunter-two')",
        headers={"Authorization": "Bearer abc.def", "lang": "py"},
        properties={"message_id": "7"},
        body=b'{"password":  "hunter-two"}',
        evidence={"log": ["tried hunter-two"]},
    )
    letter.job.events.create(kind="retrying", attempt=1, detail={"error": "hunter-two was wrong"})
    make_attempt(letter.job, 1, minutes_before=1)
    TaskResult.objects.update(traceback="saw hunter-two")
    return letter


def test_what_is_sensitive_is_masked_everywhere():
    letter = secret_letter()
    seen = inspect(letter.pk)
    assert seen.is_masked
    assert seen.payload == {"to": "ann", "password": MASK}
    assert seen.headers == {"Authorization": MASK, "lang": "py"}
    assert seen.error == f"wrong: {MASK}"
    everything = json.dumps(seen.document())
    assert "hunter-two" not in everything
    assert "abc.def" not in everything
    assert base64.b64encode(b"hunter-two").decode()[:12] not in everything
    assert not AuditEntry.objects.exists()


def test_unmasking_shows_everything_and_is_audited():
    letter = secret_letter()
    seen = unmask(letter.pk, requested_by="ann", reason="ticket 7")
    assert not seen.is_masked
    assert seen.payload["password"] == "hunter-two"
    assert seen.body.text == '{"password":  "hunter-two"}'
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.verb, entry.subject, entry.reason) == (
        "ann", "dead_letters.unmask", str(letter.pk), "ticket 7",
    )  # fmt: skip


def test_bytes_that_nobody_can_read_are_hidden_until_they_are_unmasked():
    letter = letter_of(job=None, payload=None, reason="undecodable", body=b"\xffpassword=hunter-two")
    seen = inspect(letter.pk)
    assert (seen.body.is_hidden, seen.body.text, seen.body.hex, seen.body.base64) == (True, MASK, "", "")
    assert seen.is_masked
    whole = unmask(letter.pk, requested_by="ann").body
    assert whole.text == "\\xffpassword=hunter-two"
    assert whole.hex.startswith("00000000  ff 70 61 73")


def test_a_message_with_nothing_to_hide_is_shown_byte_for_byte():
    letter = letter_of(body=b'[[],  {}, {"a": 1}]')
    assert inspect(letter.pk).body.text == '[[],  {}, {"a": 1}]'
    assert not inspect(letter.pk).is_masked


def test_a_large_body_is_cut_in_its_dump_and_whole_in_base64():
    body = dump(b"x" * 100, limit=32)
    assert (body.size_bytes, body.is_cut, len(body.text), len(body.hex.splitlines())) == (100, True, 32, 2)
    assert base64.b64decode(body.base64) == b"x" * 100


def test_the_document_is_json_with_all_of_it():
    letter = dead_after(2, payload={"order": 7})
    document = inspect(letter.pk).document()
    assert json.loads(json.dumps(document)) == document
    assert (document["id"], document["payload"], document["job_id"]) == (
        str(letter.pk),
        {"order": 7},
        str(letter.job_id),
    )
    assert [attempt["number"] for attempt in document["attempts"]] == [2, 1]
    assert document["timeline"]


def test_a_letter_that_does_not_exist_is_told():
    with pytest.raises(DeadLetter.DoesNotExist):
        inspect(make_job().pk)


def test_a_list_s_line_of_an_error_hides_what_payload_and_headers_hide():
    letter = letter_of(
        payload={"password": "hunter22"},
        headers={"Authorization": "Bearer abc"},
        error_type="AuthError",
        error="hunter22 by Bearer abc refused\nmore",
    )
    assert error_line(letter) == f"AuthError: {MASK} by {MASK} refused"
