from datetime import timedelta

import pytest
from django.utils import timezone

from tasks.models import DeadLetter, WorkerProcess
from tasks.states import JobState
from tasks.worker import supervision
from tests.unit.tasks.factories import kinds, make_job, make_worker

pytestmark = pytest.mark.django_db


def silent_worker() -> WorkerProcess:
    return make_worker(seen_at=timezone.now() - timedelta(minutes=5))


@pytest.mark.parametrize(
    "owner",
    [lambda: None, silent_worker, lambda: make_worker(stopped_at=timezone.now())],
    ids=["none", "silent", "off"],
)
def test_the_attempt_of_a_worker_that_is_gone_is_counted_and_retried(owner):
    job = make_job(JobState.RUNNING, worker=owner())
    assert supervision.record_lost_attempts() == 1
    job.refresh_from_db()
    assert job.state == JobState.RETRYING
    assert "WorkerLost" in job.error


def test_the_attempt_of_a_living_worker_is_left_alone():
    job = make_job(JobState.RUNNING, worker=make_worker())
    assert supervision.record_lost_attempts() == 0
    assert kinds(job) == []


def test_a_sign_of_life_saves_the_attempt():
    worker = silent_worker()
    make_job(JobState.RUNNING, worker=worker)
    supervision.beat(worker)
    assert supervision.record_lost_attempts() == 0


def test_the_last_lost_attempt_buries_the_job():
    job = make_job(JobState.RUNNING, attempt=3, worker=silent_worker())
    supervision.record_lost_attempts()
    job.refresh_from_db()
    assert (job.state, DeadLetter.objects.get().reason) == (JobState.DEAD, "worker_lost")


def test_a_job_of_a_task_this_build_does_not_know_is_retried_too():
    job = make_job(JobState.RUNNING, task="gone.gone")
    supervision.record_lost_attempts()
    job.refresh_from_db()
    assert job.state == JobState.RETRYING


def test_an_attempt_its_own_worker_does_not_know_is_recorded_when_missed_twice():
    worker = make_worker()
    job = make_job(JobState.RUNNING, worker=worker)
    forgotten = supervision.Forgotten()
    assert [forgotten.record(worker, lambda attempt_id: False) for _ in range(3)] == [0, 1, 0]
    job.refresh_from_db()
    assert job.state == JobState.RETRYING


def test_an_attempt_in_hand_is_never_forgotten():
    worker = make_worker()
    make_job(JobState.RUNNING, worker=worker)
    forgotten = supervision.Forgotten()
    assert [forgotten.record(worker, lambda attempt_id: True) for _ in range(3)] == [0, 0, 0]


def test_a_worker_never_judges_itself():
    worker = silent_worker()
    make_job(JobState.RUNNING, worker=worker)
    assert supervision.record_lost_attempts(worker) == 0
    assert supervision.record_lost_attempts(make_worker()) == 1


def test_a_row_that_can_not_be_recorded_keeps_no_other_from_it(monkeypatch):
    jobs = [make_job(JobState.RUNNING) for _ in range(3)]
    real = supervision.record_lost

    def fail_on_first(job, why):
        if job.pk == jobs[0].pk:
            raise ValueError("odd row")
        real(job, why)

    monkeypatch.setattr(supervision, "record_lost", fail_on_first)
    assert supervision.record_lost_attempts() == 2


def test_a_long_node_name_fits_the_attempts_record():
    make_job(JobState.RUNNING, worker=make_worker(name="w" * 200, stopped_at=timezone.now()))
    assert supervision.record_lost_attempts() == 1
