"""What operators do to many dead letters or jobs at once, as records that outlive any process."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from tasks.models.dead_letters import DeadLetter
from tasks.models.jobs import Job


class Operation(models.Model):
    """One verb on a set that was frozen when it was confirmed. The workers carry it on (operations.advance)."""

    class Verb(models.TextChoices):
        REPLAY = "replay", "Replay"
        DISCARD = "discard", "Discard"
        RESTORE = "restore", "Restore"
        PURGE = "purge", "Purge a queue"
        UNPURGE = "unpurge", "Restore a purged queue"

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        PAUSED = "paused", "Paused"
        STOPPED = "stopped", "Stopped by itself"
        CANCELLED = "cancelled", "Cancelled"
        DONE = "done", "Done"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    verb = models.CharField(max_length=10, choices=Verb)
    state = models.CharField(max_length=10, choices=State, default=State.RUNNING)
    query = models.JSONField(default=dict, help_text="The filter, or the queue, that chose the set.")
    steps = models.JSONField(default=list, help_text="How many go in each step; the rest follows. Empty: all at once.")
    rate_per_second = models.FloatField(null=True, blank=True, help_text="Of the rest, after the steps.")
    stop_ratio = models.FloatField(null=True, blank=True, help_text="Part of what was sent that may fail, 0 to 1.")
    step = models.PositiveIntegerField(
        default=0, help_text="In which the latest was sent, from 1; the rest counts as one. 0: none was sent."
    )
    total = models.PositiveIntegerField(default=0, help_text="The set, without what its confirmation left out.")
    # How many items are in each state. Counting them would take the longer the larger the set is, twice a second; and
    # items go when what they stand for is pruned.
    waiting = models.PositiveIntegerField(default=0, help_text="Not sent yet.")
    sent = models.PositiveIntegerField(default=0, help_text="Sent, and without an outcome yet.")
    done = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    skipped = models.JSONField(default=dict, help_text="How many were left out, then or later, by reason.")
    verdict = models.CharField(max_length=300, blank=True, help_text="Why it ended, or stands still.")
    reason = models.CharField(max_length=500, blank=True)
    requested_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())
    moved_at = models.DateTimeField(db_default=Now(), help_text="From when its rate counts what may be sent next.")
    finished_at = models.DateTimeField(
        null=True, blank=True, help_text="When it had ended and the last outcome was in."
    )
    undoes = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="undone_by")

    class Meta:
        ordering = ["-id"]
        permissions = [("purge_queue", "Can purge queues and restore them")]
        indexes = [models.Index(fields=["id"], condition=Q(finished_at=None), name="operation_unfinished")]

    def __str__(self) -> str:
        return f"{self.get_verb_display()} of {self.total}"


class OperationItem(models.Model):
    """One letter, or one job, of an operation's set, in its place."""

    class State(models.TextChoices):
        PENDING = "pending", "Waits its turn"
        SENT = "sent", "Sent, without an outcome yet"
        DONE = "done", "Done"
        FAILED = "failed", "Failed again"
        SKIPPED = "skipped", "Skipped"

    id = models.BigAutoField(primary_key=True)
    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="items")
    place = models.PositiveIntegerField()
    letter = models.ForeignKey(
        DeadLetter, null=True, on_delete=models.CASCADE, related_name="operation_items", db_constraint=False
    )
    job = models.ForeignKey(
        Job, null=True, on_delete=models.CASCADE, related_name="operation_items", db_constraint=False
    )
    attempt = models.PositiveIntegerField(default=0, help_text="The job's latest attempt before it was sent.")
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    why = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["operation", "place"]
        constraints = [models.UniqueConstraint(fields=["operation", "place"], name="operation_place")]
        indexes = [models.Index(fields=["operation", "state", "place"], name="operation_state")]

    def __str__(self) -> str:
        return f"#{self.place} {self.state}"


class ParkedJob(models.Model):
    """A waiting job that a purge took from its queue. Until ``delete_at`` it can be put back as it was."""

    job = models.OneToOneField(Job, primary_key=True, on_delete=models.CASCADE, related_name="parked")
    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="parked")
    place = models.PositiveIntegerField(help_text="In the queue, counted from 0.")
    state = models.CharField(max_length=10, help_text="The job's, when it was taken.")
    due_at = models.DateTimeField(null=True, blank=True, help_text="The job's, when it was taken.")
    delete_at = models.DateTimeField()

    class Meta:
        ordering = ["operation", "place"]
        indexes = [models.Index(fields=["delete_at"], name="parked_delete")]

    def __str__(self) -> str:
        return f"#{self.place}"
