import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.urls import reverse
from django.utils import timezone
from django_celery_results.models import TaskResult
from uuid_utils.compat import uuid7

from tasks.admin import base
from tasks.dead_letters import burial
from tasks.models import Job, JobEvent
from tasks.states import JobState
from tasks.worker.claiming import hand_back
from tests.unit.tasks.factories import make_job, make_worker

pytestmark = pytest.mark.django_db

LIST = "/admin/tasks/job/"


def page_of(job):
    return f"{LIST}{job.pk}/change/"


def listed(response):
    return {job.pk for job in response.context["cl"].result_list}


def id_made_at(moment):
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | (uuid7().int & ((1 << 80) - 1)))


def test_jobs_of_an_earlier_name_are_listed_with_their_task(admin_client):
    jobs = {make_job(task=task).pk for task in ("probe.old_name", "probe.renamed")}
    make_job(task="probe.echo")
    assert listed(admin_client.get(f"{LIST}?task=probe.renamed")) == jobs


def test_a_row_says_what_where_and_how_far(admin_client):
    job = make_job(
        JobState.RUNNING, task="case.plain", attempt=2, priority="high", progress_done=30, progress_total=90,
        progress_note="pages",
    )  # fmt: skip
    page = admin_client.get(LIST).content.decode()
    for piece in ("Plain work", job.short_id, "2 of 5", "Running", 'aria-valuenow="33"', "33 %, pages", "High"):
        assert piece in page
    assert f'title="{job.created_at.isoformat(timespec="seconds")}"' in page


def test_a_task_this_build_does_not_know_shows_its_bare_number(admin_client):
    make_job(JobState.RUNNING, task="gone.task", attempt=2)
    page = admin_client.get(LIST).content.decode()
    assert "gone.task" in page
    assert "2 of" not in page


def test_attempts_after_a_replay_count_anew(admin_client):
    make_job(JobState.RUNNING, task="case.plain", attempt=7, attempt_base=5)
    assert "2 of 5 (number 7)" in admin_client.get(LIST).content.decode()


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("state=dead", {"dead"}),
        ("state=live", {"queued"}),
        ("task=case.plain", {"queued", "dead"}),
        ("queue=priority-queue", {"other"}),
        ("priority=high", {"other"}),
        ("", {"queued", "dead", "other"}),
    ],
)
def test_filters_pick_their_rows(admin_client, query, wanted):
    rows = {
        "queued": make_job(JobState.QUEUED, task="case.plain"),
        "dead": make_job(JobState.DEAD, task="case.plain"),
        "other": make_job(JobState.SUCCEEDED, task="case.upload", queue="priority-queue", priority="high"),
    }
    assert listed(admin_client.get(f"{LIST}?{query}")) == {rows[name].pk for name in wanted}


def test_filters_left_at_all_do_not_count_as_filters(admin_client):
    job = make_job()
    response = admin_client.get(f"{LIST}?state=&task=&queue=&priority=&created_from=&created_to=")
    assert listed(response) == {job.pk}
    assert not response.context["cl"].has_active_filters
    assert admin_client.get(f"{LIST}?state=queued&task=").context["cl"].has_active_filters


def test_days_from_and_until_are_both_included(admin_client):
    days = [datetime(2026, 3, day, 23, 59, 59, tzinfo=UTC) for day in (1, 2, 3, 4)]
    ids = [make_job(pk=id_made_at(day), created_at=day).pk for day in days]
    assert listed(admin_client.get(f"{LIST}?created_from=2026-03-02&created_to=2026-03-03")) == set(ids[1:3])
    assert listed(admin_client.get(f"{LIST}?created_from=2026-02-31&created_to=nonsense")) == set(ids)


def test_search_finds_an_id_whole_in_part_and_as_it_is_shown(admin_client):
    job = make_job(idempotency_key="invoice 77", correlation_id="order-1", task="case.plain")
    make_job(pk=UUID("01000000-0000-7000-8000-000000000000"))
    whole = str(job.pk)
    for term in (whole, whole.upper(), whole[:18], job.short_id, job.pk.hex, "invoice 77", "order-1", f" {whole} "):
        assert listed(admin_client.get(LIST, {"q": term})) == {job.pk}, term
    for term in ("invoice", "ffffffff", "%", "01000000…ffff"):
        assert listed(admin_client.get(LIST, {"q": term})) == set(), term


def test_the_list_costs_the_same_queries_for_many_rows(admin_client, django_assert_max_num_queries):
    for number in range(25):
        make_job(JobState.RUNNING if number % 2 else JobState.DEAD, task="case.plain", worker=make_worker())
    with django_assert_max_num_queries(6):
        admin_client.get(LIST)


def test_the_list_never_counts_the_whole_table(admin_client, django_assert_num_queries, monkeypatch):
    monkeypatch.setattr(base, "MAX_COUNTED_ROWS", 21)
    for _ in range(30):
        make_job(JobState.SUCCEEDED)
    response = admin_client.get(LIST)
    assert response.context["cl"].result_count == 21
    assert "and more" in response.content.decode()


def test_one_poller_asks_for_the_rows_that_move(admin_client):
    moving, ended = make_job(JobState.RUNNING), make_job(JobState.SUCCEEDED)
    page = admin_client.get(LIST).content.decode()
    assert page.count("every 2s") == 1
    assert f"live/?ids={moving.pk}," in page
    assert str(ended.pk) not in page[page.index("live/?ids=") : page.index("every 2s")]
    assert "&amp;&amp; !!document" in page or "&& !!document" in page  # an htmx filter must answer exactly true


def test_the_live_answer_swaps_badge_and_bar_together(admin_client):
    job = make_job(JobState.RUNNING, progress_done=1, progress_total=4)
    response = admin_client.get(f"{LIST}live/?ids={job.pk},nonsense,")
    content = response.content.decode()
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    state = content[content.index(f'id="state-{job.pk}"') : content.index(f'id="attempt-{job.pk}"')]
    assert "is-live" in state
    assert "Running" in state
    assert 'role="progressbar"' in state
    assert content.count('hx-swap-oob="true"') == 3


def test_the_live_answer_ends_the_poller_when_nothing_moves(admin_client):
    job = make_job(JobState.SUCCEEDED)
    response = admin_client.get(f"{LIST}live/?ids={job.pk}")
    assert response.status_code == 286
    assert "is-live" not in response.content.decode()
    assert "Succeeded" in response.content.decode()
    assert admin_client.get(f"{LIST}live/").status_code == 286


def test_the_live_answer_is_for_those_who_may_see_jobs(client, django_user_model):
    client.force_login(django_user_model.objects.create_user("s", is_staff=True))
    assert client.get(f"{LIST}live/").status_code == 403
    assert client.get(f"{LIST}{make_job().pk}/live/").status_code == 403
    assert client.get(f"{LIST}dashboard/").status_code == 403


def test_a_jobs_page_polls_until_its_job_has_ended(admin_client):
    job = make_job(JobState.RUNNING, task="case.plain")
    event = JobEvent.objects.create(job=job, kind="running", attempt=1)
    url = f"{LIST}{job.pk}/live/?event={event.pk}"
    assert f"live/?event={event.pk}" in admin_client.get(page_of(job)).content.decode()
    same = admin_client.get(url)
    assert same.status_code == 200
    assert "no-store" in same["Cache-Control"]
    assert "job-head" in same.content.decode()
    assert "job-attempts" not in same.content.decode()
    JobEvent.objects.create(job=job, kind="cancel_requested", attempt=1)
    assert "job-attempts" in admin_client.get(url).content.decode()
    Job.objects.filter(pk=job.pk).update(state=JobState.SUCCEEDED, finished_at=timezone.now())
    ended = admin_client.get(url)
    assert (ended.status_code, ended["HX-Refresh"]) == (286, "true")
    assert "job-poller" not in admin_client.get(page_of(job)).content.decode()


def test_a_jobs_page_shows_attempts_history_and_result(admin_client, settings):
    settings.TASKS_FLOWER_URL = "http://flower.test/"
    now = timezone.now()
    job = make_job(
        JobState.SUCCEEDED, task="case.plain", attempt=2, payload={"text": "größe <b>"}, metadata={"tenant": "acme"},
        result={"files": [{"name": "pdf", "url": "/reports/1/"}, {"url": "javascript:alert(1)"}]},
        queued_at=now - timedelta(seconds=10), started_at=now - timedelta(seconds=4), finished_at=now,
    )  # fmt: skip
    for number, status in ((1, "RETRY"), (2, "SUCCESS")):
        TaskResult.objects.create(
            task_id=f"{job.pk}.{number}", status=status, worker="w@one",
            traceback="Traceback: <x>" if number == 1 else None,
            result='{"exc_type": "ValueError", "exc_message": "no luck\\nat all"}' if number == 1 else "{}",
            date_started=now - timedelta(seconds=2),
        )  # fmt: skip
    JobEvent.objects.create(
        job=job, kind="retrying", attempt=1, detail={"error": "ValueError: no", "delay_seconds": 2.5}
    )
    page = admin_client.get(page_of(job)).content.decode()
    for piece in (
        "größe &lt;b&gt;", "acme", "Failed, retried", "ValueError: no luck", "Traceback: &lt;x&gt;", "w@one",
        f"http://flower.test/task/{job.pk}.2", 'href="/reports/1/"', "next attempt after 2.5 s", "ran 4.0 s", "6.0 s",
    ):  # fmt: skip
        assert piece in page, piece
    assert 'href="javascript:' not in page
    assert "<b>" not in page


def test_a_jobs_page_leads_to_its_dead_letters(admin_client):
    job = make_job(JobState.RUNNING, task="case.plain")
    burial.bury(job, JobState.RUNNING, reason="permanent", error_type="E", error="why")
    page = admin_client.get(page_of(job)).content.decode()
    assert f"/admin/tasks/deadletter/{job.dead_letters.get().pk}/change/" in page


def test_a_jobs_page_costs_the_same_queries_for_a_long_history(admin_client, django_assert_max_num_queries):
    job = make_job(JobState.DEAD, task="case.plain", attempt=30, worker=make_worker())
    JobEvent.objects.bulk_create(JobEvent(job=job, kind="retrying", attempt=n) for n in range(1, 300))
    for number in range(1, 31):
        TaskResult.objects.create(task_id=f"{job.pk}.{number}", status="RETRY")
    with django_assert_max_num_queries(14):
        response = admin_client.get(page_of(job))
    assert len(response.context["events"]) == 200
    assert len(response.context["attempts"]) == 30


def test_a_job_that_is_not_there_leads_home_with_a_word(admin_client):
    response = admin_client.get(f"{LIST}01a208b4-a2ae-777b-a36a-1208ff58d8f7/change/", follow=True)
    assert response.redirect_chain[0][0] == "/admin/"


def test_pages_carry_no_inline_script_and_load_nothing_from_elsewhere(admin_client):
    job = make_job(JobState.RUNNING, task="case.plain")
    for url in (
        "/admin/",
        LIST,
        page_of(job),
        f"{LIST}run/",
        f"{LIST}run/case.everything/",
        "/admin/tasks/deadletter/",
    ):
        page = admin_client.get(url).content.decode()
        for tag in page.split("<script")[1:]:
            head = tag[: tag.index(">")]
            assert " src=" in head or "application/json" in head, (url, head)
        assert 'src="http' not in page, url
        assert 'rel="stylesheet" href="http' not in page, url
        assert " onclick=" not in page, url


def test_a_handed_back_attempt_is_told_as_such(admin_client, outbox):
    worker = make_worker()
    job = make_job(JobState.RUNNING, worker=worker)
    hand_back([(job.pk, 1)], worker, why="the worker was stopped")
    page = admin_client.get(f"/admin/tasks/job/{job.pk}/change/").content.decode()
    assert "Handed back, unspent" in page
    assert "the worker was stopped" in page


def test_what_a_job_hides_is_masked_wherever_its_page_and_its_attempts_quote_it(admin_client):
    job = make_job(
        "dead", payload={"password": "hunter22"}, metadata={"apiKey": "k-123456"}, error="no hunter22", result=None
    )
    JobEvent.objects.create(job=job, kind="dead", attempt=1, detail={"error": "no hunter22, k-123456"})
    row = TaskResult.objects.create(
        task_id=f"{job.pk}.1",
        status="FAILURE",
        result=json.dumps({"exc_type": "ValueError", "exc_message": "no hunter22"}),
        traceback="login('hunter22')",
        meta=json.dumps({"evidence": {"log": ["trying hunter22"]}}),
    )
    attempt = reverse("admin:django_celery_results_taskresult_change", args=[row.pk])
    for address in (page_of(job), attempt):
        page = admin_client.get(address).content.decode()
        assert "ValueError: no ••••••" in page
        assert "hunter22" not in page
        assert "k-123456" not in page
