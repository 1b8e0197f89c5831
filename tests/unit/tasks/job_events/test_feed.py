"""A sink hears of every change, of each job in order, whatever order the history becomes visible in."""

import pytest
from django.db import transaction

from tasks import history
from tasks.errors import BrokerUnavailable
from tasks.job_events import feed
from tasks.job_events.messages import JobEventMessage
from tasks.models import Job, JobEvent, JobEventCursor
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.django_db


class Ear:
    """A sink that keeps what it is told, unless ``trouble`` is raised."""

    name = "ear"

    def __init__(self) -> None:
        self.heard: list[JobEventMessage] = []
        self.trouble: Exception | None = None

    def send(self, messages) -> None:
        if self.trouble:
            raise self.trouble
        self.heard += messages

    @property
    def ids(self) -> list[int]:
        return [int(message.id) for message in self.heard]


@pytest.fixture
def ear() -> Ear:
    """One that has begun to listen."""
    ear = Ear()
    feed.advance(ear)
    return ear


@pytest.fixture
def writers(monkeypatch) -> list[str]:
    """Transactions at work, as PostgreSQL would list them."""
    at_work: list[str] = []
    monkeypatch.setattr(history, "writers", lambda: sorted(at_work))
    return at_work


def happen(*kinds: str, job: Job | None = None, **values) -> list[JobEvent]:
    job = job or make_job()
    return [JobEvent.objects.create(job=job, kind=kind, attempt=1, **values) for kind in kinds]


def appear_later(number: int, kind: str = "succeeded") -> JobEvent:
    """What a transaction that was at work commits at last."""
    return JobEvent.objects.create(pk=number, job=make_job(), kind=kind, attempt=1)


def test_a_new_sink_hears_of_what_happens_from_now_on():
    happen("queued")
    ear = Ear()
    assert feed.advance(ear) == 0
    happen("running")
    assert feed.advance(ear) == 1
    assert [message.type for message in ear.heard] == ["job.running"]


def test_every_change_is_told_once_and_in_order(ear):
    events = happen("queued", "running", "retrying", "queued", "running", "succeeded")
    assert [feed.advance(ear) for _ in range(3)] == [6, 0, 0]
    assert ear.ids == [event.pk for event in events]


def test_what_changes_no_state_is_not_told_and_passed_over(ear):
    happen("republished", "duplicate")
    assert feed.advance(ear) == 0
    assert JobEventCursor.objects.get().read_to == history.newest_event()


def test_more_than_a_page_is_told_within_one_call(ear, monkeypatch):
    monkeypatch.setattr(feed, "PAGE", 3)
    events = happen(*["queued"] * 8)
    assert feed.advance(ear) == 8
    assert ear.ids == [event.pk for event in events]


def test_a_sink_that_fails_hears_all_of_it_again(ear):
    happen("queued", "running")
    ear.trouble = BrokerUnavailable("away")
    with pytest.raises(BrokerUnavailable), transaction.atomic():
        feed.advance(ear)
    ear.trouble = None
    assert feed.advance(ear) == 2


def test_a_death_between_telling_and_noting_repeats_and_loses_nothing(ear, monkeypatch):
    happen("queued", "running")
    with monkeypatch.context() as patch:
        patch.setattr(feed, "_move", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError), transaction.atomic():
            feed.advance(ear)
    feed.advance(ear)
    assert ear.ids[:2] == ear.ids[2:]


def test_an_event_that_appears_below_what_was_read_is_told(ear, writers):
    writers.append("3/7")
    first, late, third = (history.newest_event() + number for number in (1, 2, 3))
    appear_later(first), appear_later(third)
    assert feed.advance(ear) == 2
    appear_later(late)
    assert feed.advance(ear) == 1
    assert sorted(ear.ids) == [first, late, third]


def test_it_is_awaited_as_long_as_its_writer_is_at_work_and_one_look_more(ear, writers):
    writers.append("3/7")
    late = history.newest_event() + 1
    appear_later(late + 1)
    for _ in range(5):
        feed.advance(ear)
    writers.clear()  # it committed just after the page was read
    feed.advance(ear)
    appear_later(late)
    assert feed.advance(ear) == 1
    feed.advance(ear)
    assert JobEventCursor.objects.get().gaps == []


def test_a_number_that_was_rolled_back_is_forgotten(ear, writers):
    appear_later(history.newest_event() + 5)
    for _ in range(3):
        feed.advance(ear)
    assert JobEventCursor.objects.get().gaps == []


def test_a_writer_that_began_later_keeps_no_gap_open(ear, writers):
    writers.append("3/7")
    appear_later(history.newest_event() + 2)
    feed.advance(ear)
    writers[:] = ["4/9"]
    for _ in range(3):
        feed.advance(ear)
    assert JobEventCursor.objects.get().gaps == []


def test_a_jobs_earlier_event_is_never_told_after_a_later_one(ear, writers, monkeypatch):
    monkeypatch.setattr(feed, "PAGE", 4)
    writers.append("3/7")
    job, base = make_job(), history.newest_event()
    for number in (4, 5, 6):
        appear_later(base + number)
    feed.advance(ear)
    for number, kind in ((1, "queued"), (2, "running"), (3, "succeeded"), (7, "dead"), (8, "queued")):
        JobEvent.objects.create(pk=base + number, job=job, kind=kind, attempt=1)
    feed.advance(ear)
    of_job = [int(message.id) - base for message in ear.heard if message.job_id == job.pk]
    assert of_job == [1, 2, 3, 7, 8]


def test_with_many_gaps_reading_waits_for_their_writers(ear, writers, monkeypatch):
    monkeypatch.setattr(feed, "MOST_GAPS", 2)
    writers.append("3/7")
    base = history.newest_event()
    for number in (2, 4, 6):
        appear_later(base + number)
    feed.advance(ear)
    appear_later(base + 8)
    assert feed.advance(ear) == 0
    writers.clear()
    for _ in range(3):
        feed.advance(ear)
    assert [number - base for number in ear.ids] == [2, 4, 6, 8]


def test_a_gap_of_which_one_page_saw_a_part_keeps_the_rest(ear, writers, monkeypatch):
    writers.append("3/7")
    base = history.newest_event()
    appear_later(base + 10)
    feed.advance(ear)
    monkeypatch.setattr(feed, "PAGE", 2)
    for number in (2, 3, 5, 9):
        appear_later(base + number)
    writers.clear()
    for _ in range(5):
        feed.advance(ear)
    assert [number - base for number in ear.ids] == [10, 2, 3, 5, 9]
    assert JobEventCursor.objects.get().gaps == []


def test_the_lag_is_what_has_not_been_told(ear):
    assert feed.lag("ear") == (0, None)
    (first, _) = happen("queued", "running")
    assert feed.lag("ear") == (2, first.at)
    assert feed.lag("nobody") == (0, None)


def test_events_of_one_job_stay_together_in_the_order_told(ear):
    jobs = [make_job(), make_job()]
    for kind in ("queued", "running", "succeeded"):
        for job in jobs:
            happen(kind, job=job)
    feed.advance(ear)
    for job in jobs:
        types = [message.type for message in ear.heard if message.job_id == job.pk]
        assert types == ["job.queued", "job.running", "job.succeeded"]
