"""Inside the pool child: context, payload, the function, its outcome. The database is touched for its own work only."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, NoReturn
from uuid import UUID

from celery import Celery, Task, current_app
from celery.app.trace import trace_task
from celery.exceptions import Retry
from django.db import close_old_connections
from pydantic import BaseModel

from tasks.context import JobContext
from tasks.errors import InvalidJob, PermanentError, TaskPlatformError
from tasks.payloads import load_payload, plain_json
from tasks.registry import TaskSpec, registry
from tasks.worker.child import sheltered
from tasks.worker.journal import Mark, Page
from tasks.worker.outcome import Outcome

MAX_RESULT_BYTES = 262_144
TURN_SECONDS = 0.05


class Errand(NamedTuple):
    """What a child is told of one attempt."""

    task: str
    job_id: str
    attempt: int
    number: int
    """The attempt's, counted from the latest replay."""
    requested_by: str
    metadata: dict[str, Any]
    payload: str
    """Its JSON, as the database had it."""
    delivery_info: dict[str, Any]

    @property
    def attempt_id(self) -> str:
        """Celery's id of it."""
        return f"{self.job_id}.{self.attempt}"


class JobTask(Task):
    """A registered task as Celery knows it. Its keyword arguments are the payload of the job's row."""

    abstract = True
    spec: TaskSpec
    throws = (PermanentError,)  # logged as a line: the traceback is with the dead letter

    def run(self, **payload: Any) -> Any:
        """Run the function and leave the Outcome in ``request.job``; what is returned or raised is Celery's view."""
        job = self.request.job
        try:
            model = load_payload(self.spec, payload)
        except InvalidJob as error:
            job["outcome"] = Outcome.of_error(error, None, job["errand"].number, reason="invalid_payload")
            raise
        try:
            result = self.spec.function(model, _context(job["errand"], self.spec))
        except Exception as error:
            self._fail(error, job)
        except (SystemExit, KeyboardInterrupt) as error:  # left alone, these end the child
            crashed = AttemptCrashed(f"the task raised {error!r}")
            crashed.__cause__ = error
            self._fail(crashed, job)
        try:
            job["outcome"] = Outcome(succeeded=True, result=as_json(result))
        except InvalidJob as error:  # the work is done: another attempt would only do it twice
            job["outcome"] = Outcome.of_error(error, None, job["errand"].number, reason="permanent")
            raise
        return result

    def _fail(self, error: Exception, job: dict[str, Any]) -> NoReturn:
        outcome = job["outcome"] = Outcome.of_error(error, self.spec.retry, job["errand"].number)
        if outcome.retry_in_seconds is not None:
            raise Retry(exc=error, when=outcome.retry_in_seconds) from error
        raise error

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Celery's own door leads to the same room: `.delay()`, beat and Flower make a job with its row.

        Raises InvalidJob for positional arguments: a payload has names.
        """
        from tasks.dispatch import enqueue  # the producer side; a pool child that never enqueues does without

        if args:
            raise InvalidJob([{"field": "args", "message": "give the payload as keyword arguments"}])
        job = enqueue(self.name, kwargs or {}, delay_seconds=options.get("countdown"), run_at=options.get("eta"))
        return self.AsyncResult(f"{job.id}.1")


class AttemptCrashed(TaskPlatformError):
    """The task tried to end its process, or ended without an outcome."""


def register(app: Celery) -> None:
    """Give Celery one task for each of the registry's, and for each alias: beat and Flower ask for them by name."""
    for spec in registry:
        for name in spec.names:
            attributes = {
                "name": name,
                "spec": spec,
                "time_limit": spec.time_limit_seconds,
                "soft_time_limit": spec.soft_time_limit_seconds,
                "__doc__": spec.description,
                "__module__": spec.function.__module__,
            }
            app.register_task(type("JobTask", (JobTask,), attributes)())


def run_turn(mark: Mark, errands: Sequence[Errand], hostname: str) -> list[Outcome]:
    """Run ``errands`` one after another, for as long as a turn may last: the outcomes of those that have run.

    The page is for the case that this never returns. Never raises.
    """
    page, outcomes, begun = Page(mark), list[Outcome](), 0
    end = time.monotonic() + TURN_SECONDS
    try:
        with sheltered():
            for errand in errands:
                if not page.begin(begun + 1):
                    break
                begun += 1
                outcomes.append(run_attempt(errand, hostname))
                if not page.keep(outcomes[-1]) or time.monotonic() > end:
                    break
    except Exception as error:  # a time limit that struck between two lines of ours
        if begun > len(outcomes):
            outcomes.append(_crash(error, errands[begun - 1]))
    return outcomes


def run_attempt(errand: Errand, hostname: str) -> Outcome:
    """Run one attempt under Celery's own task trace (signals, logging, `current_task`), never raising."""
    began = time.monotonic()
    task = current_app.tasks[errand.task]
    job: dict[str, Any] = {"errand": errand}
    request = {
        "id": errand.attempt_id,
        "root_id": errand.job_id,
        "correlation_id": errand.attempt_id,
        "task": errand.task,
        "retries": errand.attempt - 1,
        "hostname": hostname,
        "delivery_info": errand.delivery_info,
        "is_eager": False,
        "job": job,
    }
    close_old_connections()  # one that the database has ended is no reason to fail; one that works is kept
    try:
        trace_task(task, errand.attempt_id, (), json.loads(errand.payload), request, app=current_app)
    except BaseException as error:  # a time limit or a stop that struck outside the function
        job.setdefault("outcome", Outcome.of_error(error, task.spec.retry, errand.number))
    outcome = job.get("outcome") or _crash(AttemptCrashed("the attempt ended without an outcome"), errand)
    return replace(outcome, seconds=time.monotonic() - began)


def _crash(error: BaseException, errand: Errand) -> Outcome:
    return Outcome.of_error(error, current_app.tasks[errand.task].spec.retry, errand.number)


def _context(errand: Errand, spec: TaskSpec) -> JobContext:
    return JobContext(
        UUID(errand.job_id),
        errand.attempt,
        task=spec.name,  # whatever it was called when the job was enqueued
        metadata=errand.metadata,
        requested_by=errand.requested_by,
    )


def as_json(result: Any) -> Any:
    """What a task returned, as its job keeps it. Raises InvalidJob for what is no JSON, or too much of it."""
    if isinstance(result, BaseModel):
        result = result.model_dump(mode="json")
    return plain_json("result", result, MAX_RESULT_BYTES)
