"""manage.py dead_letters operation|purge"""

import builtins

import pytest
from django.core.management import CommandError
from django.utils import timezone

from tasks.dead_letters import preflight
from tasks.management.dead_letters.watching import watch
from tasks.models import DeadLetter, Job, Operation
from tests.unit.tasks.commands.terminal import run
from tests.unit.tasks.factories import letter_of, make_job

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("outbox")]


@pytest.fixture
def answer(monkeypatch):
    """What somebody types when asked; the questions."""

    def say(text, *, meanwhile=lambda: None):
        asked = []

        def read(prompt=""):
            asked.append(prompt)
            meanwhile()
            if text is None:
                raise EOFError
            return text

        monkeypatch.setattr(builtins, "input", read)
        return asked

    return say


def test_what_is_confirmed_is_what_was_looked_at(answer, capsys):
    letter_of()
    blocked = letter_of()
    Job.objects.filter(pk=blocked.job_id).update(task="gone.task")
    asked = answer("y", meanwhile=letter_of)
    code, printed, _ = run("operation", "start", "replay", "task:probe.echo", "--by", "ann")
    assert (code, len(asked)) == (0, 1)
    looked = capsys.readouterr().err
    assert looked.endswith("Replay 1? [y/N] ")
    assert "2 match; replay would act on 1" in looked
    assert f"{blocked.pk}  no task 'gone.task' in this build" in looked
    operation = Operation.objects.get()
    assert (operation.total, operation.steps, operation.requested_by) == (1, [1, 5, 25], "ann")
    assert f"`dead_letters operation show --watch {operation.pk}`" in printed


@pytest.mark.parametrize("text", ["n", "", None])
def test_nothing_is_done_unless_somebody_says_yes(answer, text):
    letter_of()
    answer(text)
    outcome = run("operation", "start", "discard", "", "--reason", "old")
    assert (outcome.code, Operation.objects.exists()) == (1, False)
    assert outcome.complaint == ("there is nobody to ask; add --yes" if text is None else "nothing was done")


def test_a_script_says_yes_beforehand():
    letter_of()
    assert run("operation", "start", "replay", "", "--json").complaint == "--json asks nothing; add --yes"
    pace = ["--steps", "2,3", "--rate", "fastest", "--stop-at", "50%"]
    told = run("operation", "start", "replay", "", "--yes", "--json", *pace).data
    assert (told["total"], told["rate_per_second"], told["stop_ratio"]) == (1, None, 0.5)
    assert Operation.objects.get().steps == [2, 3]


def test_without_a_canary_there_are_no_steps():
    letter_of()
    run("operation", "start", "replay", "", "--yes", "--no-canary", "--rate", "7.5", "--stop-at", "0.1")
    assert Operation.objects.values_list("steps", "rate_per_second", "stop_ratio").get() == ([], 7.5, 0.1)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["discard", ""], "--reason: say why"),
        (["replay", "", "--steps", "0"], "--steps: is a list"),
        (["replay", "", "--steps", "one"], "'one' is no list of whole numbers"),
        (["replay", "", "--steps", ""], "there are no steps in it; say --no-canary"),
        (["replay", "", "--steps", "1", "--no-canary"], "--no-canary: not allowed with argument --steps"),
        (["replay", "", "--rate", "0"], "--rate: is more than 0"),
        (["replay", "", "--rate", "quick"], "'quick' is no number of letters a second"),
        (["replay", "", "--stop-at", "200%"], "--stop-at: is a part from 0 to 1"),
        (["replay", "", "--stop-at", "some"], "'some' is no part; write it like 20%"),
        (["discard", "", "--reason", "x", "--rate", "5"], "--rate: is for replay"),
        (["replay", "task:none"], "query: matches nothing now"),
        (["replay", "nope:1"], "nope: "),
        (["explode", ""], "invalid choice: 'explode'"),
        (["replay"], "the following arguments are required: query"),
    ],
)
def test_an_operation_that_makes_no_sense_is_refused_at_its_option(arguments, complaint):
    letter_of()
    outcome = run("operation", "start", *arguments, "--yes")
    assert (outcome.code, complaint in outcome.complaint) == (1, True)
    assert not Operation.objects.exists()


def test_nobody_is_asked_about_nothing(answer):
    asked = answer("y")
    outcome = run("operation", "start", "replay", "task:none")
    assert (asked, outcome.complaint) == (
        [],
        "0 match; replay would act on 0\nnothing was started: nothing would be done",
    )


def test_a_preflight_looks_and_does_nothing():
    letter_of()
    told = run("operation", "preflight", "discard", "task:probe.echo", "--json").data
    assert (told["matched"], told["will"], told["query"].startswith("task:probe.echo before:")) == (1, 1, True)
    assert run("operation", "preflight", "replay", "").printed.splitlines()[-1].startswith("until all have run: ")
    assert (DeadLetter.objects.get().state, Operation.objects.exists()) == ("open", False)


def test_an_operation_is_listed_shown_and_steered():
    letter_of()
    id = run("operation", "start", "replay", "", "--yes", "--json").data["id"]
    assert [each["id"] for each in run("operation", "list", "--json").data] == [id]
    assert "replay   0 done, 0 failed of 1" in run("operation", "list").printed
    for verb, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        assert run("operation", verb, id, "--json").data["state"] == state
    shown = run("operation", "show", id)
    assert (shown.code, shown.complaint.startswith("cancelled by command:")) == (1, True)
    assert "can not resume it" in run("operation", "resume", id).complaint


@pytest.mark.parametrize("watch", [[], ["--watch"]])
@pytest.mark.parametrize(
    ("state", "failed", "verdict", "code"),
    [
        ("stopped", 1, "stopped at step 1, 1/1 failed", 1),
        ("cancelled", 0, "cancelled by ann", 1),
        ("done", 1, "9 done, 1 failed", 1),
        ("done", 0, "10 done", 0),
    ],
)
def test_how_it_ended_is_told_to_scripts(watch, state, failed, verdict, code):
    operation = Operation.objects.create(
        verb="replay", state=state, verdict=verdict, failed=failed, total=10, finished_at=timezone.now()
    )
    outcome = run("operation", "show", operation.pk, *watch)
    assert (outcome.code, outcome.complaint) == (code, verdict if code else "")
    assert f"verdict       {verdict}" in outcome.printed


def test_one_that_goes_on_is_no_complaint_whatever_has_failed():
    operation = Operation.objects.create(verb="replay", state="paused", verdict="paused by ann", failed=1, total=10)
    assert run("operation", "show", operation.pk).code == 0


def test_it_is_watched_until_the_last_outcome_is_in(capsys):
    operation = Operation.objects.create(verb="replay", steps=[1], total=2, waiting=2)
    outcomes = iter(
        [
            {"step": 1, "sent": 1, "waiting": 1},
            {"step": 1, "sent": 1, "waiting": 1},
            {"step": 2, "sent": 1, "done": 1, "waiting": 0, "state": "stopped", "verdict": "stopped [red]"},
            {"sent": 0, "failed": 1, "finished_at": timezone.now()},
        ]
    )
    ended = watch(operation.pk, pause=lambda _: Operation.objects.update(**next(outcomes)))
    assert (ended.failed, next(outcomes, "all were waited for")) == (1, "all were waited for")
    assert capsys.readouterr().err.splitlines() == [
        "replay running: 0 done, 0 failed, 0 running",
        "replay running, step 1: 0 done, 0 failed, 1 running",
        "replay stopped by itself, step 2: 1 done, 0 failed, 1 running  stopped [red]",
    ]


def test_who_stops_watching_stops_nothing_else():
    operation = Operation.objects.create(verb="replay", total=1, waiting=1)

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(CommandError, match="the operation goes on by itself") as raised:
        watch(operation.pk, pause=interrupt)
    assert raised.value.returncode == 130
    assert Operation.objects.get().state == "running"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["operation", "start", "discard", ""], "--reason: say why"),
        (["operation", "start", "replay", "", "--rate", "0"], "--rate: is more than 0"),
        (["purge", "work-queue"], "--reason: say why"),
    ],
)
def test_nobody_is_asked_to_confirm_what_would_be_refused(answer, arguments, complaint):
    letter_of()
    make_job()
    asked = answer("y")
    outcome = run(*arguments)
    assert (asked, outcome.complaint.startswith(complaint)) == ([], True)


def test_who_confirms_knows_the_pace_and_what_it_costs(answer, capsys, monkeypatch):
    monkeypatch.setattr(preflight, "drain_seconds", lambda work, *, share: 0.1)
    for _ in range(3):
        letter_of()
    answer("n")
    run("operation", "start", "replay", "", "--rate", "0.1", "--stop-at", "50%")
    looked = capsys.readouterr().err.splitlines()
    assert looked[2] == "until all have run: about 30 s"
    assert looked[1] == "1, 5, 25, then the rest at 0.1 a second; stops once more than 50% have failed"
    run("operation", "start", "replay", "", "--rate", "fastest", "--no-canary")
    assert "all as fast as it can; stops once more than 20% have failed" in capsys.readouterr().err


def test_a_question_that_is_interrupted_is_a_no(monkeypatch):
    letter_of()

    def interrupt(prompt=""):
        raise KeyboardInterrupt

    monkeypatch.setattr(builtins, "input", interrupt)
    assert run("operation", "start", "replay", "").complaint == "nothing was done"
    assert not Operation.objects.exists()


def test_what_was_discarded_is_put_back(django_capture_on_commit_callbacks):
    letters = [letter_of() for _ in range(3)]
    with django_capture_on_commit_callbacks(execute=True):
        id = run("operation", "start", "discard", "", "--yes", "--reason", "old", "--json").data["id"]
    assert DeadLetter.objects.filter(state="discarded").count() == len(letters)
    with django_capture_on_commit_callbacks(execute=True):
        undoing = run("operation", "undo", id, "--json").data
    assert (undoing["verb"], undoing["undoes"]) == ("restore", id)
    assert DeadLetter.objects.filter(state="open").count() == len(letters)
    assert run("operation", "undo", undoing["id"]).complaint == "id: is a restore, which can not be undone"


def test_a_queue_is_purged_and_put_back(answer, capsys, django_capture_on_commit_callbacks):
    job, later = make_job(), make_job("scheduled")
    asked = answer("yes")
    assert "nothing would be done" in run("purge", "priority-queue", "--reason", "x").complaint
    assert asked == []
    assert run("purge", "nope", "--reason", "x").complaint.startswith("queue: no queue 'nope'")
    assert run("purge", "work-queue", "--yes").complaint.startswith("--reason: say why")
    with django_capture_on_commit_callbacks(execute=True):
        assert run("purge", "work-queue", "--reason", "a flood").code == 0
    assert len(asked) == 1
    assert "1 match; purge would act on 1" in capsys.readouterr().err
    assert dict(Job.objects.values_list("pk", "state")) == {job.pk: "cancelled", later.pk: "scheduled"}
    with django_capture_on_commit_callbacks(execute=True):
        assert run("operation", "undo", Operation.objects.get().pk).code == 0
    assert Job.objects.get(pk=job.pk).state == "queued"


def test_the_states_to_purge_are_named():
    make_job("retrying")
    assert "write some of queued,scheduled,retrying" in run("purge", "work-queue", "--states", "dead").complaint
    assert run("purge", "work-queue", "--yes", "--reason", "x").complaint == "queue: matches nothing now"
    told = run("purge", "work-queue", "--states", "queued,retrying", "--yes", "--reason", "x", "--json").data
    assert told["total"] == 1
