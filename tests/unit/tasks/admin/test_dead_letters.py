import pytest

from tasks.admin.dashboard import open_letters
from tasks.dead_letters import burial, replaying
from tasks.errors import BrokerUnavailable
from tasks.models import DeadLetter, Job
from tasks.states import JobState
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.django_db

LIST = "/admin/tasks/deadletter/"


def buried(**values):
    job = make_job(JobState.RUNNING, task="case.plain", attempt=1, **values)
    burial.bury(job, JobState.RUNNING, reason="exhausted", error_type="ValueError", error="no\nluck", traceback="tb")
    return DeadLetter.objects.get(job=job)


def message(**values):
    defaults = {"reason": "undecodable", "queue": "email-queue", "exchange": "email-exchange", "routing_key": "email",
                "body": b"\x00\xffnot json", "error": "body is not JSON"}  # fmt: skip
    return DeadLetter.objects.create(**{**defaults, **values})


def listed(response):
    return {letter.pk for letter in response.context["cl"].result_list}


def replay_selected(client, letters, **more):
    data = {"action": "replay_selected", "_selected_action": [str(letter.pk) for letter in letters], **more}
    return client.post(LIST, data, follow=True)


def test_open_ones_are_listed_unless_asked_otherwise(admin_client):
    still_open, replayed = buried(), buried()
    DeadLetter.objects.filter(pk=replayed.pk).update(state="replayed")
    assert listed(admin_client.get(LIST)) == {still_open.pk}
    assert listed(admin_client.get(f"{LIST}?state=replayed")) == {replayed.pk}
    assert listed(admin_client.get(f"{LIST}?state=all")) == {still_open.pk, replayed.pk}


def test_a_row_names_reason_error_and_job(admin_client):
    letter = buried()
    page = admin_client.get(LIST).content.decode()
    for piece in ("Plain work", "No attempt left", "ValueError: no", f"/admin/tasks/job/{letter.job_id}/change/"):
        assert piece in page


def test_an_error_without_a_type_is_shown_without_a_colon(admin_client):
    message()
    assert ">body is not JSON<" in admin_client.get(LIST).content.decode()


def test_search_takes_a_job_id_or_words_of_the_error(admin_client):
    letter, other = buried(), message()
    assert listed(admin_client.get(LIST, {"q": str(letter.job_id)})) == {letter.pk}
    assert listed(admin_client.get(LIST, {"q": "NOT json"})) == {other.pk}


def test_the_list_costs_the_same_queries_for_many_rows(admin_client, django_assert_max_num_queries):
    for _ in range(15):
        buried()
    with django_assert_max_num_queries(6):
        admin_client.get(LIST)


def test_a_page_shows_the_brokers_evidence_in_words(admin_client):
    letter = message(
        headers={"task": "x.y"},
        properties={
            "message_id": "m-1",
            "deaths": [
                {"queue": "email-queue", "reason": "rejected", "count": 1, "exchange": "email-exchange",
                 "routing-keys": ["email"], "time": "2026-05-01T10:00:00+00:00"},
            ],
        },
    )  # fmt: skip
    page = admin_client.get(f"{LIST}{letter.pk}/change/").content.decode()
    for piece in (
        "Rejected by email-queue once at 2026-05-01 10:00:00 UTC; sent to email-exchange with key email",
        "hex dump, 10 bytes", "00 ff 6e 6f 74", "m-1", "x.y", "could not be read",
    ):  # fmt: skip
        assert piece in page, piece


def test_a_page_shows_markup_of_a_message_as_text(admin_client):
    letter = message(body=b"<script>alert(1)</script>", error="<img src=x>", headers={"h": "</pre><script>"})
    page = admin_client.get(f"{LIST}{letter.pk}/change/").content.decode()
    assert "<script>alert" not in page
    assert "<img src=x>" not in page
    assert "</pre><script>" not in page


def test_a_letter_without_evidence_still_has_a_page(admin_client):
    letter = message(body=None, exchange="", routing_key="", properties={}, error="")
    assert admin_client.get(f"{LIST}{letter.pk}/change/").status_code == 200


def test_replay_of_one_is_recorded_and_not_offered_again(admin_client):
    letter = buried()
    url = f"{LIST}{letter.pk}/replay/"
    assert url in admin_client.get(f"{LIST}{letter.pk}/change/").content.decode()
    admin_client.post(url, {"_form_submitted": "on"})
    letter.refresh_from_db()
    assert (letter.state, letter.replayed_by) == ("replayed", "admin")
    assert url not in admin_client.get(f"{LIST}{letter.pk}/change/").content.decode()
    admin_client.post(url, {"_form_submitted": "on"})
    assert "Nothing was changed" in admin_client.get(LIST).content.decode()


def test_selected_ones_are_asked_about_before_they_are_replayed(admin_client):
    letters = [buried(), buried()]
    page = replay_selected(admin_client, letters).content.decode()
    assert "Replay 2 dead letters?" in page
    assert DeadLetter.objects.filter(state="open").count() == 2


def test_confirmed_ones_are_replayed(admin_client):
    letters = [buried(), buried()]
    page = replay_selected(admin_client, letters, confirmed="yes").content.decode()
    assert "2 dead letters replayed." in page
    assert set(Job.objects.values_list("state", flat=True)) == {JobState.QUEUED}


def test_what_can_not_be_replayed_is_named_and_the_rest_done(admin_client):
    good, bad = buried(), message(exchange="")
    page = replay_selected(admin_client, [good, bad], confirmed="yes").content.decode()
    assert "1 dead letter replayed." in page
    assert "1 not replayed." in page
    assert "no exchange to send it to" in page
    bad.refresh_from_db()
    assert bad.state == "open"


def test_a_broker_that_is_down_is_asked_once_and_jobs_are_still_replayed(admin_client, monkeypatch):
    asked = []

    def refuse(letter, queue):
        asked.append(letter)
        raise BrokerUnavailable("connection refused")

    monkeypatch.setattr(replaying, "_publish_again", refuse)
    letters = [message(), message(), buried()]
    page = replay_selected(admin_client, letters, confirmed="yes").content.decode()
    assert len(asked) == 1
    assert "1 dead letter replayed." in page
    assert "2 not replayed." in page


def test_the_sidebar_counts_the_open_ones():
    assert open_letters() == ""
    buried()
    message()
    assert open_letters() == "2"


def test_a_lost_process_is_shown_with_what_was_seen_of_it(admin_client):
    letter = buried()
    seen = {"signal": "SIGKILL", "peak_memory_bytes": 90_000_000, "process_id": 4711, "log": ["<b>last</b> words"]}
    DeadLetter.objects.filter(pk=letter.pk).update(evidence=seen)
    page = admin_client.get(f"{LIST}{letter.pk}/change/").content.decode()
    for piece in ("The process that was lost", "SIGKILL", "85.8 MB", "4711", "&lt;b&gt;last&lt;/b&gt; words"):
        assert piece in page
