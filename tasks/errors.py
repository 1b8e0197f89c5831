"""Every exception of the platform, one tree. The class says what happens next."""

from uuid import UUID


class TaskPlatformError(Exception):
    """Root of everything the platform raises."""


class PermanentError(TaskPlatformError):
    """Raised by a task: this job can not succeed. No further attempt; it is buried at once."""


class RetryLater(TaskPlatformError):
    """Raised by a task: try again, in ``delay_seconds`` when given, else as the policy says. Counts as an attempt."""

    def __init__(self, *args: object, delay_seconds: float | None = None):
        super().__init__(*args)
        self.delay_seconds = delay_seconds


class JobCancelled(TaskPlatformError):
    """Raised in a running task by ``context.checkpoint()`` once somebody cancelled the job. Let it pass."""


class InvalidJob(TaskPlatformError, ValueError):
    """An enqueue was refused and nothing was stored. ``problems`` holds ``{"field", "message"}``, one per fault."""

    def __init__(self, problems: list[dict[str, str]]):
        self.problems = problems
        super().__init__("; ".join(f"{problem['field']}: {problem['message']}" for problem in problems))


class TooLarge(InvalidJob):
    """The payload, or what else was given, has more bytes than its limit."""


class UnknownTask(InvalidJob):
    """No task of that name is registered. ``name`` is the one asked for."""

    def __init__(self, name: str, known: list[str]):
        self.name = name
        super().__init__([{"field": "task", "message": f"no task {name!r}; there are {', '.join(known) or 'none'}"}])


class IdempotencyConflict(InvalidJob):
    """The idempotency key belongs to a job, or a batch, with another payload. ``id`` names it."""

    def __init__(self, key: str, id: object, *, of: str = "job"):
        self.id = id
        super().__init__(
            [{"field": "idempotency_key", "message": f"{key!r} already stands for {of} {id} with another payload"}]
        )


class KeyInUse(TaskPlatformError):
    """The first request with this idempotency key still runs: nobody knows what will come of it. Ask again later."""

    def __init__(self, key: str):
        super().__init__(f"the first request with the idempotency key {key!r} still runs")


class InvalidReason(InvalidJob):
    """Something is to be destroyed and nobody says why, or too much is said. Nothing changed."""

    def __init__(self, message: str):
        super().__init__([{"field": "reason", "message": message}])


class AppendOnly(TaskPlatformError):
    """Somebody tried to change or delete an entry of the audit trail."""

    def __init__(self) -> None:
        super().__init__("an audit entry is appended, never changed or deleted")


class InvalidQuery(InvalidJob):
    """A search for dead letters can not be understood. ``problems`` names each part that is wrong, and its remedy."""


class InvalidChange(InvalidJob):
    """A value can not be what it was to become, and nothing changed. ``problems`` as for InvalidJob."""


class InvalidOperation(InvalidJob):
    """What was asked of dead letters or of a queue makes no sense as it is. Nothing changed."""


class CallTimedOut(TaskPlatformError, TimeoutError):
    """Nobody has an answer yet. The job goes on, and ``late_reply`` tells what came of it."""

    def __init__(self, job_id: UUID, correlation_id: str, seconds: float):
        self.job_id, self.correlation_id = job_id, correlation_id
        super().__init__(f"job {job_id} has not ended within {seconds:g} s; its correlation id is {correlation_id}")


class CallFailed(TaskPlatformError):
    """The job of a call died, or was cancelled: ``state`` says which, and the message why."""

    def __init__(self, job_id: UUID, state: str, error: str):
        self.job_id, self.state = job_id, state
        super().__init__(f"job {job_id} is {state}: {error}" if error else f"job {job_id} is {state}")


class TargetRefused(TaskPlatformError):
    """A webhook may not go to this address, or nobody knows where it is. The message says why, and what would do."""


class IllegalTransition(TaskPlatformError):
    """What was asked does not fit the job's or dead letter's present state. Nothing changed."""


class OwnEdit(IllegalTransition):
    """Who edited a dead letter can not approve the edit: ask somebody else. Nothing changed."""


class RehearsalUnavailable(TaskPlatformError):
    """A rehearsal could not be held: too many run, or its process did not start. It says nothing about the job."""


class BrokerUnavailable(TaskPlatformError):
    """The broker can not be asked. Unknown is not zero: show "unknown", never an empty queue."""


class MissingRequirement(TaskPlatformError):
    """A package that only some need is not installed. The message names the file that brings it."""

    def __init__(self, package: str, file: str):
        super().__init__(f"{package} is not installed: pip install --require-hashes -r {file}")


class NotConfigured(TaskPlatformError):
    """A variable that this takes is not set. The message names it, and what it holds."""

    def __init__(self, variable: str, what: str):
        super().__init__(f"{variable} is not set: {what}")
