"""What is new to a follower: every event once, each progress once, and the end."""

import pytest

from tasks import following, jobs
from tasks.following import Changed, Counted, Follower, Position, Progressed, follow_batch, follow_job, look_at_jobs
from tasks.models import Batch, Job, JobEvent
from tasks.states import JobState
from tasks.transitions import change
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.django_db


def begun(**values) -> Job:
    """A queued job with its first event."""
    job = make_job(**values)
    JobEvent.objects.create(job=job, kind="queued")
    return job


def run(job: Job) -> None:
    assert change(job.pk, source=JobState.QUEUED, target=JobState.RUNNING, burn=True)


def progress(job: Job, done: int, total: int | None = None, note: str = "") -> None:
    Job.objects.filter(pk=job.pk).update(progress_done=done, progress_total=total, progress_note=note)


def taken(follower: Follower) -> list[str]:
    """What it has to tell, in short."""
    look_at_jobs([follower])
    return list(map(short, follower.take()))


def short(news) -> str:
    match news:
        case Changed():
            return f"{news.kind}:{news.state}" + (":end" if news.job else "")
        case Progressed():
            return f"{news.done}/{news.total}"


@pytest.mark.parametrize("text", ["0", "17", "17-0a1b2c3d"])
def test_a_position_is_read_as_it_was_written(text):
    assert str(Position.parse(text)) == text


@pytest.mark.parametrize("text", ["", "-1", "x", "1-", "1-xyz", "1-0A1B2C3D", "9" * 19, "٣", "1\n"])
def test_what_is_no_position_is_none(text):
    assert Position.parse(text) is None


def test_a_new_follower_begins_with_the_latest_state():
    job = begun()
    run(job)
    follower = follow_job(job.pk)
    assert [short(news) for news in follower.take()] == ["running:running"]
    assert taken(follower) == []


def test_a_follower_is_told_each_change_and_each_progress_once():
    job = begun()
    follower = follow_job(job.pk)
    assert taken(follower) == ["queued:queued"]
    run(job)
    progress(job, 1, 4)
    assert taken(follower) == ["running:running", "1/4"]
    assert taken(follower) == []
    progress(job, 1, 4, "halfway")
    assert taken(follower) == ["1/4"]
    jobs.cancel(job.pk)
    assert taken(follower) == ["cancel_requested:running"]
    change(job.pk, source=JobState.RUNNING, target=JobState.CANCELLED)
    assert taken(follower) == ["cancelled:cancelled:end"]
    assert follower.has_ended


def test_whoever_comes_back_is_told_what_was_missed_and_nothing_twice():
    job = begun()
    run(job)
    progress(job, 1, 4)
    seen = follow_job(job.pk).take()
    assert list(map(short, seen)) == ["running:running", "1/4"]

    for position, missed in ((seen[1].position, []), (seen[0].position, ["1/4"])):
        again = follow_job(job.pk, str(position))
        assert list(map(short, again.take())) == missed

    jobs.cancel(job.pk)
    again = follow_job(job.pk, str(seen[1].position))
    last = again.take()
    assert list(map(short, last)) == ["cancel_requested:running"]
    assert follow_job(job.pk, str(last[0].position)).take() == [], "its position names the progress that it was told"


def test_events_of_messages_are_not_told_but_passed():
    job = begun()
    follower = follow_job(job.pk)
    follower.take()
    republished = JobEvent.objects.create(job=job, kind="republished")
    assert taken(follower) == []
    assert follower.after == republished.pk


@pytest.mark.parametrize("last_seen", ["nonsense", "999999999999"])
def test_a_position_that_is_not_ours_counts_for_none(last_seen):
    assert list(map(short, follow_job(begun().pk, last_seen).take())) == ["queued:queued"]


def test_an_end_comes_with_the_job_and_a_second_time_with_nothing():
    job = begun()
    run(job)
    change(job.pk, source=JobState.RUNNING, target=JobState.SUCCEEDED, result={"a": 1})
    follower = follow_job(job.pk)
    [ended] = follower.take()
    assert (ended.job.result, follower.has_ended) == ({"a": 1}, True)
    again = follow_job(job.pk, str(ended.position))
    assert (again.take(), again.has_ended) == ([], True)


def test_a_job_that_was_replayed_meanwhile_has_not_ended():
    job = begun()
    run(job)
    follower = follow_job(job.pk)
    follower.take()
    change(job.pk, source=JobState.RUNNING, target=JobState.DEAD)
    change(job.pk, source=JobState.DEAD, target=JobState.QUEUED, kind="replayed", finished_at=None)
    assert taken(follower) == ["dead:dead", "replayed:queued"]
    assert not follower.has_ended


def test_a_restored_job_is_in_the_state_that_its_event_names():
    job = begun()
    follower = follow_job(job.pk)
    follower.take()
    JobEvent.objects.create(job=job, kind="restored", detail={"state": "queued"})
    assert taken(follower) == ["restored:queued"]


def test_a_job_that_is_gone_has_ended():
    job = begun()
    follower = follow_job(job.pk)
    follower.take()
    job.delete()
    assert (taken(follower), follower.has_ended) == ([], True)


def test_one_statement_asks_for_all_and_each_hears_of_its_own(django_assert_max_num_queries):
    first, second = begun(), begun()
    followers = [follow_job(job.pk) for job in (first, second, second)]
    early = follow_job(second.pk, "0")  # it has seen less than the others
    early.take()
    for follower in followers:
        follower.take()
    run(second)
    with django_assert_max_num_queries(1):
        look_at_jobs(followers)
    assert [len(follower.take()) for follower in followers] == [0, 1, 1]


def test_progress_that_nobody_takes_does_not_add_up():
    job = begun()
    run(job)
    follower = follow_job(job.pk)
    for done in range(1, 50):
        progress(job, done, 50)
        look_at_jobs([follower])
    assert list(map(short, follower.take())) == ["running:running", "49/50"]


def test_news_wake_who_waits_for_them():
    job = begun()
    follower = follow_job(job.pk)
    woken = []
    follower.on_news = lambda: woken.append(True)
    look_at_jobs([follower])
    assert woken == []
    run(job)
    look_at_jobs([follower])
    assert woken == [True]


def test_a_batch_is_told_when_its_numbers_change_and_ends_with_its_last_job():
    batch = Batch.objects.create(name="b", total=2)
    first, second = (make_job(JobState.RUNNING, batch=batch) for _ in range(2))
    follower = follow_batch(batch)
    [told] = follower.take()
    assert (told.counts, follower.has_ended) == ({"running": 2}, False)
    following.look_at_batches([follower])
    assert follower.take() == []
    change(first.pk, source=JobState.RUNNING, target=JobState.SUCCEEDED)
    following.look_at_batches([follower])
    change(second.pk, source=JobState.RUNNING, target=JobState.DEAD)
    following.look_at_batches([follower])
    [told] = follower.take()
    assert isinstance(told, Counted)
    assert (told.counts, follower.has_ended) == ({"succeeded": 1, "dead": 1}, True)
    again = follow_batch(batch, told.version)
    assert (again.take(), again.has_ended) == ([], True)
