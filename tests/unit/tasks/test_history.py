"""A job's state can be told from its history alone."""

import pytest

from tasks.api import PermanentError, RetryPolicy, cancel, enqueue, replay
from tasks.models import Job
from tasks.worker.claiming import claim, hand_back
from tasks.worker.envelope import Envelope
from tasks.worker.outcome import Outcome
from tasks.worker.recording import Ended, record
from tests.unit.tasks.factories import make_worker, told

pytestmark = pytest.mark.django_db

POLICY = RetryPolicy(max_attempts=9, base_seconds=0)


def take(job: Job) -> None:
    claim([Envelope(job.pk, Job.objects.get(pk=job.pk).attempt + 1, job.task)], make_worker())


def finish(job: Job, error: Exception | None = None) -> None:
    outcome = Outcome.of_error(error, POLICY, 1) if error else Outcome(succeeded=True)
    record([Ended(Job.objects.get(pk=job.pk), outcome, "w")])


def give_back(job: Job) -> None:
    row = Job.objects.get(pk=job.pk)
    hand_back([(row.pk, row.attempt)], row.worker, why="test")


def requeue(job: Job) -> None:
    from tasks.worker.relay import publish_due
    from tests.unit.tasks.worker.test_relay import FakeBroker

    Job.objects.filter(pk=job.pk).update(due_at=job.created_at)
    publish_due(FakeBroker())


STEPS = {
    "take": take,
    "succeed": finish,
    "fail": lambda job: finish(job, ValueError("no")),
    "die": lambda job: finish(job, PermanentError("no")),
    "due": requeue,
    "hand back": give_back,
    "replay": lambda job: replay(job.pk),
    "cancel": lambda job: cancel(job.pk),
}


@pytest.mark.parametrize(
    "life",
    [
        ["take", "succeed"],
        ["take", "fail", "due", "take", "succeed"],
        ["take", "hand back", "take", "die", "replay", "take", "fail", "due", "take", "succeed"],
        ["take", "fail", "cancel"],
        ["cancel"],
        ["take", "cancel", "fail"],
        ["take", "cancel", "hand back"],
        ["take", "take", "succeed", "take"],
    ],
)
def test_history_and_row_agree_at_every_step(outbox, life):
    job = enqueue("probe.echo")
    for step in life:
        STEPS[step](job)
        row = Job.objects.filter(pk=job.pk).values(*told([])).get()
        assert told(job.events.order_by("id")) == row, f"after {step}"
