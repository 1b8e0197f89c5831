"""manage.py topology compatible, as a pipeline hears it."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone

from tasks import compatibility
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.django_db


def compatible(*options):
    """Its exit code, what it printed and what it complained of."""
    out = StringIO()
    try:
        call_command("topology", "compatible", *options, stdout=out)
    except CommandError as error:
        return error.returncode, out.getvalue(), str(error)
    return 0, out.getvalue(), ""


def test_a_build_that_fits_says_so():
    make_job()
    assert compatible() == (
        0,
        "This build can run all that is outstanding: 1 job and 0 open dead letters.\n",
        "",
    )


def test_a_task_that_was_renamed_with_three_jobs_scheduled_stops_the_deploy_and_names_the_three():
    due = timezone.now() + timedelta(hours=1)
    jobs = [make_job("scheduled", task="gone.task", due_at=due) for _ in range(3)]
    make_job()
    code, printed, complaint = compatible()
    assert (code, complaint) == (
        1,
        "this build does not fit what is outstanding: 3 problems in 4 jobs and 0 open dead letters",
    )
    assert printed.splitlines() == [
        "gone.task: this build has no such task (3)",
        *(f"  job {job.pk}  scheduled, due {due:%Y-%m-%d %H:%M:%S} UTC" for job in jobs),
        "  → keep the name as an alias, @task(..., aliases=('gone.task',)), or cancel or discard these",
    ]


def test_an_alias_turns_it_green():
    for _ in range(3):
        make_job("scheduled", task="probe.old_name")
    assert compatible()[0] == 0


def test_scripts_get_the_list_as_json():
    job = make_job("retrying", task="gone.task")
    code, printed, _ = compatible("--json")
    told = json.loads(printed)
    (finding,) = told.pop("findings")
    assert (code, told) == (1, {"compatible": False, "jobs": 1, "letters": 0})
    assert finding["first"] == [
        {"job": str(job.pk), "letter": None, "state": "retrying", "due_at": job.due_at.isoformat()}
    ]
    assert (finding["task"], finding["problem"], finding["count"]) == ("gone.task", "unknown_task", 1)


def test_a_build_that_fits_says_so_in_json_too():
    code, printed, _ = compatible("--json")
    assert (code, json.loads(printed)["compatible"]) == (0, True)


def test_a_database_that_can_not_be_read_is_no_answer(monkeypatch):
    def away():
        raise OperationalError("connection refused")

    monkeypatch.setattr(compatibility, "examine", away)
    assert compatible() == (2, "", "the database can not be read: connection refused")


def test_long_lists_are_cut_and_say_so():
    for _ in range(23):
        make_job(task="gone.task")
    _, printed, _ = compatible()
    lines = printed.splitlines()
    assert (len(lines), lines[-2]) == (23, "  … and 3 more")
    assert lines[1].endswith("queued, due now")
