"""Before anything is done to many dead letters: how many match, which are left out and why, how long it will take."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import islice
from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from tasks import purging, queues
from tasks.dead_letters import redirects, selection
from tasks.dead_letters.drain import drain_seconds
from tasks.dead_letters.masking import Mask
from tasks.errors import InvalidJob
from tasks.models import DeadLetter, Effect, Job, Operation
from tasks.payloads import load_payload
from tasks.registry import registry
from tasks.states import JobState

CHUNK = 500
SAMPLES = 5
LONGEST_SECONDS = 3.0

Verb = Operation.Verb
State = DeadLetter.State
Paused = Callable[[str], bool]


class Blocker(models.TextChoices):
    """Why a letter is left out.

    Already done means that we know so, not that it is likely: the job's task names its last step (``effect`` of
    ``@task``) and the job has recorded that step; or a job of the same task, with the same correlation id and the same
    payload, was enqueued after this one died, and succeeded. Expired is a job whose ``expires_at`` has passed, begun or
    not: it can still be replayed by itself.
    """

    REPLAYED = "already_replayed", "Replayed already"
    DISCARDED = "already_discarded", "Discarded already"
    NOT_DISCARDED = "not_discarded", "Is not discarded"
    TOO_LATE = "too_late", "Its time to be restored has passed"
    MOVED_ON = "moved_on", "Its job is not dead any more"
    NO_MESSAGE = "no_message", "Holds no message to send"
    UNKNOWN_TASK = "unknown_task", "Task unknown to this build"
    INVALID_PAYLOAD = "invalid_payload", "Payload fails today's schema"
    ALREADY_DONE = "already_done", "Effect already done"
    EXPIRED = "expired", "Expired"
    QUEUE_PAUSED = "queue_paused", "Queue paused"
    CANCELLED = "cancelled", "Its job was cancelled"
    REFUSED = "refused", "Refused"


@dataclass(frozen=True)
class Blocked:
    """A letter that is left out, and what about it."""

    letter_id: UUID
    blocker: Blocker
    why: str


@dataclass
class Preflight:
    """What an operation would do. ``skipped`` counts by Blocker; ``samples`` has up to five letters of each.

    ``judged`` is less than ``matched`` where there was no time to look at all; those that were not looked at are in
    ``will``, and left out when their turn comes. ``drain_seconds``: until all of ``will`` have run, with nothing else
    in their queues; None where nobody can say, since a task never ran or no worker takes its queue.
    """

    matched: int = 0
    judged: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    samples: dict[str, list[Blocked]] = field(default_factory=dict)
    drain_seconds: float | None = None

    @property
    def will(self) -> int:
        """How many it would act on."""
        return self.matched - sum(self.skipped.values())


def look(
    verb: str,
    query: str | dict[str, Any],
    *,
    rate_per_second: float | None = None,
    is_paused: Paused = queues.is_paused,
    longest_seconds: float = LONGEST_SECONDS,
) -> Preflight:
    """What ``verb`` on all that match ``query`` would do, without doing it. It looks at letters for ``longest_seconds``
    at most, and never has more than a few hundred of them in memory.

    Raises InvalidQuery, and InvalidOperation for a verb there is not.
    """
    chosen = selection.chosen(verb, query)
    if verb in purging.VERBS:
        number = chosen.count()
        return Preflight(matched=number, judged=number)
    found = Preflight(matched=chosen.count())
    until = time.monotonic() + longest_seconds
    work: Counter[tuple[str, str]] = Counter()
    is_paused = cache(is_paused)  # asked once a queue, not once a letter
    ids = chosen.order_by("id").values_list("pk", flat=True).iterator(CHUNK)
    while time.monotonic() < until and (chunk := list(islice(ids, CHUNK))):
        rows = _rows(chunk)
        blocked = {each.letter_id: each for each in _judge(rows, verb, is_paused)}
        for each in blocked.values():
            found.skipped[each.blocker] = found.skipped.get(each.blocker, 0) + 1
            samples = found.samples.setdefault(each.blocker, [])
            samples += [each] if len(samples) < SAMPLES else []
        work.update((row.job_task, row.job_queue) for row in rows if row.pk not in blocked and row.job_id)
        found.judged += len(chunk)
    found.matched = max(found.matched, found.judged)  # some may have arrived between the two looks
    if verb == Verb.REPLAY:
        found.drain_seconds = drain_seconds(work, share=found.judged / found.matched if found.matched else 1)
        if found.drain_seconds is not None and rate_per_second:
            found.drain_seconds = max(found.drain_seconds, found.will / rate_per_second)
    return found


def blocked(letter_ids: Sequence[UUID], verb: str, *, is_paused: Paused = queues.is_paused) -> list[Blocked]:
    """Those of the letters, a few hundred at most, that ``verb`` leaves out."""
    return list(_judge(_rows(letter_ids), verb, cache(is_paused)))


def _rows(letter_ids: Sequence[UUID]) -> list[Any]:
    """What is asked of letters, without the rest, which may be megabytes."""
    letters = DeadLetter.objects.filter(pk__in=letter_ids).order_by("pk")
    return list(
        letters.annotate(
            has_body=Q(body__isnull=False),
            job_state=F("job__state"),
            job_task=F("job__task"),
            job_queue=F("job__queue"),
            priority=F("job__priority"),
            job_payload=F("job__payload"),
            expires_at=F("job__expires_at"),
            correlation_id=F("job__correlation_id"),
        ).values_list(
            "pk", "state", "task", "queue", "exchange", "died_at", "delete_at", "has_body", "job_id", "job_state",
            "job_task", "job_queue", "priority", "job_payload", "expires_at", "correlation_id", named=True,
        )
    )  # fmt: skip


def _judge(rows: Sequence[Any], verb: str, is_paused: Paused) -> Iterator[Blocked]:
    judge: Callable[[Any], Verdict]
    if verb == Verb.REPLAY:
        judge = partial(_replaying, done=_already_done(rows), destination=_destinations(), is_paused=is_paused)
    else:
        judge = _discarding if verb == Verb.DISCARD else _restoring
    for row in rows:
        if verdict := judge(row):
            yield Blocked(row.pk, *verdict)


def _destinations() -> Callable[[Any], redirects.Destination]:
    """Where a row's job, or message, goes when it is replayed; each way is found out once."""

    @cache
    def of_job(task: str, queue: str, priority: str) -> redirects.Destination:
        return redirects.destination(task, queue, priority=priority)

    @cache
    def of_message(task: str, queue: str) -> redirects.Destination:
        return redirects.Destination(task, redirects.destination_of_message(task, queue))

    def destination(row: Any) -> redirects.Destination:
        if row.job_id is None:
            return of_message(row.task, row.queue)
        return of_job(row.job_task, row.job_queue, row.priority)

    return destination


Verdict = tuple[Blocker, str] | None


def _discarding(row: Any) -> Verdict:
    if row.state == State.REPLAYED:
        return Blocker.REPLAYED, "it was replayed already"
    return (Blocker.DISCARDED, "it was discarded already") if row.state == State.DISCARDED else None


def _restoring(row: Any) -> Verdict:
    if row.state != State.DISCARDED:
        return Blocker.NOT_DISCARDED, f"it is {row.state}, not discarded"
    if row.delete_at and row.delete_at <= timezone.now():
        return Blocker.TOO_LATE, f"it could be restored until {row.delete_at:%c} UTC"
    if row.job_id and row.job_state != JobState.DEAD:
        return Blocker.MOVED_ON, f"its job is {row.job_state}, not dead"
    return None


def _replaying(
    row: Any, *, done: dict[UUID, str], destination: Callable[[Any], redirects.Destination], is_paused: Paused
) -> Verdict:
    if row.state != State.OPEN:
        return _discarding(row)
    try:
        task, queue = destination(row)
    except InvalidJob as error:
        return Blocker.REFUSED, str(error)
    if row.job_id is None and not (row.has_body and (row.exchange or queue != row.queue)):
        return Blocker.NO_MESSAGE, "it holds no message, or not where to send it"
    if row.job_id is not None:
        if row.job_state != JobState.DEAD:
            return Blocker.MOVED_ON, f"its job is {row.job_state}, not dead"
        if task not in registry:
            return Blocker.UNKNOWN_TASK, f"no task {task!r} in this build"
        try:
            load_payload(registry.get(task), row.job_payload)
        except InvalidJob as error:
            mask = Mask({row.task, row.job_task, task})
            mask.payload(task, row.job_payload)
            return Blocker.INVALID_PAYLOAD, mask.text(str(error))
        if row.job_id in done:
            return Blocker.ALREADY_DONE, done[row.job_id]
        if row.expires_at and row.expires_at <= timezone.now():
            return Blocker.EXPIRED, f"it was to begin by {row.expires_at:%c} UTC"
    return (Blocker.QUEUE_PAUSED, f"{queue} is paused") if is_paused(queue) else None


def _already_done(rows: Sequence[Any]) -> dict[UUID, str]:
    """By job, how we know that what it was for is done."""
    last_step = {row.job_id: registry.get(row.job_task).effect for row in rows if row.job_task in registry}
    told = {job_id for job_id, effect in last_step.items() if effect}
    done = {
        effect.job_id: f"its last step, {effect.key}, was done at {effect.at:%c} UTC"
        for effect in Effect.objects.filter(job__in=told, key__in=set(last_step.values()))
        if effect.key == last_step[effect.job_id]
    }
    dead = [row for row in rows if row.correlation_id]
    successors: dict[tuple[str, str], list[Job]] = {}
    of_the_same = Job.objects.filter(correlation_id__in={row.correlation_id for row in dead}, state=JobState.SUCCEEDED)
    for job in of_the_same.only("task", "correlation_id", "payload", "created_at") if dead else ():
        successors.setdefault((job.task, job.correlation_id), []).append(job)
    for row in dead:
        for job in successors.get((row.job_task, row.correlation_id), ()):
            if job.created_at > row.died_at and job.payload == row.job_payload:
                done[row.job_id] = f"job {job.pk}, of the same correlation id and payload, succeeded"
    return done
