"""Rows of the platform: fields and constraints. Who may change a job's state, and how, stands in transitions.py.

A column added later has a ``db_default``: in a rolling deploy the old build still inserts rows without it.
"""

from tasks.models.audit import AuditEntry
from tasks.models.dead_letters import DeadLetter, FailureGroup, LetterEdit, Redirect, error_summary
from tasks.models.events import JobEventCursor
from tasks.models.jobs import UNFINISHED, Batch, Effect, Job, JobEvent, short_id
from tasks.models.operations import Operation, OperationItem, ParkedJob
from tasks.models.queues import PausedQueue
from tasks.models.requests import Request
from tasks.models.tokens import ApiToken
from tasks.models.webhooks import WebhookCursor, WebhookDelivery, WebhookEndpoint
from tasks.models.workers import Release, WorkerProcess

__all__ = [
    "UNFINISHED",
    "ApiToken",
    "AuditEntry",
    "Batch",
    "DeadLetter",
    "Effect",
    "FailureGroup",
    "Job",
    "JobEvent",
    "JobEventCursor",
    "LetterEdit",
    "Operation",
    "OperationItem",
    "ParkedJob",
    "PausedQueue",
    "Redirect",
    "Release",
    "Request",
    "WebhookCursor",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WorkerProcess",
    "error_summary",
    "short_id",
]
