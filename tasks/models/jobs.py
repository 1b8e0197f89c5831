"""Jobs, and what belongs to each."""

import uuid

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from tasks.models.workers import WorkerProcess
from tasks.states import FINAL, JobState, Priority


class Batch(models.Model):
    """Jobs that were enqueued together, or belong together. How far it is, its jobs alone know."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=200, blank=True)
    total = models.PositiveIntegerField(
        default=0, help_text="Jobs it was made with; later ones, and those that were pruned, do not change it."
    )
    created_at = models.DateTimeField(db_default=Now())
    requested_by = models.CharField(max_length=200, blank=True)
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)
    idempotency_owner = models.CharField(
        max_length=200, blank=True, default="", db_default="", editable=False, help_text="Whose key it is, if anyone's."
    )
    digest = models.CharField(
        max_length=64, blank=True, editable=False, help_text="Of the jobs it was made with, where it has a key."
    )

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "batches"
        constraints = [
            models.UniqueConstraint(fields=["idempotency_key", "idempotency_owner"], name="batch_idempotency")
        ]
        indexes = [models.Index(fields=["requested_by", "-id"], condition=~Q(requested_by=""), name="batch_owner")]

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
    idempotency_owner = models.CharField(
        max_length=200,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="Who has the key for their own, whatever the task; empty where the task has it, whoever asks.",
    )
    idempotency_digest = models.CharField(
        max_length=64, blank=True, default="", db_default="", editable=False, help_text="Of the owner's request."
    )
    correlation_id = models.CharField(max_length=200, blank=True)
    requested_by = models.CharField(max_length=200, blank=True)
    metadata = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["-id"]
        permissions = [("cancel_job", "Can cancel jobs")]
        constraints = [
            # Conditional: most jobs have no key, and would be entered three times in their lives all the same.
            models.UniqueConstraint(
                fields=["task", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False, idempotency_owner=""),
                name="job_idempotency",
            ),
            models.UniqueConstraint(
                fields=["idempotency_key", "idempotency_owner"],
                condition=Q(idempotency_key__isnull=False) & ~Q(idempotency_owner=""),
                name="job_idempotency_of_owner",
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
            models.Index(fields=["requested_by", "-id"], condition=~Q(requested_by=""), name="job_owner"),
            models.Index(fields=["correlation_id"], condition=~Q(correlation_id=""), name="job_correlation"),
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
        PURGED = "purged", "Purged from its queue"
        RESTORED = "restored", "Put back into its queue"

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


def short_id(id: uuid.UUID) -> str:
    """First and last characters: a UUIDv7 begins with its time, so the head alone tells little."""
    text = str(id)
    return f"{text[:8]}…{text[-4:]}"
