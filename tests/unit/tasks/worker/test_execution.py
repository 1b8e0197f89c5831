import pytest
from pydantic import BaseModel

from tasks.registry import registry
from tasks.states import JobState
from tasks.worker.execution import run_attempt
from tasks.worker.outcome import Outcome
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.django_db


def run(task: str, payload: dict, attempt: int = 1) -> Outcome:
    job = make_job(JobState.RUNNING, task=task, attempt=attempt)
    request = {
        "id": f"{job.pk}.{attempt}",
        "delivery_info": {},
        "job": {"id": str(job.pk), "attempt": attempt, "number": attempt, "metadata": {}, "requested_by": ""},
    }
    return run_attempt(task, request["id"], request, payload)


def test_an_attempt_that_returns_has_succeeded():
    outcome = run("probe.echo", {"text": "x"})
    assert (outcome.succeeded, outcome.result) == (True, {"text": "x"})


@pytest.mark.parametrize(
    ("how", "error_type"),
    [
        ("raise", "ValueError"),
        ("later", "RetryLater"),
        ("exit", "AttemptCrashed"),
        ("interrupt", "AttemptCrashed"),
        ("memory", "MemoryError"),
        ("unpicklable", "Odd"),
    ],
)
def test_an_attempt_that_fails_says_how_and_may_come_back(how, error_type):
    outcome = run("probe.fail", {"how": how, "failures": 1})
    assert (outcome.succeeded, outcome.error_type) == (False, error_type)
    assert outcome.retry_in_seconds is not None
    assert "Traceback" in outcome.traceback


@pytest.mark.parametrize(("how", "attempt", "reason"), [("permanent", 1, "permanent"), ("raise", 3, "exhausted")])
def test_an_attempt_past_help_says_why(how, attempt, reason):
    outcome = run("probe.fail", {"how": how, "failures": 9}, attempt)
    assert (outcome.retry_in_seconds, outcome.reason) == (None, reason)


def test_a_payload_that_todays_model_refuses_is_not_retried():
    outcome = run("probe.echo", {"seconds": "many"})
    assert (outcome.retry_in_seconds, outcome.reason) == (None, "invalid_payload")
    assert "payload.seconds" in outcome.error


class Model(BaseModel):
    """A result as a model."""

    n: int = 1


@pytest.mark.parametrize(("value", "result"), [(Model(), {"n": 1}), (None, None), ([1, "x"], [1, "x"])])
def test_results_are_json(monkeypatch, value, result):
    swap_function(monkeypatch, lambda payload, context: value)
    assert run("probe.echo", {}).result == result


def test_a_result_crosses_as_plain_json_whatever_it_was_made_of(monkeypatch):
    class Text(str):
        def __reduce__(self):
            raise RuntimeError("can not travel")

    swap_function(monkeypatch, lambda payload, context: {"text": Text("x")})
    outcome = run("probe.echo", {})
    assert type(outcome.result["text"]) is str


def test_an_error_that_can_not_be_shown_is_told_by_its_type(monkeypatch):
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    def fail(payload, context):
        raise Mute

    swap_function(monkeypatch, fail)
    outcome = run("probe.echo", {})
    assert (outcome.error_type, "Mute can not be shown" in outcome.error) == ("Mute", True)


def test_a_long_type_fits_its_column(monkeypatch):
    def fail(payload, context):
        raise type("E" * 500, (Exception,), {})

    swap_function(monkeypatch, fail)
    assert len(run("probe.echo", {}).error_type) == 200


def test_a_result_that_is_not_json_is_told_and_the_work_not_done_twice(monkeypatch):
    swap_function(monkeypatch, lambda payload, context: object())
    outcome = run("probe.echo", {})
    assert (outcome.succeeded, outcome.retry_in_seconds, outcome.reason) == (False, None, "permanent")
    assert outcome.error.startswith("result: is not JSON")


def swap_function(monkeypatch, function) -> None:
    from celery import current_app

    spec = registry.get("probe.echo")
    changed = type(spec)(**{**vars(spec), "function": function})
    monkeypatch.setattr(current_app.tasks["probe.echo"], "spec", changed)
