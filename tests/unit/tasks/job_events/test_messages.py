import json
import re
from pathlib import Path

import pytest

from tasks.job_events.messages import STATE_OF, JobEventMessage, of
from tasks.models import JobEvent
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.django_db

NO_CHANGE = set(JobEvent.Kind.values) - STATE_OF.keys() - {JobEvent.Kind.RESTORED}
DOCS = Path(__file__).parents[4] / "docs/job-events.md"


def event(kind: str, **detail) -> JobEvent:
    job = make_job(correlation_id="c-1", requested_by="ada")
    return JobEvent.objects.create(job=job, kind=kind, attempt=2, detail=detail)


def test_a_change_says_who_what_and_when():
    happened = event("dead", error="ValueError: no more")
    message = of(happened)
    assert message is not None
    assert message.routing_key == "job.dead.probe.echo"
    assert json.loads(message.model_dump_json()) == {
        "version": 1,
        "id": str(happened.pk),
        "type": "job.dead",
        "at": happened.at.isoformat().replace("+00:00", "Z"),
        "job_id": str(happened.job_id),
        "task": "probe.echo",
        "queue": "work-queue",
        "state": "dead",
        "attempt": 2,
        "error": "ValueError: no more",
        "correlation_id": "c-1",
        "batch_id": None,
        "requested_by": "ada",
    }


@pytest.mark.parametrize(("kind", "state"), STATE_OF.items())
def test_every_kind_that_changes_a_state_is_told_as_that_state(kind, state):
    message = of(event(kind))
    assert message is not None
    assert message.state == state


def test_what_was_restored_is_told_as_what_it_is_now():
    message = of(event("restored", state="scheduled"))
    assert message is not None
    assert message.type == "job.scheduled"


@pytest.mark.parametrize("kind", sorted(NO_CHANGE))
def test_other_kinds_are_not_told(kind):
    assert of(event(kind)) is None


def test_the_docs_name_every_member():
    named = set(re.findall(r"^\| `(\w+)` \|", DOCS.read_text(), re.MULTILINE))
    assert named == set(JobEventMessage.model_fields)
