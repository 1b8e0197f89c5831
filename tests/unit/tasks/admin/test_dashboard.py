from datetime import timedelta

import pytest
from django.utils import timezone

from tasks.admin import dashboard
from tasks.brokers import QueueMissing
from tasks.errors import BrokerUnavailable
from tasks.models import DeadLetter
from tasks.states import JobState
from tests.unit.tasks.admin.conftest import staff
from tests.unit.tasks.factories import make_job, make_worker

pytestmark = pytest.mark.django_db

LIVE = "/admin/tasks/job/dashboard/"


class FakeBroker:
    """Answers from ``depths``; raises what it finds there."""

    def __init__(self, depths):
        self.depths, self.asked, self.closed = depths, [], 0

    def depth(self, queue):
        self.asked.append(queue)
        answer = self.depths.get(queue, 0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.closed += 1


@pytest.fixture
def broker(monkeypatch):
    fake = FakeBroker({})
    monkeypatch.setattr("tasks.brokers.connect", lambda: fake)
    return fake


def queue_row(response, name):
    return next(row for row in response.context["queues"] if row["name"] == name)


def test_depths_come_with_the_jobs_and_letters_of_each_queue(admin_client, broker):
    broker.depths = {"email-queue": 1234, "email-queue.dead": 2}
    make_job(JobState.QUEUED, queue="email-queue")
    make_job(JobState.RUNNING, queue="email-queue")
    DeadLetter.objects.create(reason="unrouted", queue="email-queue")
    row = queue_row(admin_client.get(LIVE), "email-queue")
    assert (row["ready"]["text"], row["dead_ready"]["text"]) == ("1,234", "2")
    assert (row["queued"], row["running"], row["letters"]) == (1, 1, 1)
    assert broker.closed == 1


def test_an_unknown_depth_is_shown_as_unknown_and_the_broker_asked_once(admin_client, broker):
    broker.depths = {"email-queue": BrokerUnavailable("the broker can not be asked: refused")}
    response = admin_client.get(LIVE)
    assert {row["ready"]["text"] for row in response.context["queues"]} == {"unknown"}
    assert {row["dead_ready"]["text"] for row in response.context["queues"]} == {"unknown"}
    assert "depths are unknown" in response.content.decode()
    assert broker.asked == ["email-queue"]
    admin_client.get(LIVE)
    assert broker.asked == ["email-queue"]  # remembered: each page load would wait for the time-out again


def test_what_was_told_before_the_outage_stays_told(admin_client, broker):
    broker.depths = {"email-queue": 3, "email-queue.dead": BrokerUnavailable("gone")}
    response = admin_client.get(LIVE)
    assert queue_row(response, "email-queue")["ready"]["text"] == "3"
    assert queue_row(response, "email-queue")["dead_ready"]["text"] == "unknown"
    assert queue_row(response, "sms-queue")["ready"]["text"] == "unknown"


def test_a_queue_the_broker_does_not_have_is_missing_and_not_empty(admin_client, broker):
    broker.depths = {"sms-queue": QueueMissing("sms-queue")}
    response = admin_client.get(LIVE)
    assert queue_row(response, "sms-queue")["ready"]["text"] == "missing"
    assert queue_row(response, "push-queue")["ready"]["text"] == "0"


def test_many_refreshes_are_one_question_to_the_broker(admin_client, broker):
    for _ in range(5):
        admin_client.get(LIVE)
    assert broker.closed == 1


def test_the_page_itself_never_waits_for_the_broker(admin_client, broker):
    page = admin_client.get("/admin/").content.decode()
    assert broker.asked == []
    assert 'hx-trigger="load, every 3s' in page
    assert "Asking the broker" in page


def test_counts_are_of_jobs_that_move_and_of_the_last_day(admin_client, broker):
    make_job(JobState.QUEUED)
    make_job(JobState.QUEUED)
    make_job(JobState.SUCCEEDED)
    make_job(JobState.SUCCEEDED, finished_at=timezone.now() - timedelta(days=2))
    response = admin_client.get(LIVE)
    counts = {tile["state"]: tile["count"] for tile in response.context["tiles"]}
    assert counts == {
        "scheduled": 0, "queued": 2, "running": 0, "retrying": 0, "succeeded": 1, "dead": 0, "cancelled": 0,
    }  # fmt: skip
    assert "no-store" in response["Cache-Control"]


def test_throughput_has_an_entry_for_each_of_24_hours_as_chart_and_as_text(admin_client, broker):
    now = timezone.now()
    make_job(JobState.SUCCEEDED, finished_at=now)
    make_job(JobState.DEAD, finished_at=now)
    response = admin_client.get("/admin/")
    hours = response.context["hours"]
    assert len(hours) == 24
    assert (hours[-1]["succeeded"], hours[-1]["dead"]) == (1, 1)
    assert sum(hour["succeeded"] + hour["dead"] for hour in hours[:-1]) == 0
    page = response.content.decode()
    assert page.count('<th scope="row">') >= 24
    assert "1 succeeded, 1 dead" in page
    assert '"animation": false' in response.context["chart_options"]


def test_workers_alive_are_those_with_a_recent_sign_of_life(admin_client, broker):
    now = timezone.now()
    make_worker(name="alive@a", queues=["email-queue"])
    make_worker(name="silent@b", seen_at=now - timedelta(minutes=5))
    make_worker(name="stopped@c", stopped_at=now)
    page = admin_client.get(LIVE).content.decode()
    assert "alive@a" in page
    assert "silent@b" not in page
    assert "stopped@c" not in page
    listed = admin_client.get("/admin/tasks/workerprocess/").content.decode()
    assert "Lost" in listed
    assert "Stopped" in listed


def test_the_dashboard_costs_the_same_queries_for_many_rows(admin_client, broker, django_assert_max_num_queries):
    for _ in range(10):
        make_job(JobState.QUEUED)
        make_job(JobState.DEAD)
        make_worker()
        DeadLetter.objects.create(reason="unrouted", queue="email-queue")
    with django_assert_max_num_queries(11):
        admin_client.get("/admin/")


def test_what_one_may_not_see_is_not_on_the_dashboard(broker):
    make_job(JobState.QUEUED)
    DeadLetter.objects.create(reason="unrouted", queue="email-queue", error="secret cause")
    stranger = staff("stranger").get("/admin/").content.decode()
    assert "tp-tiles" not in stranger
    assert "secret cause" not in stranger
    looker = staff("looker", "tasks.view_job").get("/admin/").content.decode()
    assert "tp-tiles" in looker
    assert "secret cause" not in looker
    assert "Run a task" not in looker


def test_more_letters_than_a_badge_holds_are_told_so(monkeypatch):
    monkeypatch.setattr(dashboard, "MAX_LETTERS_COUNTED", 3)
    for _ in range(4):
        DeadLetter.objects.create(reason="unrouted", queue="email-queue")
    assert dashboard.open_letters() == "2+"
