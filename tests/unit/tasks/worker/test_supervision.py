import time
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from tasks.api import replay
from tasks.models import DeadLetter, WorkerProcess
from tasks.states import JobState
from tasks.worker import supervision
from tasks.worker.supervision import Silence, record_lost_attempts
from tests.unit.tasks.factories import kinds, make_job, make_worker

pytestmark = pytest.mark.django_db


def watched(*workers: WorkerProcess) -> Silence:
    """A watcher that has heard nothing new of ``workers`` for as long as it takes."""
    silence = Silence()
    for seconds in range(25, 0, -5):
        silence.look({worker.pk: worker.seen_at for worker in workers}, now=time.monotonic() - seconds)
    return silence


@pytest.mark.parametrize("owner", [None, {}, {"stopped_at": timezone.now()}], ids=["none", "silent", "off"])
def test_the_attempt_of_a_worker_that_is_gone_is_counted_and_retried(owner):
    worker = None if owner is None else make_worker(**owner)
    job = make_job(JobState.RUNNING, worker=worker)
    assert record_lost_attempts(watched(*([worker] if worker else []))) == 1
    job.refresh_from_db()
    assert (job.state, job.lost_deliveries) == (JobState.RETRYING, 1)
    assert "WorkerLost" in job.error


def test_the_attempt_of_a_worker_that_was_just_heard_of_is_left_alone():
    job = make_job(JobState.RUNNING, worker=make_worker(seen_at=timezone.now() - timedelta(days=1)))
    silence = Silence()
    assert [record_lost_attempts(silence) for _ in range(3)] == [0, 0, 0]
    assert kinds(job) == []


def test_a_sign_of_life_saves_the_attempt():
    worker = make_worker()
    make_job(JobState.RUNNING, worker=worker)
    silence = watched(worker)
    supervision.beat(worker)
    assert record_lost_attempts(silence) == 0


@pytest.mark.parametrize(
    ("looks", "silent"),
    [
        ([(0, 1), (5, 1), (10, 1), (15, 1), (20, 1)], True),
        ([(0, 1), (5, 1), (10, 1), (15, 1), (19, 1)], False),
        ([(0, 1), (5, 1), (10, 2), (15, 2), (20, 2)], False),
        ([(0, 2), (5, 2), (10, 1), (15, 1), (20, 1), (25, 1), (30, 1)], True),  # the database's clock was put back
        ([(0, 1), (5, 1), (60, 1), (65, 1)], False),  # nobody could look, so perhaps nobody could speak
        ([(0, 1), (5, 1), (10, 1), (15, 1), (60, 1), (65, 1), (70, 1)], True),  # half of what was seen before counts
    ],
    ids=["silent", "not yet", "spoke", "clock put back", "gap", "gap and silent"],
)
def test_silence_is_a_sign_of_life_that_stays_the_same_through_many_looks(looks, silent):
    worker, silence, noon = uuid4(), Silence(), timezone.now()
    for seconds, sign in looks:
        found = silence.look({worker: noon + timedelta(hours=sign)}, now=1000.0 + seconds)
    assert found == ({worker} if silent else set())


def test_the_last_lost_attempt_buries_the_job():
    worker = make_worker()
    job = make_job(JobState.RUNNING, attempt=3, worker=worker)
    record_lost_attempts(watched(worker))
    job.refresh_from_db()
    letter = DeadLetter.objects.get()
    assert (job.state, letter.reason, letter.evidence["worker"]) == (JobState.DEAD, "worker_lost", worker.name)


def test_a_job_that_took_enough_processes_with_it_is_dead_whatever_its_policy_has_left(settings):
    settings.TASKS_POISON_LIMIT = 2
    job = make_job(JobState.RUNNING, lost_deliveries=1)
    record_lost_attempts(Silence())
    job.refresh_from_db()
    assert (job.state, job.lost_deliveries, DeadLetter.objects.get().reason) == (JobState.DEAD, 2, "worker_lost")


def test_a_replay_forgives_lost_deliveries(outbox):
    job = make_job(JobState.DEAD, lost_deliveries=3)
    assert replay(job.pk).lost_deliveries == 0


def test_a_job_of_a_task_this_build_does_not_know_is_retried_too():
    job = make_job(JobState.RUNNING, task="gone.gone")
    record_lost_attempts(Silence())
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
    worker = make_worker()
    make_job(JobState.RUNNING, worker=worker)
    assert record_lost_attempts(watched(worker), worker) == 0
    assert record_lost_attempts(watched(worker), make_worker()) == 1


def test_a_row_that_can_not_be_recorded_keeps_no_other_from_it(monkeypatch):
    jobs = [make_job(JobState.RUNNING) for _ in range(3)]
    real = supervision.record_lost

    def fail_on_first(job, why):
        if job.pk == jobs[0].pk:
            raise ValueError("odd row")
        real(job, why)

    monkeypatch.setattr(supervision, "record_lost", fail_on_first)
    assert record_lost_attempts(Silence()) == 2


def test_a_long_node_name_fits_the_attempts_record():
    make_job(JobState.RUNNING, worker=make_worker(name="w" * 200, stopped_at=timezone.now()))
    assert record_lost_attempts(Silence()) == 1
