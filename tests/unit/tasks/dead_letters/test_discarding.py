from datetime import timedelta

import pytest
from django.utils import timezone

from tasks import jobs
from tasks.dead_letters import discarding, replaying
from tasks.errors import IllegalTransition, InvalidReason
from tasks.models import AuditEntry, DeadLetter, Job
from tests.unit.tasks.factories import letter_of, make_message_letter

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("outbox")]


def discard(letter: DeadLetter) -> DeadLetter:
    return discarding.discard(letter.pk, requested_by="ada", reason="a test run")


def test_a_discarded_letter_is_parked_until_a_date_and_its_job_stays_dead(settings):
    settings.TASKS_DEAD_LETTER_KEEP_DAYS = 3
    letter = discard(letter_of())
    assert (letter.state, letter.discarded_by, letter.job.state) == ("discarded", "ada", "dead")
    assert letter.delete_at - letter.discarded_at == timedelta(days=3)


@pytest.mark.parametrize("make", [letter_of, make_message_letter])
def test_restored_it_is_what_it_was_where_it_was(make):
    make()
    letter = make(headers={"x-death": [1]})
    make()
    before = list(DeadLetter.objects.values())
    discard(letter)
    discarding.restore(letter.pk, requested_by="bob")
    assert list(DeadLetter.objects.values()) == before


def test_who_did_it_and_why_is_in_the_audit_trail():
    letter = discard(letter_of())
    discarding.restore(letter.pk, requested_by="bob")
    entries = AuditEntry.objects.order_by("id").values_list("actor", "verb", "subject", "reason")
    assert list(entries) == [
        ("ada", "dead_letters.discard", str(letter.pk), "a test run"),
        ("bob", "dead_letters.restore", str(letter.pk), ""),
    ]


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_without_a_reason_nothing_is_discarded(reason):
    letter = letter_of()
    with pytest.raises(InvalidReason, match="reason"):
        discarding.discard(letter.pk, requested_by="ada", reason=reason)
    assert DeadLetter.objects.get().state == "open"
    assert not AuditEntry.objects.exists()


def test_only_an_open_letter_is_discarded_and_only_a_discarded_one_restored():
    letter = letter_of()
    with pytest.raises(IllegalTransition, match="is open, not discarded"):
        discarding.restore(letter.pk, requested_by="ada")
    discard(letter)
    with pytest.raises(IllegalTransition, match="is discarded, not open"):
        discard(letter)
    with pytest.raises(IllegalTransition, match="is discarded, not open"):
        replaying.replay(letter.pk)


def test_past_its_date_it_is_not_restored():
    letter = discard(letter_of())
    DeadLetter.objects.update(delete_at=timezone.now())
    with pytest.raises(IllegalTransition, match="could be restored until"):
        discarding.restore(letter.pk, requested_by="ada")


def test_a_job_that_is_replayed_by_itself_takes_its_discarded_letter_along():
    letter = discard(letter_of())
    jobs.replay(letter.job_id, requested_by="ada")
    letter.refresh_from_db()
    assert (letter.state, letter.delete_at) == ("replayed", None)
    with pytest.raises(IllegalTransition, match="is replayed, not discarded"):
        discarding.restore(letter.pk, requested_by="ada")


def test_the_letter_of_a_job_that_is_not_dead_any_more_is_not_restored():
    letter = discard(letter_of())
    Job.objects.update(state="queued", finished_at=None)
    with pytest.raises(IllegalTransition, match="job is queued, not dead"):
        discarding.restore(letter.pk, requested_by="ada")
