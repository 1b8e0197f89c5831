from contextlib import suppress
from datetime import timedelta

import pytest
from django.utils import timezone

from tasks.brokers import JobMessage, QueueMissing
from tasks.errors import BrokerUnavailable
from tasks.models import Job, PausedQueue
from tasks.states import JobState
from tasks.worker.relay import ClaimMarks, Pace, publish_due, publish_missing
from tests.unit.tasks.factories import kinds, make_job

pytestmark = pytest.mark.django_db


class FakeBroker:
    """Keeps what is published; ``depths`` is what it says of its queues."""

    def __init__(self, depths: dict[str, int] | None = None):
        self.published: list[JobMessage] = []
        self.depths = depths or {}
        self.declared = 0

    def publish(self, messages):
        self.published += messages
        return {message.id for message in messages}

    def depth(self, queue):
        depth = self.depths.get(queue, 0)
        if depth < 0:
            raise QueueMissing(queue)
        return depth

    def apply_topology(self):
        self.declared += 1
        return []


def ago(seconds: float):
    return timezone.now() - timedelta(seconds=seconds)


@pytest.mark.parametrize("state", [JobState.SCHEDULED, JobState.RETRYING])
def test_a_due_job_is_queued_and_published(state):
    broker, job = FakeBroker(), make_job(state, due_at=ago(1), attempt=1)
    assert publish_due(broker) == 1
    job.refresh_from_db()
    assert (job.state, job.due_at, kinds(job)) == (JobState.QUEUED, None, ["queued"])
    assert [message.attempt for message in broker.published] == [2]
    assert publish_due(broker) == 0


def test_a_job_that_is_not_due_waits():
    make_job(JobState.SCHEDULED, due_at=ago(-60))
    assert publish_due(FakeBroker()) == 0


def test_a_job_in_an_empty_queue_has_lost_its_message():
    broker, job = FakeBroker(), make_job(queued_at=ago(60))
    assert publish_missing(broker, ClaimMarks(), Pace()) == 1
    assert (kinds(job), len(broker.published)) == (["republished"], 1)
    assert publish_missing(broker, ClaimMarks(), Pace()) == 0, "published again at once"


def test_a_young_job_is_given_time():
    make_job(queued_at=ago(1))
    assert publish_missing(FakeBroker(), ClaimMarks(), Pace()) == 0


def test_a_job_in_a_long_queue_is_left_to_wait():
    make_job(queued_at=ago(600))
    assert publish_missing(FakeBroker({"work-queue": 5}), ClaimMarks(), Pace()) == 0


def test_a_queue_that_has_gone_past_a_job_has_lost_its_message():
    lost, later = make_job(queued_at=ago(600)), make_job(JobState.RUNNING, queued_at=ago(300))
    waiting = make_job(queued_at=ago(200))
    marks, broker = ClaimMarks(), FakeBroker({"work-queue": 5})
    marks.note(later, now=-1000)
    assert publish_missing(broker, marks, Pace()) == 1
    assert [message.job_id for message in broker.published] == [lost.pk] != [waiting.pk]


@pytest.mark.parametrize("until", [None, -60], ids=["with no end", "with an end to come"])
@pytest.mark.parametrize("depth", [0, 5])
def test_nothing_is_missed_in_a_queue_that_is_paused(depth, until):
    PausedQueue.objects.create(queue="work-queue", until=until and ago(until))
    lost, elsewhere = make_job(queued_at=ago(600)), make_job(queue="email-queue", queued_at=ago(600))
    marks, broker = ClaimMarks(), FakeBroker({"work-queue": depth})
    marks.note(make_job(JobState.RUNNING, queued_at=ago(300)), now=-1000)
    assert publish_missing(broker, marks, Pace()) == 1
    assert (kinds(lost), kinds(elsewhere)) == ([], ["republished"])


def test_a_queue_that_was_resumed_is_given_the_time_to_be_consumed(settings):
    settings.TASKS_RELAY_GRACE_SECONDS = 30
    pause, job = PausedQueue.objects.create(queue="work-queue", until=ago(10)), make_job(queued_at=ago(600))
    assert publish_missing(FakeBroker(), ClaimMarks(), Pace()) == 0
    PausedQueue.objects.filter(pk=pause.pk).update(until=ago(40))
    assert publish_missing(FakeBroker(), ClaimMarks(), Pace()) == 1
    assert kinds(job) == ["republished"]


def test_what_was_claimed_before_a_pause_tells_nothing_after_it():
    """What was handed back is older than what others had claimed, and has its message."""
    pause, waits = PausedQueue.objects.create(queue="work-queue"), make_job(queued_at=ago(600))
    marks, broker = ClaimMarks(), FakeBroker({"work-queue": 5})
    marks.note(make_job(JobState.RUNNING, queued_at=ago(300)), now=-1000)
    publish_missing(broker, marks, Pace())
    PausedQueue.objects.filter(pk=pause.pk).update(until=ago(300))
    assert publish_missing(broker, marks, Pace()) == 0
    assert kinds(waits) == []


def test_a_missing_queue_is_declared_and_its_jobs_published_again():
    broker, _ = FakeBroker({"work-queue": -1}), make_job(queued_at=ago(60))
    assert (publish_missing(broker, ClaimMarks(), Pace()), broker.declared) == (1, 1)


def test_with_the_broker_away_nothing_is_touched():
    class Away(FakeBroker):
        def depth(self, queue):
            raise BrokerUnavailable("away")

    job = make_job(queued_at=ago(60))
    with pytest.raises(BrokerUnavailable):
        publish_missing(Away(), ClaimMarks(), Pace())
    assert kinds(job) == []


def test_a_broker_that_takes_nothing_is_tried_with_one_job_at_a_time():
    class Full(FakeBroker):
        def publish(self, messages):
            super().publish(messages)
            if len(self.published) < 8:
                raise BrokerUnavailable("blocked")

    jobs, broker, pace = [make_job(queued_at=ago(60)) for _ in range(5)], Full(), Pace()
    for _ in range(4):
        with suppress(BrokerUnavailable):
            publish_missing(broker, ClaimMarks(), pace)
        Job.objects.filter(pk__in=[job.pk for job in jobs]).update(queued_at=ago(60))
    assert (len(broker.published), pace.jobs) == (5 + 1 + 1 + 1, 8)


def test_marks_speak_only_of_claims_older_than_the_grace():
    marks = ClaimMarks()
    early, late = make_job(queued_at=ago(100)), make_job(queued_at=ago(50))
    assert marks.passed("work-queue", 10, now=0) is None
    marks.note(early, now=0)
    marks.note(late, now=20)
    assert marks.passed("work-queue", 10, now=5) is None
    assert marks.passed("work-queue", 10, now=25) == early.queued_at
    assert marks.passed("work-queue", 10, now=31) == late.queued_at
