"""Carries operations on: hears the outcomes of what was sent, and sends what may go next.

Every worker does so, and none leads: who holds an operation's row carries it, a little at a time. Whatever happens to
an item, its state, the operation's counts and the act itself are one transaction, so a worker that is killed in the
middle of it has done nothing, and no item is sent twice or left out. The one exception is a message without a job: the
broker takes part in no transaction, so a death between its confirm and the commit sends that message again.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, cast
from uuid import UUID

from django.db import InterfaceError, OperationalError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from tasks import purging, queues
from tasks.dead_letters import discarding, replaying
from tasks.dead_letters.masking import mask_of
from tasks.dead_letters.pacing import Pacing, verdict
from tasks.dead_letters.preflight import CHUNK, Blocker, Paused, blocked
from tasks.errors import BrokerUnavailable, TaskPlatformError
from tasks.models import DeadLetter, Job, Operation, OperationItem
from tasks.states import FINAL, JobState

logger = logging.getLogger(__name__)

ADVANCE_SECONDS = 0.25
OUTCOMES_AT_ONCE = 1000
REPLAYS_AT_ONCE = 25  # looked at before they are sent, so no more than there is time for
PUBLISH_SECONDS = 1.0  # for a process to hand what it has put back to the broker, before another may put back more

Verb = Operation.Verb
State = OperationItem.State
GOING_ON = (Operation.State.RUNNING, Operation.State.PAUSED)


class Result(NamedTuple):
    """What became of an item. ``blocker`` is the reason that a skipped one is counted under."""

    state: str
    why: str = ""
    blocker: str = ""


Results = dict[int, Result]  # by the item's id


def advance(seconds: float = ADVANCE_SECONDS) -> int:
    """Carry all unfinished operations on, for about ``seconds`` altogether. How many items were acted on."""
    until = time.monotonic() + seconds
    moved = 0
    for operation_id in Operation.objects.filter(finished_at=None).order_by("moved_at").values_list("pk", flat=True):
        moved += carry(operation_id, until=until)
        if time.monotonic() >= until:
            break
    return moved


def carry(operation_id: UUID, *, until: float) -> int:
    """Carry the operation on, in short transactions, until the monotonic clock says ``until`` or nothing can be done
    just now; by one of them at least. How many items were acted on: none where another process is at it."""
    moved = 0
    while True:
        with transaction.atomic():
            held = Operation.objects.filter(pk=operation_id, finished_at=None)
            operation = held.select_for_update(skip_locked=True, no_key=True).first()
            just_now = _carry(operation, until) if operation else 0
        moved += just_now
        if not just_now or time.monotonic() >= until:
            return moved


def leave_out(operation: Operation, *, is_paused: Paused = queues.is_paused, until: float) -> None:
    """Skip the items whose letters can not be acted on, in the transaction that froze the set; a few hundred at a time,
    until the monotonic clock says ``until``. The others are looked at when their turn comes."""
    items = operation.items.order_by("place")
    looked_at = -1
    while time.monotonic() < until and (chunk := list(items.filter(place__gt=looked_at)[:CHUNK])):
        _take(operation, _blocked(operation, chunk, is_paused))
        looked_at = chunk[-1].place


def pacing_of(operation: Operation) -> Pacing:
    """As it was started with."""
    return Pacing(tuple(operation.steps), operation.rate_per_second, operation.stop_ratio)


def end_if_settled(operation: Operation) -> None:
    """An operation ends once nothing waits, or nothing is to be sent any more; and is finished with the last outcome.
    The caller holds its row, and saves it."""
    if operation.state in GOING_ON and not operation.waiting and not operation.sent:
        operation.state = Operation.State.DONE
        left_out = sum(operation.skipped.values())
        parts = [(operation.done, "done"), (operation.failed, "failed"), (left_out, "left out")]
        operation.verdict = ", ".join(f"{number} {word}" for number, word in parts if number) or "nothing was left"
    if operation.state not in GOING_ON and not operation.sent:
        operation.finished_at = timezone.now()


def _carry(operation: Operation, until: float) -> int:
    _hear(operation)
    moved = _send(operation, until) if operation.state == Operation.State.RUNNING and operation.waiting else 0
    end_if_settled(operation)
    operation.save()
    return moved


def _hear(operation: Operation) -> None:
    """Take in the outcomes there are, in the order in which they came. The first that is one failure too many stops it,
    whatever came with it."""
    if not operation.sent:
        return
    pacing = pacing_of(operation)
    ended = operation.items.filter(state=State.SENT, job__state__in=FINAL).order_by("job__finished_at", "place")
    heard: Results = {}
    for item in ended.select_related("job")[:OUTCOMES_AT_ONCE]:
        job = cast(Job, item.job)
        state = job.state
        if state == JobState.CANCELLED:
            result = Result(State.SKIPPED, "its job was cancelled", Blocker.CANCELLED)
        elif state == JobState.SUCCEEDED:
            result = Result(State.DONE)
        else:
            result = Result(State.FAILED, mask_of(job).text(job.error)[:300])
        heard[item.pk] = result
        _count(operation, result, before=State.SENT)
        if operation.state in GOING_ON and pacing.exceeded(operation.done, operation.failed):
            operation.state = Operation.State.STOPPED
            operation.verdict = verdict(operation.step, operation.done, operation.failed)
    _write(operation, heard)
    if not heard and not operation.items.filter(state=State.SENT).exists():
        operation.sent = 0  # their jobs were pruned before anybody asked


def _send(operation: Operation, until: float) -> int:
    now = Operation.objects.filter(pk=operation.pk).values_list(Now(), flat=True).get()
    room = _room(operation, now)
    items = list(operation.items.filter(state=State.PENDING).order_by("place")[:room])
    if room and not items:
        operation.waiting = 0  # their letters or jobs were pruned meanwhile
    if not items:
        return 0
    if operation.verb == Verb.REPLAY:
        results = dict(_replay(operation, items, until))
    elif operation.verb in purging.VERBS:
        done, gone = (purging.park if operation.verb == Verb.PURGE else purging.put_back)(operation, items)
        results = {item: Result(State.DONE) for item in done}
        results |= {item: Result(State.SKIPPED, why, Blocker.MOVED_ON) for item, why in gone.items()}
    else:
        results = _park_letters(operation, items)
    _take(operation, results)
    went = sum(result.state != State.SKIPPED for result in results.values())
    if went:
        pacing = pacing_of(operation)
        is_paced = operation.verb == Verb.REPLAY
        operation.moved_at = pacing.credited(operation.moved_at, now, went) if is_paced else Now()
        operation.step = pacing.step_of(operation.sent + operation.done + operation.failed)
    return len(results)


def _room(operation: Operation, now: datetime) -> int:
    """How many items may be acted on now."""
    idle_seconds = (now - operation.moved_at).total_seconds()
    if operation.verb == Verb.REPLAY:
        sent = operation.sent + operation.done + operation.failed
        return min(REPLAYS_AT_ONCE, pacing_of(operation).room(sent, operation.sent, idle_seconds))
    if operation.verb == Verb.UNPURGE and operation.done and idle_seconds < PUBLISH_SECONDS:
        return 0  # two processes that publish at once would mix up the order
    return purging.AT_ONCE


def _blocked(operation: Operation, items: Sequence[OperationItem], is_paused: Paused = queues.is_paused) -> Results:
    of_letter = {item.letter_id: item.pk for item in items if item.letter_id}
    return {
        of_letter[each.letter_id]: Result(State.SKIPPED, each.why[:300], each.blocker)
        for each in blocked(list(of_letter), operation.verb, is_paused=is_paused)
    }


def _park_letters(operation: Operation, items: Sequence[OperationItem]) -> Results:
    """Discard or restore. A letter that somebody holds just now has no result yet."""
    ids = [item.letter_id for item in items if item.letter_id]
    if operation.verb == Verb.DISCARD:
        moved = discarding.discard_all(ids, requested_by=operation.requested_by)
    else:
        moved = discarding.restore_all(ids)
    left = [item for item in items if item.letter_id not in moved]
    return {item.pk: Result(State.DONE) for item in items if item.letter_id in moved} | _blocked(operation, left)


def _replay(operation: Operation, items: Sequence[OperationItem], until: float) -> Iterator[tuple[int, Result]]:
    """What became of each, but for those that there was no time for, or that somebody holds just now."""
    free_jobs = _hold(Job, [item.job_id for item in items])  # the job first, as everyone does
    free_letters = _hold(DeadLetter, [item.letter_id for item in items])
    free = [i for i in items if i.letter_id in free_letters and (i.job_id is None or i.job_id in free_jobs)]
    left_out = _blocked(operation, free)
    yield from left_out.items()
    for item in free:
        if item.pk in left_out or item.letter_id is None:
            continue
        try:
            yield item.pk, _replay_one(operation, item.letter_id)
        except BrokerUnavailable as error:
            operation.verdict = f"waits for the broker: {error}"[:300]
            return
        if time.monotonic() >= until:
            return


def _replay_one(operation: Operation, letter_id: UUID) -> Result:
    try:
        with transaction.atomic():
            by = operation.requested_by
            letter = replaying.replay(letter_id, requested_by=by, operation=operation.pk)
    except (BrokerUnavailable, OperationalError, InterfaceError):
        raise
    except (TaskPlatformError, DeadLetter.DoesNotExist) as error:
        return Result(State.SKIPPED, str(error)[:300], Blocker.REFUSED)
    except Exception as error:  # a bug in one letter's way must not keep the others waiting for ever
        logger.exception("the dead letter %s can not be replayed", letter_id)
        return Result(State.SKIPPED, f"{type(error).__name__}: {error}"[:300], Blocker.REFUSED)
    operation.verdict = ""
    if letter.job_id is None:
        return Result(State.DONE, "the broker took its message; should it die again, that is another letter")
    return Result(State.SENT)


def _hold(model: type[Job] | type[DeadLetter], ids: Iterable[UUID | None]) -> set[UUID]:
    """Those whose rows nobody else holds: the worker's main process must not wait long for any."""
    rows = model._default_manager.filter(pk__in=[id for id in ids if id]).order_by("pk")
    return set(rows.select_for_update(skip_locked=True, of=("self",)).values_list("pk", flat=True))


_COLUMNS = {State.PENDING: "waiting", State.SENT: "sent", State.DONE: "done", State.FAILED: "failed"}


def _count(operation: Operation, result: Result, *, before: State = State.PENDING) -> None:
    """In the operation, which the caller saves, an item that was ``before``."""
    setattr(operation, _COLUMNS[before], max(0, getattr(operation, _COLUMNS[before]) - 1))
    if result.state == State.SKIPPED:
        operation.skipped[result.blocker] = operation.skipped.get(result.blocker, 0) + 1
    else:
        column = _COLUMNS[State(result.state)]
        setattr(operation, column, getattr(operation, column) + 1)


def _take(operation: Operation, results: Results) -> None:
    """Write the results of items that were waiting, and count them."""
    for result in results.values():
        _count(operation, result)
    _write(operation, results)


def _write(operation: Operation, results: Results) -> None:
    """The items' states; those that have become alike with one statement."""
    alike: dict[tuple[str, str], list[int]] = defaultdict(list)
    for item, result in results.items():
        alike[result.state, result.why].append(item)
    for (state, why), ids in alike.items():
        operation.items.filter(pk__in=ids).update(state=state, why=why)
