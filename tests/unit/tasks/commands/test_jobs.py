"""manage.py jobs: what it enqueues, what it follows, and what its exit code says."""

import json
import uuid
from functools import partial
from typing import Any

import pytest
from django.core.management import CommandError

from tasks.management.jobs import following
from tasks.models import AuditEntry, Batch, Job
from tasks.states import JobState
from tasks.transitions import change
from tests.unit.tasks.commands.terminal import run as run_command
from tests.unit.tasks.factories import letter_of, make_job

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("outbox")]

run = partial(run_command, command="jobs")


@pytest.fixture
def meanwhile(monkeypatch):
    """What happens while somebody watches: each function once, at a look of its own."""

    def happen(*steps: Any) -> None:
        left = list(steps)

        def pause(seconds: float) -> None:
            assert left, "it watches for longer than it should"
            left.pop(0)()

        monkeypatch.setattr(following.time, "sleep", pause)
        for watch in (following.watch_jobs, following.watch_batch):
            monkeypatch.setitem(watch.__kwdefaults__, "pause", pause)

    return happen


def begin(job: Job) -> None:
    assert change(job.pk, source=JobState.QUEUED, target=JobState.RUNNING, burn=True)


def end(job: Job, state: JobState = JobState.SUCCEEDED, **values: Any) -> None:
    begin(job)
    assert change(job.pk, source=JobState.RUNNING, target=state, **values)


def test_a_submitted_job_is_like_any_other():
    outcome = run(
        "submit", "probe.echo", "--payload", '{"text": "x"}', "--priority", "high", "--metadata", '{"a": 1}',
        "--idempotency-key", "k", "--by", "ann", "--json",
    )  # fmt: skip
    job = Job.objects.get()
    assert outcome.code == 0
    assert (outcome.data["id"], outcome.data["state"]) == (str(job.pk), "queued")
    assert (job.task, job.payload["text"], job.priority, job.metadata, job.requested_by) == (
        "probe.echo", "x", "high", {"a": 1}, "ann",
    )  # fmt: skip


@pytest.mark.parametrize(("typed", "kept"), [("text=hello", "hello"), ("text=a=b", "a=b"), ('text="7"', "7")])
def test_a_field_may_be_set_by_itself(typed, kept):
    assert run("submit", "probe.echo", "--set", typed).code == 0
    assert Job.objects.get().payload["text"] == kept


def test_a_payload_may_come_from_a_file(tmp_path):
    file = tmp_path / "payload.json"
    file.write_text('{"text": "from a file"}')
    assert run("submit", "probe.echo", "--payload-file", file).code == 0
    assert Job.objects.get().payload["text"] == "from a file"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["probe.echo", "--set", "text=[1]"], "payload.text: Input should be a valid string"),
        (["probe.echo", "--payload", "{"], "--payload: is not JSON"),
        (["probe.echo", "--payload", "[]"], "--payload: is no JSON object"),
        (["nosuch.task"], "nosuch.task"),
        (["probe.echo", "--set", "text=x", "--delay", "-1"], "--delay: is 0 to"),
        (["probe.echo", "--set", "text=x", "--metadata", "[]"], "--metadata: is no JSON object"),
        (["probe.echo", "--payload-file", "/nowhere"], "/nowhere can not be read"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_kept(arguments, words):
    code, printed, complaint = run("submit", *arguments)
    assert code in (1, 2)
    assert words in complaint
    assert printed == ""
    assert not Job.objects.exists()


def test_lines_of_a_file_are_a_batch(tmp_path):
    file = tmp_path / "many.ndjson"
    file.write_text('{"text": "a"}\n\n{"text": "b"}\n')
    outcome = run("submit", "probe.echo", "--many", file, "--json")
    batch = Batch.objects.get()
    assert (outcome.code, outcome.data["id"], outcome.data["jobs"]) == (0, str(batch.pk), {"queued": 2})
    assert {job.payload["text"] for job in batch.jobs.all()} == {"a", "b"}


def test_a_wrong_line_is_named_and_none_is_kept(tmp_path):
    file = tmp_path / "many.ndjson"
    file.write_text('{"text": "a"}\n{"text": \n')
    assert "line 2: is not JSON" in run("submit", "probe.echo", "--many", file).complaint
    file.write_text('{"text": "a"}\n{"text": 7}\n')
    assert "payloads.1.text" in run("submit", "probe.echo", "--many", file).complaint
    assert not Job.objects.exists()


@pytest.mark.parametrize(("state", "code"), [(JobState.SUCCEEDED, 0), (JobState.DEAD, 1), (JobState.CANCELLED, 3)])
def test_the_exit_code_is_the_outcome(meanwhile, state, code):
    job = make_job()
    meanwhile(lambda: None, lambda: end(job, state, result={"a": 1}, error="" if code == 0 else "ValueError: no"))
    outcome = run("watch", job.pk, "--json")
    assert (outcome.code, outcome.data["state"]) == (code, state)
    assert bool(outcome.complaint) == bool(code)


def test_the_worst_outcome_of_several_decides(meanwhile):
    good, bad = make_job(), make_job()
    meanwhile(lambda: end(good), lambda: end(bad, JobState.DEAD))
    code, printed, complaint = run("watch", good.pk, bad.pk)
    assert (code, complaint) == (1, "1 of 2 dead")
    assert [line.split()[0] for line in printed.splitlines()] == [str(good.pk), str(bad.pk)]


def test_waiting_ends_when_its_time_is_over():
    outcome = run("submit", "probe.echo", "--set", "text=x", "--wait", "--seconds", 0)
    assert (outcome.code, outcome.complaint) == (4, "the job is not finished yet")


def test_a_batch_is_followed_to_its_end(meanwhile, tmp_path):
    file = tmp_path / "many.ndjson"
    file.write_text('{"text": "a"}\n{"text": "b"}\n')
    run("submit", "probe.echo", "--many", file)
    batch = Batch.objects.get()
    one, other = batch.jobs.all()
    meanwhile(lambda: end(one), lambda: end(other, JobState.DEAD))
    outcome = run("watch", "--batch", batch.pk, "--json")
    assert (outcome.code, outcome.complaint) == (1, "1 of 2 dead")
    assert outcome.data["jobs"] == {"dead": 1, "succeeded": 1}


def test_changes_are_told_beside_the_answer_where_there_is_no_terminal(meanwhile, capsys):
    job = make_job()
    meanwhile(lambda: end(job))
    assert json.loads(run("watch", job.pk, "--json").printed)["state"] == "succeeded"
    told = capsys.readouterr().err
    assert "running, attempt 1" in told
    assert "succeeded" in told


def test_who_looks_no_longer_ends_the_command_and_not_the_job(meanwhile):
    def interrupt() -> None:
        raise KeyboardInterrupt

    job = make_job()
    meanwhile(interrupt)
    outcome = run("watch", job.pk)
    assert (outcome.code, outcome.complaint) == (130, "no longer watched; the work goes on by itself")
    job.refresh_from_db()
    assert job.state == JobState.QUEUED


@pytest.mark.parametrize("arguments", [[], ["--batch", uuid.uuid4()], [uuid.uuid4()]])
def test_there_must_be_something_to_watch(arguments):
    outcome = run("watch", *arguments)
    assert outcome.code in (1, 2)
    assert outcome.complaint.startswith(("name jobs", "there is no batch", "there is no job"))


def test_what_is_typed_wrong_is_told_as_such():
    for arguments in (["watch", "7"], ["submit", "probe.echo", "--set", "text"], ["list", "--created-after", "noon"]):
        with pytest.raises((CommandError, SystemExit)):
            raise CommandError(run(*arguments).complaint)


def test_lists_filter_and_go_on(django_assert_max_num_queries):
    jobs = [make_job(requested_by="ann") for _ in range(5)]
    make_job(requested_by="bob")
    with django_assert_max_num_queries(2):
        first = run("list", "--requested-by", "ann", "--limit", 3, "--json").data
    second = run("list", "--requested-by", "ann", "--limit", 3, "--after", first["next"], "--json").data
    found = [item["id"] for item in first["items"] + second["items"]]
    assert found == [str(job.pk) for job in reversed(jobs)]
    assert second["next"] is None
    assert run("list", "--state", "dead").printed == "no jobs\n"


def test_an_error_can_not_steer_the_terminal():
    make_job(state=JobState.DEAD, error="\x1b[2Jgone\nnext", finished_at="2026-01-01T00:00:00Z")
    assert "\x1b" not in run("list").printed
    assert len(run("list").printed.splitlines()) == 1


def test_jobs_are_cancelled_by_name_and_others_told(meanwhile):
    waiting, ended = make_job(), make_job()
    end(ended)
    code, printed, complaint = run("cancel", waiting.pk, ended.pk, uuid.uuid4(), "--by", "ann")
    assert (code, complaint) == (1, "2 of 3 not cancelled")
    assert printed.splitlines()[0] == f"{waiting.pk}  cancelled; it is cancelled"
    assert AuditEntry.objects.get(verb="jobs.cancel").actor == "ann"


def test_a_dead_job_is_replayed_and_its_outcome_waited_for(meanwhile):
    job = letter_of(error_type="ValueError", error="no").job
    meanwhile(lambda: begin(job), lambda: change(job.pk, source=JobState.RUNNING, target=JobState.SUCCEEDED))
    outcome = run("replay", job.pk, "--wait", "--json")
    assert (outcome.code, outcome.data["state"]) == (0, "succeeded"), outcome
