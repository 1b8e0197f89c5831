"""manage.py queues, as a person and a script read it."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone

from tasks import queues
from tasks.brokers import QueueMissing, memory
from tasks.states import JobState
from tests.unit.tasks.factories import make_job, make_worker

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def empty_broker(settings, monkeypatch):
    settings.CELERY_BROKER_URL = "memory://"
    monkeypatch.setattr(memory, "published", [])


def run(*arguments):
    """Its exit code, what it printed and what it complained of."""
    out = StringIO()
    try:
        call_command("queues", *arguments, stdout=out)
    except CommandError as error:
        return error.returncode, out.getvalue(), str(error)
    return 0, out.getvalue(), ""


def line_of(queue: str) -> str:
    return next(line for line in run("list")[1].splitlines() if line.startswith(queue))


def test_a_queue_is_paused_listed_and_resumed():
    code, said, _ = run("pause", "email-queue", "--by", "ada", "--reason", "provider away", "--until", "2h")
    assert (code, said.startswith("email-queue is paused until 20")) == (0, True)
    assert said.endswith("; no worker begins a job of it\n")
    assert 7100 < (queues.paused()["email-queue"].until - timezone.now()).total_seconds() <= 7200
    assert "; PAUSED since 20" in line_of("email-queue")
    assert line_of("email-queue").endswith("by ada “provider away”")
    assert run("resume", "email-queue") == (0, "email-queue is resumed\n", "")
    assert run("resume", "email-queue") == (0, "email-queue was not paused\n", "")
    assert "PAUSED" not in line_of("email-queue")


def test_a_reason_can_not_steer_the_terminal_that_shows_it():
    run("pause", "email-queue", "--by", "ada", "--reason", "away \x1b[2J")
    assert "\x1b" not in line_of("email-queue")
    assert line_of("email-queue").endswith("by ada “away \\u001b[2J”")


def test_the_list_tells_what_waits_and_who_takes_it(monkeypatch):
    make_job(JobState.QUEUED, queue="email-queue")
    make_job(JobState.RUNNING, queue="email-queue")
    make_worker(queues=["email-queue"])
    assert line_of("email-queue") == "email-queue      0 ready; 1 queued, 1 running; 1 worker"
    assert line_of("sms-queue") == "sms-queue        0 ready; no unfinished jobs; 0 workers"

    def missing(self, queue):
        raise QueueMissing(queue)

    monkeypatch.setattr(memory.MemoryBroker, "depth", missing)
    assert "unknown (the broker has no such queue" in line_of("email-queue")


def test_a_script_reads_json():
    run("pause", "email-queue", "--by", "ada")
    (told,) = json.loads(run("pause", "email-queue", "--by", "bob", "--json")[1])
    assert (told["name"], told["paused"]["by"], told["paused"]["until"], told["messages"]) == (
        "email-queue", "bob", None, 0,
    )  # fmt: skip
    listed = json.loads(run("list", "--json")[1])
    assert {queue["name"]: queue["paused"] is not None for queue in listed}["email-queue"]
    assert json.loads(run("resume", "email-queue", "--json")[1])[0]["paused"] is None


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["pause", "e-mail"], "invalid choice"),
        (["pause", "email-queue", "--until", "soon"], "is no moment"),
        (["pause", "email-queue", "--until", "2020-01-01"], "has passed"),
        (["pause", "email-queue", "--reason", "x" * 501], "reason: has 501 characters"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, complaint):
    code, said, complained = run(*arguments)
    assert (code, said, complaint in complained) == (1, "", True)
    assert queues.paused() == {}


def test_a_database_that_is_away_is_another_exit_code(monkeypatch):
    def away(*_, **__):
        raise OperationalError("connection refused")

    monkeypatch.setattr(queues, "pause", away)
    assert run("pause", "email-queue")[0] == 2
