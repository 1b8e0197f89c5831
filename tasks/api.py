"""The door: features and projects import the platform from here and from nowhere else."""

from tasks.batches import enqueue_many
from tasks.context import JobContext
from tasks.dispatch import enqueue
from tasks.downloads import check_url, download, without_query
from tasks.errors import (
    BrokerUnavailable,
    CallFailed,
    CallTimedOut,
    IdempotencyConflict,
    IllegalTransition,
    InvalidJob,
    JobCancelled,
    KeyInUse,
    PermanentError,
    RetryLater,
    TaskPlatformError,
    TooLarge,
    UnknownTask,
)
from tasks.jobs import cancel, replay
from tasks.monitoring.metrics import job_activity
from tasks.payloads import StoredFile
from tasks.registry import task
from tasks.requests import call, late_reply
from tasks.retry import RetryPolicy
from tasks.sensitive import Sensitive
from tasks.states import JobState

__all__ = [
    "BrokerUnavailable",
    "CallFailed",
    "CallTimedOut",
    "IdempotencyConflict",
    "IllegalTransition",
    "InvalidJob",
    "JobCancelled",
    "JobContext",
    "JobState",
    "KeyInUse",
    "PermanentError",
    "RetryLater",
    "RetryPolicy",
    "Sensitive",
    "StoredFile",
    "TaskPlatformError",
    "TooLarge",
    "UnknownTask",
    "call",
    "cancel",
    "check_url",
    "download",
    "enqueue",
    "enqueue_many",
    "job_activity",
    "late_reply",
    "replay",
    "task",
    "without_query",
]
