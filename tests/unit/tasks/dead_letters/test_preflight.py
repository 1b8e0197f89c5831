from datetime import timedelta
from uuid import UUID

import pytest
from django.utils import timezone
from django_celery_results.models import TaskResult

from tasks.dead_letters import preflight
from tasks.dead_letters.drain import drain_seconds
from tasks.models import DeadLetter, Effect, Redirect
from tasks.registry import registry
from tasks.states import JobState
from tests.unit.tasks.factories import letter_of, make_job, make_message_letter, make_worker

pytestmark = pytest.mark.django_db

PAST = timezone.now() - timedelta(hours=1)


def why(letter: DeadLetter, verb: str = "replay", **options: object) -> str | None:
    """The reason for which the letter is left out."""
    blocked = preflight.blocked([letter.pk], verb, **options)
    return blocked[0].blocker.value if blocked else None


def dead(**values: object) -> DeadLetter:
    return letter_of(make_job(JobState.DEAD, **values))


def test_a_letter_that_nothing_stands_against_is_replayed():
    assert why(dead()) is None
    assert why(make_message_letter()) is None


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: dead(task="gone.gone"), "unknown_task"),
        (lambda: dead(payload={"seconds": "soon"}), "invalid_payload"),
        (lambda: dead(expires_at=PAST), "expired"),
        (lambda: letter_of(make_job(JobState.QUEUED)), "moved_on"),
        (lambda: letter_of(state="replayed"), "already_replayed"),
        (lambda: letter_of(state="discarded"), "already_discarded"),
        (lambda: make_message_letter(body=None), "no_message"),
        (lambda: make_message_letter(exchange=""), "no_message"),
    ],
)
def test_what_stands_against_a_replay_is_named(make, reason):
    assert why(make()) == reason


def test_a_standing_redirect_is_followed_before_anything_is_judged():
    renamed, message = dead(task="gone.gone"), make_message_letter(exchange="")
    Redirect.objects.create(from_task="gone.gone", to_task="probe.echo", reason="renamed", created_by="ada")
    assert (why(renamed), why(message)) == (None, "no_message")
    Redirect.objects.create(from_queue="work-queue", to_queue="report-queue", reason="idle", created_by="ada")
    assert why(message) is None
    assert why(message, is_paused="report-queue".__eq__) == "queue_paused"
    Redirect.objects.create(from_task="probe.echo", to_task="still.unknown", reason="a slip", created_by="ada")
    assert why(renamed) == "refused"


@pytest.mark.parametrize(
    ("verb", "state", "job_state", "delete_at", "reason"),
    [
        ("discard", "open", "dead", None, None),
        ("discard", "discarded", "dead", None, "already_discarded"),
        ("discard", "replayed", "queued", None, "already_replayed"),
        ("restore", "discarded", "dead", timezone.now() + timedelta(days=1), None),
        ("restore", "open", "dead", None, "not_discarded"),
        ("restore", "discarded", "dead", PAST, "too_late"),
        ("restore", "discarded", "queued", timezone.now() + timedelta(days=1), "moved_on"),
    ],
)
def test_what_stands_against_the_other_verbs_is_named(verb, state, job_state, delete_at, reason):
    assert why(letter_of(make_job(job_state), state=state, delete_at=delete_at), verb) == reason


def test_letters_of_a_paused_queue_are_left_out():
    asked: list[str] = []

    def is_paused(queue: str) -> bool:
        asked.append(queue)
        return queue == "email-queue"

    assert why(dead(queue="email-queue"), is_paused=is_paused) == "queue_paused"
    assert why(dead(), is_paused=is_paused) is None
    assert why(make_message_letter(queue="email-queue"), is_paused=is_paused) == "queue_paused"
    assert asked == ["email-queue", "work-queue", "email-queue"]
    assert preflight.look("replay", {}, is_paused=is_paused).skipped == {"queue_paused": 2}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "already_done"),
        ({"state": JobState.DEAD}, None),
        ({"payload": {"text": "another"}}, None),
        ({"correlation_id": "order-18"}, None),
        ({"task": "probe.sleep"}, None),
        ({"created_at": PAST - timedelta(hours=1)}, None),
    ],
)
def test_what_a_later_job_has_done_is_done(values, reason):
    """The same task, correlation id and payload, enqueued after the death, succeeded: less than that proves nothing."""
    letter = letter_of(make_job(JobState.DEAD, correlation_id="order-17"), died_at=PAST)
    make_job(**{"state": JobState.SUCCEEDED, "correlation_id": "order-17", **values})
    assert why(letter) == reason


def test_a_job_that_has_recorded_its_last_step_has_done_what_it_was_for(monkeypatch):
    letter = dead()
    Effect.objects.create(job=letter.job, key="charge")
    assert why(letter) is None, "who knows whether that was all?"
    echo = registry.get("probe.echo")
    object.__setattr__(echo, "effect", "send")
    try:
        assert why(letter) is None
        Effect.objects.create(job=letter.job, key="send")
        assert why(letter) == "already_done"
    finally:
        object.__setattr__(echo, "effect", "")


def test_samples_of_each_reason_say_what_about_the_letter():
    letters = [dead(payload={"seconds": "soon"}) for _ in range(7)]
    dead()
    found = preflight.look("replay", {})
    assert (found.matched, found.judged, found.will, found.skipped) == (8, 8, 1, {"invalid_payload": 7})
    samples = found.samples["invalid_payload"]
    assert [sample.letter_id for sample in samples] == [letter.pk for letter in letters[:5]]
    assert samples[0].why.startswith("payload.seconds: Input should be a valid number")


def test_many_letters_are_looked_at_a_few_hundred_at_a_time(django_assert_max_num_queries):
    jobs = [make_job(JobState.DEAD) for _ in range(3)]
    DeadLetter.objects.bulk_create(
        DeadLetter(job=jobs[n % 3], attempt=n, reason="exhausted", queue="work-queue") for n in range(1200)
    )
    # Count, ids, rows and redirects of three chunks, whether the queue is paused, pace.
    with django_assert_max_num_queries(1 + 1 + 3 * 2 + 1 + 2):
        assert preflight.look("replay", {}).will == 1200


def ran(task: str, *seconds: float) -> None:
    for number, took in enumerate(seconds):
        done = TaskResult.objects.create(task_id=f"{UUID(int=number)}.{task}", task_name=task)
        started = done.date_done - timedelta(seconds=took)
        TaskResult.objects.filter(pk=done.pk).update(date_started=started)


def test_the_drain_time_comes_from_how_long_the_task_took_lately_and_how_many_run_at_once():
    make_worker(queues=["work-queue"], concurrency=3)
    make_worker(queues=["work-queue", "email-queue"], concurrency=1)
    make_worker(queues=["work-queue"], concurrency=50, stopped_at=timezone.now())
    make_worker(queues=["work-queue"], concurrency=50, seen_at=PAST)
    ran("probe.echo", 1, 3)
    work = {("probe.echo", "work-queue"): 100}
    assert drain_seconds(work) == pytest.approx(50)
    assert drain_seconds(work, share=0.5) == pytest.approx(100)
    assert drain_seconds({**work, ("probe.echo", "email-queue"): 60}) == pytest.approx(120)
    assert drain_seconds({}) == 0


def test_an_unknown_drain_time_is_none_and_not_zero():
    ran("probe.echo", 1)
    assert drain_seconds({("probe.echo", "work-queue"): 1}) is None, "nobody takes the queue"
    make_worker(queues=["work-queue"], concurrency=1)
    assert drain_seconds({("probe.echo", "work-queue"): 1}) == pytest.approx(1)
    assert drain_seconds({("probe.sleep", "work-queue"): 1}) is None, "the task never ran"


def test_the_drain_time_is_never_shorter_than_the_rate_allows():
    make_worker(queues=["work-queue"], concurrency=1)
    ran("probe.echo", 0.001)
    for _ in range(4):
        dead()
    assert preflight.look("replay", {}).drain_seconds == pytest.approx(0.004)
    assert preflight.look("replay", {}, rate_per_second=2).drain_seconds == 2
    assert preflight.look("discard", {}).drain_seconds is None
