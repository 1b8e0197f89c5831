"""The recovery desk over a running worker."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from tasks.api import enqueue
from tasks.dead_letters import groups, search
from tasks.dead_letters.inspection import inspect
from tasks.models import DeadLetter, FailureGroup, Release
from tests.acceptance.seeing import ended
from tests.waiting import wait_for


def test_a_fix_that_does_not_hold_is_told_by_the_workers_themselves(start_worker: Callable):
    start_worker("-c", "2", RELEASE="9.1").wait_until_ready()
    jobs = [enqueue("probe.fail", {"how": "permanent", "failures": 9, "text": text}) for text in "ab"]
    assert ended(*jobs) == ["dead", "dead"]
    first, second = DeadLetter.objects.filter(job__in=jobs)
    assert first.group_id == second.group_id
    assert (first.release, first.group.frame) == ("9.1", "tests/probes/tasks.py fail")
    assert {first.payload["text"], second.payload["text"]} == {"a", "b"}
    assert set(search.letters("good release:9.1 data.how:permanent")) == {first, second}
    wait_for(lambda: inspect(first.pk).cause.startswith("rejected by work-queue after 1 attempt"), "its message")

    groups.fix(first.group_id, release="9.1", requested_by="ann")
    again = enqueue("probe.fail", {"how": "permanent", "failures": 9})
    assert ended(again) == ["dead"]
    wait_for(lambda: groups.reopened(), "the alert")
    assert [group.pk for group in groups.reopened()] == [first.group_id]
    assert list(Release.objects.values_list("name", flat=True)) == ["9.1"]


@pytest.mark.usefixtures("worker")
def test_letters_of_an_older_build_are_adopted():
    old = DeadLetter.objects.create(
        reason="unrouted", queue="work-queue", error="order 7", died_at=timezone.now() - timedelta(days=9)
    )
    wait_for(lambda: DeadLetter.objects.get(pk=old.pk).group_id, "its group")
    assert FailureGroup.objects.get(letters=old).first_seen_at == old.died_at
