import json
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from django_celery_results.models import TaskResult

from tasks.dead_letters import discarding, redirects, replaying
from tasks.errors import BrokerUnavailable
from tasks.models import AuditEntry, DeadLetter, Job, JobEvent, LetterEdit, Operation, OperationItem
from tests.unit.tasks.admin.conftest import staff
from tests.unit.tasks.factories import make_group, make_letter, make_message

pytestmark = pytest.mark.django_db

PAGES = "/admin/tasks/deadletter/"
SEES = ("tasks.view_deadletter", "tasks.view_job")


def url_of(letter, page="change"):
    return f"{PAGES}{letter.pk}/{page}/"


def read(client, letter, page="change"):
    return client.get(url_of(letter, page)).content.decode()


def letter(**values):
    return make_letter(**{"task": "case.plain", **values})


def message(**values):
    deaths = [
        {"queue": "email-queue", "reason": "rejected", "count": 1, "exchange": "email-exchange",
         "routing-keys": ["email"], "time": "2026-05-01T10:00:00+00:00"},
    ]  # fmt: skip
    defaults = {"queue": "email-queue", "exchange": "email-exchange", "routing_key": "email",
                "error": "body is not JSON", "headers": {"task": "x.y"},
                "properties": {"message_id": "m-1", "deaths": deaths}}  # fmt: skip
    return make_message(values.pop("body", b"\x00\xffnot json"), **{**defaults, **values})


def state_of(letter):
    letter.refresh_from_db()
    return letter.state


# What it shows


def test_the_broker_s_evidence_stands_in_words(admin_client):
    page = read(admin_client, message())
    for piece in (
        "Rejected by email-queue once at 2026-05-01 10:00:00 UTC; sent to email-exchange with key email",
        "Rejected by email-queue: message can not be decoded.", "10 bytes", "m-1", "x.y", "could not be read",
    ):  # fmt: skip
        assert piece in page, piece


def test_markup_of_a_message_is_shown_as_text(admin_client):
    evil = message(error="<img src=x>", headers={"h": "</pre><script>"})
    page = read(admin_client, evil) + admin_client.post(url_of(evil, "unmask")).content.decode()
    for piece in ("<script>alert", "<img src=x>", "</pre><script>"):
        assert piece not in page


def test_a_letter_without_evidence_still_has_a_page(admin_client):
    bare = message(exchange="", routing_key="", properties={}, headers={}, error="")
    DeadLetter.objects.filter(pk=bare.pk).update(body=None)
    assert "has not been collected" in read(admin_client, bare)


def test_each_attempt_is_told_with_worker_duration_and_traceback(admin_client):
    dead = letter()
    begun = dead.died_at - timedelta(minutes=12)
    for number in (2, 3):
        row = TaskResult.objects.create(
            task_id=f"{dead.job_id}.{number}", task_name="case.plain", status="RETRY" if number == 2 else "FAILURE",
            worker=f"w@{number}", traceback=f"<tb {number}>",
            result=json.dumps({"exc_type": "ValueError", "exc_message": f"no {number}"}),
        )  # fmt: skip
        TaskResult.objects.filter(pk=row.pk).update(date_started=begun, date_done=begun + timedelta(seconds=2))
    page = read(admin_client, dead)
    for piece in (
        "died on work-queue after 2 attempts in 12 minutes".capitalize(), "&lt;tb 2&gt;", "&lt;tb 3&gt;", "w@2", "w@3",
        "ValueError: no 2", "2.0 s", "Failed, retried",
    ):  # fmt: skip
        assert piece in page, piece
    assert "<tb" not in page


def test_a_lost_process_is_shown_with_what_was_seen_of_it(admin_client):
    dead = letter()
    seen = {"signal": "SIGKILL", "peak_memory_bytes": 90_000_000, "process_id": 4711, "log": ["<b>last</b> words"]}
    DeadLetter.objects.filter(pk=dead.pk).update(evidence=seen)
    page = read(admin_client, dead)
    for piece in ("The process that was lost", "SIGKILL", "85.8 MB", "4711", "&lt;b&gt;last&lt;/b&gt; words"):
        assert piece in page


def test_the_page_leads_to_its_job_and_its_group_and_tells_its_operations(admin_client):
    dead = letter()
    group = make_group(error_type="TimeoutError", owner="mail team", runbook_url="https://wiki.test/mail")
    DeadLetter.objects.filter(pk=dead.pk).update(group=group)
    operation = Operation.objects.create(verb="replay", total=3, requested_by="grace")
    OperationItem.objects.create(operation=operation, letter=dead, place=1, state="skipped", why="queue is paused")
    page = read(admin_client, dead)
    for piece in (
        f"/admin/tasks/job/{dead.job_id}/change/", f"/admin/tasks/failuregroup/{group.pk}/change/", "TimeoutError",
        "mail team", "https://wiki.test/mail", "Replay of 3", "number 2", "queue is paused",
        f"/admin/tasks/operation/{operation.pk}/change/",
    ):  # fmt: skip
        assert piece in page, piece


def test_the_timeline_names_who_did_something_once(admin_client):
    dead = letter()
    replaying.replay(dead.pk, requested_by="grace")
    texts = [(row["text"], row["by"]) for row in admin_client.get(url_of(dead)).context["timeline"]]
    assert texts[-1] == ("Replayed: by grace", "")


def test_an_edit_that_waits_is_told_at_the_top_and_holds_a_second_one_off(admin_client):
    dead = letter()
    LetterEdit.objects.create(letter=dead, task="case.plain", payload={}, reason="typo", edited_by="grace")
    page = read(admin_client, dead)
    assert "An edit waits for approval." in page
    assert page.index("An edit waits for approval.") < page.index("Every attempt of its retry policy failed")
    assert "Waits for approval" in page
    assert "a replay goes without it" in read(admin_client, dead, "replay")


def test_a_page_costs_the_same_queries_for_a_long_history(admin_client, django_assert_max_num_queries):
    dead = letter(attempt=30)
    for number in range(1, 31):
        TaskResult.objects.create(task_id=f"{dead.job_id}.{number}", status="FAILURE")
        JobEvent.objects.create(job=dead.job, kind="running", attempt=number)
        operation = Operation.objects.create(verb="replay", requested_by="x")
        OperationItem.objects.create(operation=operation, letter=dead, place=0)
        LetterEdit.objects.create(letter=dead, task="case.plain", payload={}, edited_by="x", state="rejected")
    with django_assert_max_num_queries(18):
        admin_client.get(url_of(dead))


# What is masked


def secret():
    dead = letter(payload={"text": "hello", "password": "hunter22"}, error="login with hunter22 failed")
    DeadLetter.objects.filter(pk=dead.pk).update(headers={"Authorization": "Bearer abcdef"})
    return dead


def test_what_is_sensitive_is_masked_on_the_page_and_in_the_copy(admin_client):
    dead = secret()
    for page in ("change", "document", "replay", "discard"):
        text = read(admin_client, dead, page)
        assert "hunter22" not in text, page
        assert "abcdef" not in text, page
    copy = admin_client.get(url_of(dead, "document"))
    assert copy["Content-Type"] == "application/json"
    assert "no-store" in copy["Cache-Control"]
    assert copy.json()["payload"] == {"text": "hello", "password": "••••••"}


def test_unmasking_shows_everything_once_and_is_recorded(admin_client):
    dead = secret()
    assert "hunter22" not in read(admin_client, dead, "unmask")
    assert not AuditEntry.objects.exists()
    answer = admin_client.post(url_of(dead, "unmask"), {"reason": "ticket 7"})
    page = answer.content.decode()
    assert "hunter22" in page
    assert "abcdef" in page
    assert "no-store" in answer["Cache-Control"]
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.verb, entry.subject, entry.reason) == (
        "admin", "dead_letters.unmask", str(dead.pk), "ticket 7",
    )  # fmt: skip
    assert "hunter22" not in read(admin_client, dead)


def test_unmasking_without_a_reason_is_recorded_too(admin_client):
    admin_client.post(url_of(secret(), "unmask"))
    assert AuditEntry.objects.get().verb == "dead_letters.unmask"


def test_a_reason_that_is_too_long_is_told_and_kept(admin_client):
    dead = secret()
    page = admin_client.post(url_of(dead, "unmask"), {"reason": "x" * 501}).content.decode()
    assert "x" * 501 in page
    assert "hunter22" not in page
    assert not AuditEntry.objects.exists()


def test_bytes_that_nobody_can_read_are_hidden_until_unmasked(admin_client):
    odd = message(body=b"\x80\x04hunter22")
    assert "bytes that nobody can read" in read(admin_client, odd)
    page = admin_client.post(url_of(odd, "unmask")).content.decode()
    assert "80 04 68 75 6e 74" in page
    assert r"\x80\x04hunter22" in page


def test_a_page_on_which_nothing_is_masked_does_not_offer_to_unmask(admin_client):
    assert url_of(letter(), "unmask") not in read(admin_client, letter())
    dead = secret()
    assert url_of(dead, "unmask") in read(admin_client, dead)


# What can be done


def test_a_replay_is_recorded_and_not_offered_again(admin_client):
    dead = letter()
    url = url_of(dead, "replay")
    assert url in read(admin_client, dead)
    admin_client.post(url)
    assert (state_of(dead), dead.replayed_by) == ("replayed", "admin")
    page = read(admin_client, dead)
    assert url not in page
    assert "It is replayed, not open." in page


@pytest.mark.parametrize("page", ["replay", "discard"])
def test_what_changed_meanwhile_is_told_and_nothing_done(admin_client, page):
    dead = letter()
    replaying.replay(dead.pk, requested_by="grace")
    entries = AuditEntry.objects.count()
    answer = admin_client.post(url_of(dead, page), {"reason": "twin of 7"}).content.decode()
    assert "Nothing was changed: the dead letter is replayed, not open." in answer
    assert page == "replay" or "twin of 7" in answer
    assert (state_of(dead), dead.replayed_by, AuditEntry.objects.count()) == ("replayed", "grace", entries)
    told = admin_client.get(url_of(dead, page), follow=True)
    assert told.redirect_chain[0][0] == url_of(dead)
    assert "It is replayed, not open." in told.content.decode()


def test_a_replay_may_go_to_another_task_and_queue(admin_client):
    dead = letter(payload={"text": "x"})
    admin_client.post(url_of(dead, "replay"), {"task": "case.everything", "queue": "sms-queue"})
    assert state_of(dead) == "open"  # Everything wants a line
    admin_client.post(url_of(dead, "replay"), {"task": "probe.echo", "queue": "sms-queue"})
    assert state_of(dead) == "replayed"
    assert Job.objects.values_list("task", "queue").get() == ("probe.echo", "sms-queue")


def test_a_replay_that_the_other_task_does_not_take_says_so_and_keeps_the_choice(admin_client):
    dead = letter(payload={"text": "x"})
    answer = admin_client.post(url_of(dead, "replay"), {"task": "case.everything", "queue": "sms-queue"})
    page = answer.content.decode()
    assert "Field required" in str(answer.context["form"].errors["task"])
    assert '<option value="case.everything" selected' in page
    assert '<option value="sms-queue" selected' in page


def test_the_standing_redirect_that_applies_is_told_before_a_replay(admin_client):
    dead = letter()
    assert "standing redirect" not in read(admin_client, dead, "replay")
    redirects.add(from_task="case.plain", to_queue="sms-queue", requested_by="grace", reason="moved")
    assert "unless you choose otherwise it goes to sms-queue, not work-queue" in read(admin_client, dead, "replay")


def test_a_message_can_go_to_another_queue_and_to_no_other_task(admin_client):
    page = read(admin_client, message(), "replay")
    assert 'name="queue"' in page
    assert 'name="task"' not in page


def test_a_broker_that_is_away_is_told_and_nothing_changed(admin_client, monkeypatch):
    def refuse(letter, queue):
        raise BrokerUnavailable("connection refused")

    monkeypatch.setattr(replaying, "_publish_again", refuse)
    sent = message()
    answer = admin_client.post(url_of(sent, "replay"), {"queue": "sms-queue"}).content.decode()
    assert "Nothing was changed: connection refused." in answer
    assert '<option value="sms-queue" selected' in answer
    assert state_of(sent) == "open"


def test_a_discard_asks_why_and_tells_until_when_it_can_be_taken_back(admin_client, settings):
    settings.TASKS_DEAD_LETTER_KEEP_DAYS = 9
    dead = letter()
    assert "parked for 9 days" in read(admin_client, dead, "discard")
    assert "Say why" in admin_client.post(url_of(dead, "discard"), {"reason": " "}).content.decode()
    assert state_of(dead) == "open"
    admin_client.post(url_of(dead, "discard"), {"reason": "twin"})
    assert (state_of(dead), dead.discarded_by, AuditEntry.objects.get().reason) == ("discarded", "admin", "twin")
    page = read(admin_client, dead)
    assert f"restored until {dead.delete_at:%Y-%m-%d %H:%M} UTC" in page
    assert url_of(dead, "restore") in page
    assert url_of(dead, "discard") not in page


def test_a_restore_opens_it_again(admin_client):
    dead = letter()
    discarding.discard(dead.pk, requested_by="grace", reason="twin")
    dead.refresh_from_db()
    assert f"deleted on {dead.delete_at:%Y-%m-%d at %H:%M} UTC" in read(admin_client, dead, "restore")
    admin_client.post(url_of(dead, "restore"))
    assert (state_of(dead), dead.delete_at) == ("open", None)


def test_a_restore_that_comes_too_late_says_so(admin_client):
    dead = letter()
    discarding.discard(dead.pk, requested_by="grace", reason="twin")
    DeadLetter.objects.filter(pk=dead.pk).update(delete_at=timezone.now() - timedelta(minutes=1))
    page = read(admin_client, dead)
    assert url_of(dead, "restore") not in page
    assert "The time in which it could be restored is over." in page
    assert "Nothing was changed" in admin_client.post(url_of(dead, "restore")).content.decode()
    assert state_of(dead) == "discarded"


@pytest.mark.parametrize(
    ("page", "permission", "words"),
    [
        ("replay", "replay_deadletter", "You may not replay dead letters: ask for the permission"),
        ("discard", "discard_deadletter", "You may not discard dead letters: ask for the permission"),
        ("unmask", "unmask_deadletter", "You may not see what is masked in dead letters: ask for the permission"),
    ],
)
def test_a_button_without_the_right_says_what_is_missing_and_its_page_is_closed(db, page, permission, words):
    dead = secret()
    looker = staff("looker", *SEES)
    shown = read(looker, dead)
    assert url_of(dead, page) not in shown
    assert words in shown
    for answer in (looker.get(url_of(dead, page)), looker.post(url_of(dead, page), {"reason": "x"})):
        assert answer.status_code == 403
        assert "hunter22" not in answer.content.decode()
    assert state_of(dead) == "open"
    assert not AuditEntry.objects.exists()
    assert url_of(dead, page) in read(staff("may", *SEES, f"tasks.{permission}"), dead)


def test_a_restore_needs_its_right(db):
    dead = letter()
    discarding.discard(dead.pk, requested_by="grace", reason="twin")
    looker = staff("looker", *SEES)
    assert "You may not restore discarded dead letters" in read(looker, dead)
    assert looker.post(url_of(dead, "restore")).status_code == 403
    assert state_of(dead) == "discarded"


def test_who_may_not_see_letters_sees_neither_page_nor_copy(db):
    dead = letter()
    stranger = staff("stranger", "tasks.view_job", "tasks.unmask_deadletter")
    for page in ("change", "document", "unmask"):
        assert stranger.get(url_of(dead, page)).status_code == 403
    assert stranger.post(url_of(dead, "unmask")).status_code == 403


@pytest.mark.parametrize("page", ["replay", "discard", "restore", "unmask"])
def test_an_act_needs_the_csrf_token(admin_user, page):
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(url_of(letter(), page), {"reason": "x"}).status_code == 403
    assert not AuditEntry.objects.exists()


def test_the_page_and_its_copy_load_scripts_by_address_only(admin_client):
    page = read(admin_client, letter())
    assert "/static/tasks/copy.js" in page
    for tag in page.split("<script")[1:]:
        assert " src=" in tag[: tag.index(">")]
