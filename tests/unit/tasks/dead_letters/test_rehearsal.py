"""Each rehearsal is a process of its own, on the database of the test."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from tasks.api import IllegalTransition, InvalidJob, JobContext, UnknownTask
from tasks.dead_letters import rehearsal
from tasks.dead_letters.masking import MASK
from tasks.dead_letters.rehearsal import masked, rehearse
from tasks.errors import RehearsalUnavailable
from tasks.models import DeadLetter, Effect, Job
from tests.unit.media.pictures import encoded, four_corners
from tests.unit.notifications.conftest import serve, use_port  # noqa: F401  fixtures
from tests.unit.tasks.factories import make_job, make_letter, make_message

pytestmark = pytest.mark.django_db(transaction=True)

MAIL = {"to": ["ann@example.com", "bob@example.com"], "cc": [], "subject": "Hello", "text": "Hi", "html": None}


@pytest.fixture
def storage(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "uploads"
    return default_storage


@pytest.fixture
def listening() -> Iterator[tuple[socket.socket, int]]:
    """A port of this machine, and whether somebody came."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server, server.getsockname()[1]


def nobody_came(server: socket.socket) -> bool:
    try:
        server.accept()
    except BlockingIOError:
        return True
    return False


def rows() -> dict[str, int]:
    return {model._meta.label: model._base_manager.count() for model in apps.get_models()}


def probe(task: str = "probe.overreach", **payload: Any) -> DeadLetter:
    return make_letter(task=task, payload=payload)


def test_a_rehearsed_failed_mail_sends_nothing_and_changes_no_row(serve, monkeypatch):  # noqa: F811
    post = serve()
    monkeypatch.setenv("EMAIL_URL", f"smtp://127.0.0.1:{post.port}")
    letter = make_letter(task="email.send", queue="email-queue", payload=MAIL, error="550 no such user")
    counts, job = rows(), Job.objects.values().get()

    report = rehearse(letter.pk, requested_by="ada")

    assert report.verdict == "passed"
    assert [(mail["recipients"], mail["subject"]) for mail in report.mails] == [(MAIL["to"], "Hello")]
    assert [mail["text"] for mail in report.mails] == ["Hi"]
    assert report.outcome["result"]["accepted"] == MAIL["to"]
    assert (report.original["error"], report.original["attempt"]) == ("550 no such user", 3)
    assert post.received == []
    assert rows() == counts
    assert Job.objects.values().get() == job
    assert Effect.objects.count() == 0
    assert json.loads(json.dumps(report.as_dict()))["mails"] == report.mails


def test_a_rehearsal_knows_what_earlier_attempts_did():
    letter = make_letter(task="email.send", queue="email-queue", payload=MAIL)
    Effect.objects.create(job=letter.job, key="send", value={"accepted": MAIL["to"], "refused": {}})
    report = rehearse(letter.pk)
    assert (report.verdict, report.mails) == ("passed", [])
    assert any("not repeated" in line["message"] for line in report.log)


def test_an_edit_is_rehearsed_before_it_is_made():
    letter = make_letter(task="email.send", queue="email-queue", payload={**MAIL, "to": ["nobody"]})
    assert rehearse(letter.pk).outcome["reason"] == "invalid_payload"
    report = rehearse(letter.pk, payload=MAIL)
    assert (report.verdict, len(report.mails)) == ("passed", 1)
    assert rehearse(letter.pk, payload={"text": "x"}, task="probe.echo").outcome["result"] == {"text": "x"}


def test_a_report_is_made_and_thrown_away(storage):
    payload = {"dataset": "job-activity", "formats": ["csv", "pdf"], "since": "2026-03-01", "until": "2026-03-07"}
    letter = make_letter(task="report.render", queue="report-queue", payload=payload)
    counts = rows()
    report = rehearse(letter.pk)
    assert report.verdict == "passed", report
    assert sorted(Path(file["name"]).suffix for file in report.files) == [".csv", ".pdf"]
    assert min(file["size_bytes"] for file in report.files) > 50
    assert rows() == counts
    assert not Path(storage.location).exists()


def test_a_picture_is_read_from_the_storage_and_its_variants_thrown_away(storage):
    source = storage.save("in.png", ContentFile(encoded(four_corners(300, 200), "PNG")))
    letter = make_letter(task="image.process", queue="image-queue", payload={"source": source})
    counts = rows()
    report = rehearse(letter.pk)
    assert report.verdict == "passed", report
    assert len(report.files) == len(report.outcome["result"]["variants"]) == 6
    assert rows() == counts
    assert storage.listdir("") == ([], ["in.png"])


@pytest.mark.parametrize(
    ("how", "error_type", "error", "reason"),
    [
        ("raise", "ValueError", "asked to fail", "exhausted"),
        ("permanent", "PermanentError", "asked to fail for good", "permanent"),
        ("exit", "SystemExit", "3", "exhausted"),
        ("os-exit", "WorkerLostError", "its process ended with exit code 1", "worker_lost"),
        ("kill", "WorkerLostError", "its process ended with signal SIGKILL", "worker_lost"),
        ("hang", "TimeLimitExceeded", "ran longer than 3 s and was killed", "time_limit"),
    ],
)
def test_whatever_the_task_does_there_is_a_report(how, error_type, error, reason):
    letter = probe("probe.fail", failures=99, how=how)
    report = rehearse(letter.pk)
    outcome = report.outcome
    assert (report.verdict, outcome["error_type"], outcome["error"]) == ("failed", error_type, error)
    assert outcome["reason"] == reason
    assert ("asked to fail" in outcome["traceback"]) == (how in ("raise", "permanent"))
    assert report.seconds < 10
    assert Job.objects.get().state == "dead"


def test_jobs_that_it_enqueues_are_told_of_and_never_exist():
    letter = probe(how="enqueue")
    counts = rows()
    report = rehearse(letter.pk)
    assert report.verdict == "passed", report
    told = [(job["task"], job["queue"], job["due_at"] is not None) for job in report.jobs]
    echo = ("probe.echo", "work-queue")
    assert told == [(*echo, True), (*echo, False), (*echo, False), ("probe.nap", "work-queue", False)]
    assert rows() == counts


@pytest.mark.parametrize("how", ["connect", "swallow"])
def test_nobody_is_connected_to(listening, how):
    server, port = listening
    report = rehearse(probe(how=how, text=str(port)).pk)
    assert report.verdict == "unclear"
    assert report.refused
    assert all("127.0.0.1" in act for act in report.refused)
    assert report.outcome["succeeded"] == (how == "swallow")
    assert nobody_came(server)


@pytest.mark.parametrize("how", ["write", "delete"])
def test_files_outside_are_left_alone(tmp_path, how):
    file = tmp_path / "precious"
    file.write_text("as it was")
    report = rehearse(probe(how=how, text=str(file)).pk)
    assert (report.verdict, report.refused) == ("unclear", [f"change {file}"])
    assert report.outcome["error_type"] == "RehearsalRefused"
    assert file.read_text() == "as it was"


def test_stored_files_are_deleted_and_written_in_the_sandbox_alone(storage):
    name = storage.save("a/b.txt", ContentFile(b"as it was"))
    report = rehearse(probe(how="files", text=name).pk)
    assert report.verdict == "passed", report
    assert (report.outcome["result"], report.files) == (name, [{"name": "a/b.txt", "size_bytes": 3}])
    assert storage.open(name).read() == b"as it was"


def test_statements_fail_alone_and_nothing_is_committed(tmp_path):
    file = tmp_path / "committed"
    letter = probe(how="conflict", text=str(file))
    counts = rows()
    report = rehearse(letter.pk)
    assert (report.verdict, report.outcome["result"]) == ("passed", "1"), report.outcome
    assert rows() == counts
    assert not file.exists()


def test_a_channel_of_its_own_says_what_it_would_send():
    report = rehearse(probe(how="channel").pk)
    assert report.outcome["result"] == "told"
    message = {"channel": "sms", "recipients": ["+49 170 0000000"], "subject": "Your parcel is here"}
    assert report.messages == [message]


def test_outside_of_a_rehearsal_nothing_is_only_said():
    job = make_job("running")
    context = JobContext(job.pk, 1, task=job.task, metadata={}, requested_by="")
    assert not context.rehearsal
    with pytest.raises(RuntimeError, match="send the message"):
        context.would_send("sms", ["+49"])


def test_programs_are_told_of():
    report = rehearse(probe(how="program").pk)
    assert (report.verdict, report.programs) == ("passed", ["true"])


def test_the_log_and_the_output_are_kept_within_bounds():
    report = rehearse(probe(how="noise").pk)
    assert report.verdict == "passed"
    assert len(report.log) == 1000
    assert report.log[0]["logger"] == "jobs.probe.overreach"
    assert report.log[0]["message"].endswith("line 0")
    assert report.output == "a word on the way out"


def test_what_can_not_be_rehearsed_says_so():
    with pytest.raises(DeadLetter.DoesNotExist):
        rehearse(make_job().pk)
    with pytest.raises(UnknownTask):
        rehearse(make_letter(task="gone.task").pk)
    message = make_message(b"\xff")
    with pytest.raises(IllegalTransition, match="repair its text"):
        rehearse(message.pk)
    assert rehearse(message.pk, payload={"text": "x"}, task="probe.echo").verdict == "passed"


def test_only_so_many_are_held_at_once(monkeypatch):
    letter = probe("probe.echo")
    for _ in range(rehearsal.MOST_AT_ONCE):
        rehearsal._rooms.acquire()
    try:
        with pytest.raises(RehearsalUnavailable, match="try again"):
            rehearse(letter.pk)
    finally:
        for _ in range(rehearsal.MOST_AT_ONCE):
            rehearsal._rooms.release()


def test_a_sandbox_that_does_not_start_says_why(monkeypatch):
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "no.such.settings")
    with pytest.raises(RehearsalUnavailable, match="No module named"):
        rehearse(probe("probe.echo").pk)


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    letter = probe("probe.fail", failures=99, how="kill")
    open_files = len(os.listdir("/proc/self/fd"))
    rehearse(letter.pk)
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == open_files


def test_the_rows_that_it_would_have_changed_are_counted():
    letter = probe(how="rows")
    counts = rows()
    report = rehearse(letter.pk)
    assert report.verdict == "passed", report.outcome
    told = {(line["table"], line["act"]): line["number"] for line in report.rows}
    assert told == {("auth_user", "insert"): 3, ("auth_user", "update"): 3, ("auth_user", "delete"): 1}
    assert rows() == counts


def test_rows_are_told_of_a_process_that_did_not_live_to_its_end():
    report = rehearse(probe(how="rows", text="die").pk)
    assert (report.verdict, report.outcome["reason"]) == ("failed", "worker_lost")
    assert {"table": "auth_user", "act": "insert", "number": 3} in report.rows


def test_an_edit_with_masks_is_rehearsed_with_what_they_stand_for():
    payload = {"text": "x", "password": "s3cret"}
    letter = make_letter(task="probe.secret", payload=payload)
    assert rehearse(letter.pk, payload={"text": "y", "password": MASK}).outcome["result"] == "y s3cret"
    with pytest.raises(InvalidJob, match=r"payload\.text"):
        rehearse(letter.pk, payload={"text": MASK, "password": "p"})
    body = json.dumps({"type": "probe.secret", "data": payload}).encode()
    message = make_message(body)
    report = rehearse(message.pk, payload={"text": "z", "password": MASK}, task="probe.secret")
    assert report.outcome["result"] == "z s3cret"


def test_a_report_is_masked_for_who_may_not_unmask():
    letter = make_letter(task="probe.secret", payload={"text": "x", "password": "s3cret"})
    new = {"text": "y", "password": "n3w-one"}
    report = rehearse(letter.pk, payload=new)
    assert report.outcome["result"] == "y n3w-one"
    assert masked(report, payload=new).outcome["result"] == f"y {MASK}"
    assert masked(rehearse(letter.pk)).outcome["result"] == f"x {MASK}"
