"""What is past help, kept for a person: letters, their groups, and changes to them before a replay."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from tasks.models.jobs import Job


class FailureGroup(models.Model):
    """Dead letters that failed in the same way. How many there are, its letters alone know: a counter here would be a
    row that every failing worker waits for."""

    id = models.UUIDField(primary_key=True, editable=False, help_text="Derived from the signature.")
    task = models.CharField(max_length=200, blank=True)
    reason = models.CharField(max_length=20)
    error_type = models.CharField(max_length=200, blank=True)
    message = models.TextField(blank=True, help_text="The error without what differs from one failure to the next.")
    frame = models.CharField(max_length=300, blank=True, help_text="The innermost line of the team's own code.")
    first_seen_at = models.DateTimeField(db_default=Now())
    owner = models.CharField(max_length=200, blank=True)
    note = models.TextField(blank=True)
    runbook_url = models.URLField(max_length=500, blank=True)
    snoozed_until = models.DateTimeField(null=True, blank=True)
    fixed_in_release = models.CharField(max_length=100, blank=True)
    fixed_at = models.DateTimeField(null=True, blank=True)
    reopened_at = models.DateTimeField(
        null=True, blank=True, help_text="When a release that should have the fix failed in the same way."
    )

    class Meta:
        ordering = ["-first_seen_at"]

    def __str__(self) -> str:
        return f"{self.task or 'message'}: {self.error_type or self.reason}"


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
        ID_CONFLICT = "id_conflict", "Its id is another message's"

    class State(models.TextChoices):
        OPEN = "open", "Open"
        REPLAYED = "replayed", "Replayed"
        DISCARDED = "discarded", "Discarded"

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
    payload = models.JSONField(
        null=True, blank=True, help_text="The job's, as it was when it died; null for a message without a job."
    )
    release = models.CharField(max_length=100, blank=True, db_default="", help_text="The build that saw it die.")
    group = models.ForeignKey(
        "FailureGroup",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="letters",
        db_index=False,
        db_constraint=False,
    )
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
    discarded_at = models.DateTimeField(null=True, blank=True)
    discarded_by = models.CharField(max_length=200, blank=True, db_default="")
    delete_at = models.DateTimeField(null=True, blank=True, help_text="A discarded letter can be restored until then.")

    class Meta:
        ordering = ["-id"]
        permissions = [
            ("unmask_deadletter", "Can see what is masked in dead letters"),
            ("replay_deadletter", "Can replay dead letters"),
            ("edit_deadletter", "Can edit dead letters before a replay"),
            ("approve_deadletter", "Can approve the edits of others"),
            ("discard_deadletter", "Can discard and restore dead letters"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["job", "attempt"], name="dead_letter_per_death"),
            models.UniqueConstraint(fields=["evidence_key"], name="dead_letter_evidence"),
        ]
        indexes = [
            models.Index(fields=["state", "-id"], name="dead_letter_state"),
            models.Index(fields=["group", "state", "died_at"], name="dead_letter_group"),
            models.Index(fields=["task", "state", "-id"], name="dead_letter_task"),
            models.Index(fields=["queue", "state", "-id"], name="dead_letter_queue"),
            models.Index(fields=["state", "died_at"], name="dead_letter_died"),
            models.Index(fields=["delete_at"], condition=Q(state="discarded"), name="dead_letter_parked"),
            models.Index(fields=["release", "group", "died_at"], name="dead_letter_release"),
            # Of an older build, which gives its letters no group; soon empty (grouping.adopt).
            models.Index(fields=["id"], condition=Q(group__isnull=True), name="dead_letter_ungrouped"),
        ]

    def __str__(self) -> str:
        return f"{self.task or 'message'}: {self.get_reason_display()}"


class LetterEdit(models.Model):
    """A change to a dead job's payload, or to a message that can not be read, before it is replayed. The letter itself
    is never changed."""

    class State(models.TextChoices):
        PROPOSED = "proposed", "Waits for approval"
        APPLIED = "applied", "Applied"
        REJECTED = "rejected", "Rejected"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    letter = models.ForeignKey(DeadLetter, on_delete=models.CASCADE, related_name="edits")
    state = models.CharField(max_length=10, choices=State, default=State.PROPOSED)
    task = models.CharField(max_length=200, help_text="The task it is replayed as; the letter's own, or another.")
    queue = models.CharField(max_length=100, blank=True, help_text="The queue it is replayed on; empty: the task's.")
    payload = models.JSONField()
    reason = models.CharField(max_length=500, blank=True)
    edited_by = models.CharField(max_length=200)
    edited_at = models.DateTimeField(db_default=Now())
    decided_by = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    job = models.ForeignKey(
        Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", help_text="What was replayed with it."
    )

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["letter"], condition=Q(state="proposed"), name="letter_edit_one_proposal")
        ]

    def __str__(self) -> str:
        return f"{self.get_state_display()} by {self.edited_by}"


class Redirect(models.Model):
    """A standing order: dead letters of a task, or of a queue, are replayed elsewhere."""

    id = models.BigAutoField(primary_key=True)
    from_task = models.CharField(max_length=200, blank=True, help_text="Empty: of every task.")
    from_queue = models.CharField(max_length=100, blank=True, help_text="Empty: of every queue.")
    to_task = models.CharField(max_length=200, blank=True, help_text="Empty: the same task.")
    to_queue = models.CharField(max_length=100, blank=True, help_text="Empty: the task's own queue.")
    reason = models.CharField(max_length=500)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["from_task", "from_queue"], name="redirect_one_way"),
            models.CheckConstraint(condition=~Q(from_task="", from_queue=""), name="redirect_from_somewhere"),
            models.CheckConstraint(condition=~Q(to_task="", to_queue=""), name="redirect_to_somewhere"),
        ]

    def __str__(self) -> str:
        return f"{self.from_task or self.from_queue} -> {self.to_task or self.to_queue}"


def error_summary(error_type: str, error: str) -> str:
    """One line for lists: the type, if there is one, and the first line of the message."""
    first = error.strip().partition("\n")[0]
    return ": ".join(part for part in (error_type, first) if part)
