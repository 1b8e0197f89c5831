from types import SimpleNamespace

import pytest

from tasks import jobs
from tasks.api import InvalidJob
from tasks.dead_letters import redirects, replaying
from tasks.dead_letters.redirects import Destination, destination
from tasks.models import AuditEntry, DeadLetter, Job, Redirect
from tests.unit.tasks.factories import make_letter, make_message

pytestmark = pytest.mark.django_db

ADA = {"requested_by": "ada", "reason": "the old one is gone"}


def add(**values):
    return redirects.add(**values, **ADA)


def faults(**values) -> dict[str, str]:
    with pytest.raises(InvalidJob) as caught:
        redirects.add(**{**ADA, **values})
    assert not Redirect.objects.exists()
    return {problem["field"]: problem["message"] for problem in caught.value.problems}


def test_without_redirects_a_job_stays_where_it_was():
    assert destination("gone.task", "gone-queue") == ("gone.task", "gone-queue")


def test_another_task_brings_its_own_queue():
    assert destination("probe.echo", "work-queue", to_task="image.process") == ("image.process", "image-queue")
    assert destination("probe.echo", "sms-queue", to_task="probe.echo") == ("probe.echo", "sms-queue")
    urgent = destination("probe.echo", "priority-queue", priority="high", to_task="image.process")
    assert urgent == ("image.process", "priority-queue")


def test_the_redirect_that_says_most_wins():
    add(from_task="probe.echo", to_queue="sms-queue")
    add(from_queue="push-queue", to_queue="email-queue")
    add(from_task="probe.echo", from_queue="push-queue", to_queue="report-queue")
    assert destination("probe.echo", "push-queue").queue == "report-queue"
    assert destination("probe.echo", "work-queue").queue == "sms-queue"
    assert destination("probe.nap", "push-queue").queue == "email-queue"


def test_redirects_are_followed_to_the_end():
    add(from_task="old.name", to_task="probe.echo")
    add(from_task="probe.echo", from_queue="work-queue", to_task="probe.nap")
    add(from_task="probe.nap", to_queue="request-queue")
    assert destination("old.name", "gone-queue") == ("probe.nap", "request-queue")


def test_what_a_person_names_stays():
    add(from_task="probe.echo", to_task="probe.nap", to_queue="sms-queue")
    assert destination("probe.echo", "work-queue", to_queue="push-queue") == ("probe.nap", "push-queue")
    assert destination("probe.echo", "work-queue", to_task="probe.echo") == ("probe.echo", "sms-queue")


@pytest.mark.parametrize(
    "ways",
    [
        [("probe.echo", "", "probe.nap", ""), ("probe.nap", "", "probe.echo", "")],
        [("", "work-queue", "", "sms-queue"), ("", "sms-queue", "", "work-queue")],
        [("probe.echo", "work-queue", "", "sms-queue"), ("", "sms-queue", "", "work-queue")],
        [
            ("", "sms-queue", "", "push-queue"),
            ("", "push-queue", "", "work-queue"),
            ("", "work-queue", "", "sms-queue"),
        ],
        [("", "work-queue", "probe.nap", "sms-queue"), ("probe.nap", "", "probe.echo", "")],
    ],
)
def test_a_loop_is_refused_and_named(ways):
    *first, last = [dict(zip(("from_task", "from_queue", "to_task", "to_queue"), way, strict=True)) for way in ways]
    for way in first:
        add(**way)
    with pytest.raises(InvalidJob, match=r"makes a loop: .* -> "):
        add(**last)
    assert Redirect.objects.count() == len(first)
    assert AuditEntry.objects.count() == len(first)


def test_a_circle_made_behind_our_back_is_named_at_the_replay():
    Redirect.objects.create(from_queue="work-queue", to_queue="sms-queue", reason="x", created_by="x")
    Redirect.objects.create(from_queue="sms-queue", to_queue="work-queue", reason="x", created_by="x")
    letter = make_letter()
    with pytest.raises(InvalidJob, match="lead in a circle"):
        replaying.replay(letter.pk)
    letter.refresh_from_db()
    assert letter.state == "open"


def test_every_fault_of_a_redirect_is_named():
    assert set(faults(reason=" ")) == {"from_task", "to_task", "reason"}
    assert set(faults(from_task="x" * 201, to_task="no.task", to_queue="no-queue")) == {
        "from_task",
        "to_task",
        "to_queue",
    }
    assert faults(from_queue="sms-queue", to_queue="sms-queue") == {"to_queue": "leads to where it comes from"}
    assert faults(from_task="probe.echo", to_task="probe.echo") == {"to_queue": "leads to where it comes from"}


def test_one_way_has_one_redirect():
    add(from_task="old.name", to_task="probe.echo")
    with pytest.raises(InvalidJob, match="redirected already"):
        add(from_task="old.name", to_task="probe.nap")


def test_redirects_are_audited_listed_and_removed():
    redirect = add(from_task="old.name", to_task="probe.echo", to_queue="sms-queue")
    assert redirects.standing() == [redirect]
    redirects.remove(redirect.pk, requested_by="bob", reason="done")
    assert redirects.standing() == []
    said = [(entry.actor, entry.verb, entry.subject) for entry in AuditEntry.objects.order_by("id")]
    subject = "old.name on any queue -> probe.echo on sms-queue"
    assert said == [("ada", "dead_letters.redirect", subject), ("bob", "dead_letters.redirect", subject)]
    with pytest.raises(Redirect.DoesNotExist):
        redirects.remove(redirect.pk, requested_by="bob")


@pytest.mark.parametrize("door", ["letter", "job"])
def test_every_replay_honours_a_standing_redirect(outbox, django_capture_on_commit_callbacks, door):
    letter = make_letter(task="old.name", queue="sms-queue")
    add(from_task="old.name", to_task="probe.echo")
    with django_capture_on_commit_callbacks(execute=True):
        if door == "letter":
            replaying.replay(letter.pk, requested_by="ada")
        else:
            jobs.replay(letter.job_id, requested_by="ada")
    job = Job.objects.get(pk=letter.job_id)
    assert (job.task, job.queue, job.state) == ("probe.echo", "work-queue", "queued")
    assert [(message.task, message.queue) for message in outbox] == [("probe.echo", "work-queue")]
    assert job.events.get(kind="replayed").detail == {
        "requested_by": "ada",
        "task": "probe.echo",
        "from_task": "old.name",
        "queue": "work-queue",
        "from_queue": "sms-queue",
    }


def test_a_task_that_does_not_take_the_payload_changes_nothing(outbox):
    letter = make_letter()
    add(from_task="probe.echo", to_task="image.process")
    with pytest.raises(InvalidJob, match=r"payload\.source"):
        replaying.replay(letter.pk)
    job = Job.objects.get()
    assert (job.state, job.task, DeadLetter.objects.get().state) == ("dead", "probe.echo", "open")


def test_what_matches_is_replayed_now_and_the_rest_named(outbox):
    good = [make_letter(task="old.name") for _ in range(2)]
    bad = make_letter(task="old.name", payload={"seconds": "long"})
    other = make_letter(task="other.name")
    redirect = add(from_task="old.name", to_task="probe.echo")
    done, refused, left = replaying.replay_matching(redirect.pk, requested_by="ada")
    assert (done, set(refused), left) == (2, {bad.pk}, 0)
    assert "payload.seconds" in refused[bad.pk]
    still = set(DeadLetter.objects.filter(state="open").values_list("pk", flat=True))
    assert still == {bad.pk, other.pk} == still - {letter.pk for letter in good}


def test_of_many_that_match_the_oldest_go_first(outbox):
    letters = [make_letter(queue="sms-queue") for _ in range(3)]
    redirect = add(from_queue="sms-queue", to_queue="push-queue")
    assert replaying.replay_matching(redirect.pk, requested_by="ada", most=2) == (2, {}, 1)
    assert DeadLetter.objects.get(state="open").pk == letters[-1].pk
    assert redirects.query_of(redirect) == {"queue": "sms-queue"}


def test_a_message_is_sent_to_another_queue_byte_for_byte(monkeypatch):
    sent = []
    broker = SimpleNamespace(publish_again=lambda dead: not sent.append(dead), close=lambda: None)
    monkeypatch.setattr("tasks.brokers.connect", lambda: broker)
    first = make_message(b"\xff", queue="unrouted-queue", exchange="wrong", routing_key="nowhere")
    add(from_queue="unrouted-queue", to_task="probe.echo", to_queue="email-queue")
    replaying.replay(first.pk, requested_by="ada")
    second = make_message(b"\xfe")
    replaying.replay(second.pk, requested_by="ada", queue="sms-queue")
    third = make_message(b"\xfd")
    replaying.replay(third.pk, requested_by="ada")
    assert [(dead.body, dead.exchange, dead.routing_key) for dead in sent] == [
        (b"\xff", "email-exchange", "email"),
        (b"\xfe", "sms-exchange", "sms"),
        (b"\xfd", "work-exchange", "work"),
    ]


def test_a_message_can_not_become_another_task_as_it_is():
    letter = make_message(b"\xff")
    with pytest.raises(InvalidJob, match="repair its text"):
        replaying.replay(letter.pk, task="probe.echo")


def test_a_destination_reads_as_words():
    assert str(Destination("", "work-queue")) == "any task on work-queue"


def test_a_task_is_redirected_under_the_names_that_it_had_before():
    redirect = add(from_task="probe.renamed", to_queue="sms-queue")
    letter = make_letter(task="probe.old_name")
    make_letter(task="probe.echo")
    assert list(redirects.matching(redirect)) == [letter]
    assert destination("probe.old_name", "work-queue") == ("probe.old_name", "sms-queue")
    replaying.replay_matching(redirect.pk, requested_by="ada")
    assert Job.objects.get(pk=letter.job_id).queue == "sms-queue"


def test_of_two_names_of_a_task_the_one_that_the_job_bears_goes_first():
    add(from_task="probe.renamed", to_queue="sms-queue")
    add(from_task="probe.old_name", to_queue="push-queue")
    assert destination("probe.old_name", "work-queue").queue == "push-queue"
    assert destination("probe.renamed", "work-queue").queue == "sms-queue"
