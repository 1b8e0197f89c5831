"""Rows of the platform: fields and constraints. Who may change a job's state, and how, stands in transitions.py.

A column added later has a ``db_default``: in a rolling deploy the old build still inserts rows without it.
"""

import hashlib
import secrets
import uuid
from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from tasks.states import FINAL, JobState, Priority


class WorkerProcess(models.Model):
    """One life of one worker's main process. Silent for too long, it is lost, and its running attempts with it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=255, help_text="Celery's node name, like fast@host.")
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    queues = models.JSONField(default=list)
    pool = models.CharField(
        max_length=40, blank=True, db_default="", help_text="Celery's kind of pool: prefork, threads, solo."
    )
    concurrency = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Most attempts it runs at once; 0: unknown."
    )
    started_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now, help_text="Last sign of life, by the database's clock.")
    clock_at = models.DateTimeField(null=True, blank=True, help_text="Its host's clock at the last sign of life.")
    stopped_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "worker"
        indexes = [models.Index(fields=["seen_at"], condition=Q(stopped_at=None), name="worker_alive")]

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"

    @property
    def clock_skew_seconds(self) -> float | None:
        """How far its host's clock is ahead of the database's; below 0 where it is behind, None before the first."""
        return None if self.clock_at is None else (self.clock_at - self.seen_at).total_seconds()


class Batch(models.Model):
    """Jobs that were enqueued together, or belong together. How far it is, its jobs alone know."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=200, blank=True)
    total = models.PositiveIntegerField(
        default=0, help_text="Jobs it was made with; later ones, and those that were pruned, do not change it."
    )
    created_at = models.DateTimeField(db_default=Now())
    requested_by = models.CharField(max_length=200, blank=True)
    idempotency_key = models.CharField(max_length=200, null=True, blank=True, unique=True)
    digest = models.CharField(
        max_length=64, blank=True, editable=False, help_text="Of the jobs it was made with, where it has a key."
    )

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "batches"

    def __str__(self) -> str:
        return self.name or f"{self.total} jobs {short_id(self.id)}"

    def progress(self) -> dict[str, int]:
        """How many of its jobs are in each state; states without a job are left out. One query, for each call."""
        states = self.jobs.order_by().values_list("state").annotate(models.Count("pk"))
        return {JobState(state): found for state, found in states}


class Job(models.Model):
    """One request to run one task with one payload. The row is the truth; the broker only carries its id."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    task = models.CharField(max_length=200)
    queue = models.CharField(max_length=100)
    priority = models.CharField(max_length=10, choices=Priority, default=Priority.NORMAL)
    payload = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=JobState, default=JobState.QUEUED)
    attempt = models.PositiveIntegerField(default=0, help_text="Number of the latest attempt; 0 before the first.")
    attempt_base = models.PositiveIntegerField(
        default=0, help_text="Attempts made before the latest replay; the retry policy counts from here."
    )
    lost_deliveries = models.PositiveIntegerField(
        default=0,
        db_default=0,
        help_text="Its latest deliveries, in a row, that ended with their process and not with an outcome.",
    )
    # Checked by the database, each of these would cost a query a row and a lock on what all of them refer to.
    worker = models.ForeignKey(
        WorkerProcess, null=True, blank=True, on_delete=models.SET_NULL, db_index=False, db_constraint=False
    )
    batch = models.ForeignKey(
        Batch,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="jobs",
        db_index=False,
        db_constraint=False,
    )

    # The database's clock, here and in events: hosts disagree about the time.
    created_at = models.DateTimeField(db_default=Now())
    queued_at = models.DateTimeField(
        null=True,
        blank=True,
        db_default=Now(),
        help_text="When its message was last handed to the broker, by the database's clock; null while scheduled.",
    )
    due_at = models.DateTimeField(null=True, blank=True, help_text="When a scheduled or retrying job is queued.")
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Not begun by then, the job is buried.")
    started_at = models.DateTimeField(null=True, blank=True, help_text="When the latest attempt was claimed.")
    finished_at = models.DateTimeField(null=True, blank=True)

    progress_done = models.PositiveBigIntegerField(default=0)
    progress_total = models.PositiveBigIntegerField(null=True, blank=True)
    progress_note = models.CharField(max_length=200, blank=True)
    result = models.JSONField(null=True, blank=True)
    error = models.TextField(blank=True, help_text="What the latest failed attempt said.")
    cancel_requested_at = models.DateTimeField(null=True, blank=True)

    idempotency_key = models.CharField(max_length=200, null=True, blank=True)
    correlation_id = models.CharField(max_length=200, blank=True)
    requested_by = models.CharField(max_length=200, blank=True)
    metadata = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["-id"]
        permissions = [("cancel_job", "Can cancel jobs")]
        constraints = [
            # Conditional: most jobs have no key, and would be entered three times in their lives all the same.
            models.UniqueConstraint(
                fields=["task", "idempotency_key"], condition=Q(idempotency_key__isnull=False), name="job_idempotency"
            ),
            models.CheckConstraint(condition=Q(state__in=JobState.values), name="job_state_is_known"),
            models.CheckConstraint(
                condition=Q(finished_at__isnull=False) | ~Q(state__in=sorted(FINAL)), name="job_final_is_finished"
            ),
            models.CheckConstraint(
                condition=Q(due_at__isnull=False) | ~Q(state__in=["scheduled", "retrying"]), name="job_waiting_is_due"
            ),
            models.CheckConstraint(condition=Q(attempt__gte=F("attempt_base")), name="job_attempt_base"),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state__in=["scheduled", "retrying"]), name="job_due"),
            models.Index(fields=["queue", "queued_at"], condition=Q(state="queued"), name="job_queued"),
            models.Index(fields=["worker"], condition=Q(state="running"), name="job_running"),
            # No index holds the succeeded: they are most of all rows, so a list of them is the newest of all.
            models.Index(fields=["state", "-id"], condition=Q(state__in=["cancelled", "dead"]), name="job_ended_badly"),
            models.Index(fields=["batch", "state"], condition=Q(batch__isnull=False), name="job_batch"),
            models.Index(fields=["task", "-id"], name="job_task"),
            models.Index(fields=["finished_at"], condition=Q(finished_at__isnull=False), name="job_finished"),
        ]

    def __str__(self) -> str:
        return f"{self.task} {self.short_id}"

    @property
    def short_id(self) -> str:
        return short_id(self.id)

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    @property
    def progress_percent(self) -> int | None:
        """0 to 100, or None while the total is unknown."""
        if self.state == JobState.SUCCEEDED:
            return 100
        return min(100, self.progress_done * 100 // self.progress_total) if self.progress_total else None


UNFINISHED = Q(state="queued") | Q(state="running") | Q(state__in=["scheduled", "retrying"])
"""Jobs that have not ended, in the words of the partial indexes: PostgreSQL joins them for an OR, not for an IN."""


class JobEvent(models.Model):
    """One line of a job's history, appended in the transaction that made it true and never changed."""

    class Kind(models.TextChoices):
        SCHEDULED = "scheduled", "Scheduled"
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        RETRYING = "retrying", "Retrying"
        SUCCEEDED = "succeeded", "Succeeded"
        DEAD = "dead", "Dead"
        CANCELLED = "cancelled", "Cancelled"
        CANCEL_REQUESTED = "cancel_requested", "Cancel requested"
        REPUBLISHED = "republished", "Message was missing; published again"
        DUPLICATE = "duplicate", "Duplicate suppressed"
        HANDED_BACK = "handed_back", "Handed back, unspent"
        REPLAYED = "replayed", "Replayed"

    id = models.BigAutoField(primary_key=True)
    # Three events a job: the database's check of each would cost a fifth of all that a job costs it. Whoever appends
    # one without changing the job's row holds that row meanwhile, and so does whoever deletes it.
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events", db_constraint=False)
    kind = models.CharField(max_length=20, choices=Kind)
    attempt = models.PositiveIntegerField(default=0)
    at = models.DateTimeField(db_default=Now())
    detail = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.kind} #{self.attempt}"


class Effect(models.Model):
    """What ``context.once`` remembers over the attempts of a job."""

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="effects")
    key = models.CharField(max_length=200)
    value = models.JSONField(null=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "key"], name="effect_once")]

    def __str__(self) -> str:
        return self.key


class DeadLetter(models.Model):
    """A job or message past help, kept for a person with its cause, its bytes and its headers."""

    class Reason(models.TextChoices):
        PERMANENT = "permanent", "Permanent error"
        EXHAUSTED = "exhausted", "No attempt left"
        WORKER_LOST = "worker_lost", "Worker lost"
        TIME_LIMIT = "time_limit", "Time limit exceeded"
        EXPIRED = "expired", "Expired before it began"
        UNKNOWN_TASK = "unknown_task", "Unknown task"
        INVALID_PAYLOAD = "invalid_payload", "Payload breaks its schema"
        UNDECODABLE = "undecodable", "Message can not be decoded"
        UNKNOWN_MESSAGE = "unknown_message", "Message names no job"
        UNROUTED = "unrouted", "Message was misaddressed"
        DELIVERY_LIMIT = "delivery_limit", "Delivered too often"

    class State(models.TextChoices):
        OPEN = "open", "Open"
        REPLAYED = "replayed", "Replayed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    job = models.ForeignKey(Job, null=True, blank=True, on_delete=models.CASCADE, related_name="dead_letters")
    attempt = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    reason = models.CharField(max_length=20, choices=Reason)
    task = models.CharField(max_length=200, blank=True)
    queue = models.CharField(max_length=100)
    error_type = models.CharField(max_length=200, blank=True)
    error = models.TextField(blank=True)
    traceback = models.TextField(blank=True)
    evidence = models.JSONField(
        default=dict,
        db_default={},
        blank=True,
        help_text="What a worker saw of a lost process: signal, memory, last log lines.",
    )
    died_at = models.DateTimeField(default=timezone.now)

    # The broker's evidence, added by the collector.
    evidence_key = models.CharField(max_length=64, null=True, blank=True, help_text="One row for one dead message.")
    collected_at = models.DateTimeField(null=True, blank=True)
    exchange = models.CharField(max_length=255, blank=True)
    routing_key = models.CharField(max_length=255, blank=True)
    headers = models.JSONField(default=dict, blank=True)
    properties = models.JSONField(default=dict, blank=True)
    body = models.BinaryField(null=True, blank=True)

    replayed_at = models.DateTimeField(null=True, blank=True)
    replayed_by = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-id"]
        permissions = [("replay_deadletter", "Can replay dead letters")]
        constraints = [
            models.UniqueConstraint(fields=["job", "attempt"], name="dead_letter_per_death"),
            models.UniqueConstraint(fields=["evidence_key"], name="dead_letter_evidence"),
        ]
        indexes = [models.Index(fields=["state", "-id"], name="dead_letter_state")]

    def __str__(self) -> str:
        return f"{self.task or 'message'}: {self.get_reason_display()}"


class ApiToken(models.Model):
    """A bearer token: shown once, kept as a hash."""

    PREFIX = "tp_"

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=100, unique=True)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=12, editable=False, help_text="First characters, to tell tokens apart.")
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API token"

    def __str__(self) -> str:
        return self.name

    @classmethod
    def issue(cls, name: str, scopes: list[str], *, expires_at: datetime | None = None) -> tuple["ApiToken", str]:
        """A new token and its text, which is nowhere else. The text has 256 random bits, so a plain hash suffices."""
        text = cls.PREFIX + secrets.token_urlsafe(32)
        token = cls.objects.create(
            name=name, digest=cls.digest_of(text), hint=text[:8], scopes=scopes, expires_at=expires_at
        )
        return token, text

    @staticmethod
    def digest_of(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    def allows(self, scope: str, *, now: datetime | None = None) -> bool:
        """Whether the token is alive and carries ``scope``."""
        alive = self.expires_at is None or self.expires_at > (now or timezone.now())
        return alive and scope in self.scopes


def short_id(id: uuid.UUID) -> str:
    """First and last characters: a UUIDv7 begins with its time, so the head alone tells little."""
    text = str(id)
    return f"{text[:8]}…{text[-4:]}"


def error_summary(error_type: str, error: str) -> str:
    """One line for lists: the type, if there is one, and the first line of the message."""
    first = error.strip().partition("\n")[0]
    return ": ".join(part for part in (error_type, first) if part)
