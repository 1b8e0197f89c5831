"""Inside the pool child: context, payload, the function, its outcome. The database is touched for its own work only."""

from typing import Any, NoReturn
from uuid import UUID

from celery import Celery, Task, current_app
from celery.app.trace import trace_task
from celery.exceptions import Retry
from pydantic import BaseModel

from tasks.context import JobContext
from tasks.errors import InvalidJob, PermanentError, TaskPlatformError
from tasks.payloads import load_payload, plain_json
from tasks.registry import TaskSpec, registry
from tasks.worker.outcome import Outcome

MAX_RESULT_BYTES = 262_144


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
            job["outcome"] = Outcome.of_error(error, None, job["number"], reason="invalid_payload")
            raise
        try:
            result = self.spec.function(model, _context(self.name, job))
        except Exception as error:
            self._fail(error, job)
        except (SystemExit, KeyboardInterrupt) as error:  # left alone, these end the child
            crashed = AttemptCrashed(f"the task raised {error!r}")
            crashed.__cause__ = error
            self._fail(crashed, job)
        try:
            job["outcome"] = Outcome(succeeded=True, result=_as_json(result))
        except InvalidJob as error:  # the work is done: another attempt would only do it twice
            job["outcome"] = Outcome.of_error(error, None, job["number"], reason="permanent")
            raise
        return result

    def _fail(self, error: Exception, job: dict[str, Any]) -> NoReturn:
        outcome = job["outcome"] = Outcome.of_error(error, self.spec.retry, job["number"])
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
    """Give Celery one task for each of the registry's."""
    for spec in registry:
        attributes = {
            "name": spec.name,
            "spec": spec,
            "time_limit": spec.time_limit_seconds,
            "soft_time_limit": spec.soft_time_limit_seconds,
            "__doc__": spec.description,
            "__module__": spec.function.__module__,
        }
        app.register_task(type("JobTask", (JobTask,), attributes)())


def run_attempt(task_name: str, attempt_id: str, request: dict[str, Any], payload: dict[str, Any]) -> Outcome:
    """Run one attempt under Celery's own task trace (signals, logging, `current_task`), never raising."""
    task, job = current_app.tasks[task_name], request["job"]
    try:
        trace_task(task, attempt_id, (), payload, request, app=current_app)
    except BaseException as error:  # a time limit or a stop that struck outside the function
        job.setdefault("outcome", Outcome.of_error(error, task.spec.retry, job["number"]))
    return job.get("outcome") or Outcome.of_error(
        AttemptCrashed("the attempt ended without an outcome"), task.spec.retry, job["number"]
    )


def _context(task_name: str, job: dict[str, Any]) -> JobContext:
    return JobContext(
        UUID(job["id"]),
        job["attempt"],
        task=task_name,
        metadata=job["metadata"],
        requested_by=job["requested_by"],
    )


def _as_json(result: Any) -> Any:
    if isinstance(result, BaseModel):
        result = result.model_dump(mode="json")
    return plain_json("result", result, MAX_RESULT_BYTES)
