import pytest

from tasks.models import Job
from tasks.states import LEGAL_CHANGES, JobState
from tasks.transitions import change, change_all
from tests.unit.tasks.factories import kinds, make_job

pytestmark = pytest.mark.django_db


def test_every_state_has_its_row_in_the_table_of_legal_changes():
    assert set(LEGAL_CHANGES) == set(JobState)
    assert {state for state, targets in LEGAL_CHANGES.items() if not targets} == {JobState.SUCCEEDED}


@pytest.mark.parametrize("source", JobState)
@pytest.mark.parametrize("target", JobState)
def test_only_legal_changes_happen(source, target):
    job = make_job(source)
    if target in LEGAL_CHANGES[source]:
        assert change(job.pk, source=source, target=target, due_at=job.created_at)
        job.refresh_from_db()
        assert (job.state, kinds(job)) == (target, [target])
    else:
        with pytest.raises(ValueError, match="never becomes"):
            change(job.pk, source=source, target=target)


def test_the_second_of_two_equal_changes_loses():
    job = make_job(JobState.RUNNING)
    assert change(job.pk, source=JobState.RUNNING, target=JobState.SUCCEEDED, attempt=1)
    assert not change(job.pk, source=JobState.RUNNING, target=JobState.SUCCEEDED, attempt=1)
    assert kinds(job) == ["succeeded"]


def test_an_attempt_that_was_superseded_changes_nothing():
    job = make_job(JobState.RUNNING, attempt=2)
    assert not change(job.pk, source=JobState.RUNNING, target=JobState.SUCCEEDED, attempt=1, result="late")
    job.refresh_from_db()
    assert (job.state, job.result, kinds(job)) == (JobState.RUNNING, None, [])


def test_a_final_state_has_its_time():
    job = make_job(JobState.RUNNING)
    change(job.pk, source=JobState.RUNNING, target=JobState.CANCELLED)
    assert Job.objects.get(pk=job.pk).finished_at is not None


def test_many_are_changed_at_once_but_for_those_that_have_moved_on():
    first, second, running = make_job(attempt=2), make_job(), make_job(JobState.RUNNING)
    ids = [first.pk, second.pk, running.pk]
    moved = change_all(ids, source=JobState.QUEUED, target=JobState.CANCELLED, burn=True, kind="purged")
    assert {(job.pk, job.state, job.attempt) for job in moved} == {(first.pk, "queued", 2), (second.pk, "queued", 0)}
    rows = {job.pk: (job.state, job.attempt, job.finished_at is not None) for job in Job.objects.all()}
    assert rows == {
        first.pk: ("cancelled", 3, True), second.pk: ("cancelled", 1, True), running.pk: ("running", 1, False)
    }  # fmt: skip
    assert [(event.kind, event.attempt) for event in first.events.all()] == [("purged", 3)]
    assert kinds(running) == []


def test_a_change_of_many_is_as_legal_as_that_of_one():
    with pytest.raises(ValueError, match="a succeeded job never becomes queued"):
        change_all([], source=JobState.SUCCEEDED, target=JobState.QUEUED)
