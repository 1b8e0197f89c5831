"""One verb on all that match: started, watched, paused, resumed and cancelled by people, carried on by the workers."""

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from tasks import audit, permissions, purging, queues
from tasks.dead_letters import selection
from tasks.dead_letters.carrying import GOING_ON, advance, carry, end_if_settled, leave_out
from tasks.dead_letters.pacing import RATE_PER_SECOND, STEPS, STOP_RATIO, Pacing
from tasks.dead_letters.preflight import LONGEST_SECONDS, Paused
from tasks.errors import IllegalTransition, InvalidOperation
from tasks.models import Operation, OperationItem

__all__ = ["advance", "cancel", "pacing_for", "pause", "progress", "resume", "start"]

Verb = Operation.Verb
State = Operation.State

AT_ONCE_SECONDS = 2.0


def start(
    verb: str,
    query: str | dict[str, Any],
    *,
    requested_by: str,
    reason: str = "",
    steps: Sequence[int] | None = None,
    rate_per_second: float | None = None,
    stop_ratio: float | None = None,
    is_paused: Paused = queues.is_paused,
    longest_seconds: float = LONGEST_SECONDS,
) -> Operation:
    """Do ``verb`` to all that match ``query`` now, and to nothing that comes later; ``selection.chosen`` says what a
    query is. What can not be acted on is left out, as ``preflight.look`` would have said.

    Replays keep the pace of ``Pacing``: without ``steps``, ``rate_per_second`` or ``stop_ratio`` its defaults, with
    ``steps=[]`` no canary, with ``rate_per_second=math.inf`` as fast as it can. The other verbs go at once: what takes
    less than two seconds is done soon after the caller's transaction has committed, the rest by the workers.

    Raises InvalidQuery; InvalidReason when a destructive verb has none; and InvalidOperation when a number makes no
    sense, or nothing would be done.
    """
    rows = selection.chosen(verb, query)
    audit.require_reason(permissions.of_operation(verb), reason)
    pacing = pacing_for(verb, steps=steps, rate_per_second=rate_per_second, stop_ratio=stop_ratio)
    with transaction.atomic():
        operation = Operation.objects.create(
            verb=verb,
            query=query,
            steps=list(pacing.steps),
            rate_per_second=pacing.rate_per_second,
            stop_ratio=pacing.stop_ratio,
            reason=reason,
            requested_by=requested_by[:200],
        )
        operation.refresh_from_db()
        operation.waiting = matched = selection.freeze(operation, rows)
        if verb not in purging.VERBS:
            leave_out(operation, is_paused=is_paused, until=time.monotonic() + longest_seconds)
        operation.total = operation.waiting
        if not operation.total:
            raise InvalidOperation([{"field": "query", "message": _nothing(matched, operation.skipped)}])
        subject = _undone(operation) or query
        operation.save()
        audit.record(
            requested_by,
            permissions.of_operation(verb) if verb in purging.VERBS else "operations.start",
            subject,
            count=operation.total,
            reason=reason,
            detail={"operation": operation.pk, "verb": verb, "query": query, "skipped": operation.skipped},
        )
        if verb != Verb.REPLAY:
            transaction.on_commit(lambda: _carry_at_once(operation.pk), robust=True)
    return operation


def pacing_for(
    verb: str,
    *,
    steps: Sequence[int] | None = None,
    rate_per_second: float | None = None,
    stop_ratio: float | None = None,
) -> Pacing:
    """The pace that ``start`` would keep, for whoever wants to know it before. Raises InvalidOperation."""
    if verb != Verb.REPLAY:
        given = {"steps": steps, "rate_per_second": rate_per_second, "stop_ratio": stop_ratio}
        problems = [
            {"field": name, "message": f"is for replay; {verb} goes at once"}
            for name, value in given.items()
            if value is not None
        ]
        pacing = Pacing((), None, None)
    else:
        pacing = Pacing(
            STEPS if steps is None else tuple(steps),
            RATE_PER_SECOND if rate_per_second is None else None if rate_per_second == math.inf else rate_per_second,
            STOP_RATIO if stop_ratio is None else stop_ratio,
        )
        problems = pacing.problems()
    if problems:
        raise InvalidOperation(problems)
    return pacing


def pause(operation_id: UUID, *, requested_by: str) -> Operation:
    """Send nothing more until it is resumed; outcomes are still heard. Raises Operation.DoesNotExist, and
    IllegalTransition unless it is running."""
    with _held(operation_id, (State.RUNNING,), "pause", requested_by) as operation:
        operation.state, operation.verdict = State.PAUSED, f"paused by {requested_by}"[:300]
    return operation


def resume(operation_id: UUID, *, requested_by: str) -> Operation:
    """Go on. Raises Operation.DoesNotExist, and IllegalTransition unless it is paused: one that has stopped by itself
    stays so, and what it did not send is there for another."""
    with _held(operation_id, (State.PAUSED,), "resume", requested_by) as operation:
        operation.state, operation.verdict = State.RUNNING, ""
    return operation


def cancel(operation_id: UUID, *, requested_by: str) -> Operation:
    """End it; what it has not sent stays as it is. Raises Operation.DoesNotExist, and IllegalTransition when it has
    ended."""
    with _held(operation_id, GOING_ON, "cancel", requested_by) as operation:
        operation.state, operation.verdict = State.CANCELLED, f"cancelled by {requested_by}"[:300]
        end_if_settled(operation)
    return operation


def progress(operation: Operation) -> dict[str, Any]:
    """How far it is, for a live display: ``sent`` of which ``running`` have no outcome yet, ``done``, ``failed``,
    ``waiting``, ``skipped`` by reason, ``steps`` with the same counts each, ``rate_per_second`` and ``eta_seconds``,
    None where nobody can say. Costs two small queries, whatever its size."""
    sent = operation.sent + operation.done + operation.failed
    return {
        "state": operation.state,
        "verdict": operation.verdict,
        "total": operation.total,
        "waiting": operation.waiting,
        "sent": sent,
        "running": operation.sent,
        "done": operation.done,
        "failed": operation.failed,
        "skipped": operation.skipped,
        "step": operation.step,
        "steps": list(_steps(operation)),
        "rate_per_second": operation.rate_per_second,
        "eta_seconds": _eta_seconds(operation),
    }


def _nothing(matched: int, skipped: dict[str, int]) -> str:
    if not matched:
        return "matches nothing now"
    reasons = ", ".join(f"{number} {reason.replace('_', ' ')}" for reason, number in skipped.items())
    return f"matches {matched}, and all would be left out: {reasons}"


def _undone(operation: Operation) -> str:
    """What it undoes, if anything, in the words of the audit trail; the operation then refers to it."""
    by_operation = isinstance(operation.query, dict) and "operation" in operation.query
    if operation.verb != Verb.UNPURGE and not by_operation:
        return str(operation.query.get("queue", "")) if operation.verb == Verb.PURGE else ""
    operation.undoes = Operation.objects.get(pk=selection.operation_of(operation.query))
    query = operation.undoes.query
    return str(query.get("queue", "") if isinstance(query, dict) else query)


def _carry_at_once(operation_id: UUID) -> None:
    carry(operation_id, until=time.monotonic() + AT_ONCE_SECONDS)


@contextmanager
def _held(operation_id: UUID, states: Sequence[str], verb: str, requested_by: str) -> Iterator[Operation]:
    with transaction.atomic():
        operation = Operation.objects.select_for_update(no_key=True).get(pk=operation_id)
        if operation.state not in states:
            raise IllegalTransition(f"the operation is {operation.get_state_display().lower()}: can not {verb} it")
        yield operation
        operation.save()
        audit.record(requested_by, f"operations.{verb}", operation.pk, count=operation.waiting)


def _steps(operation: Operation) -> Iterator[dict[str, int]]:
    """Each step's size and counts. A letter whose job was cancelled is replaced by the next, so it is in none."""
    gone = (OperationItem.State.PENDING, OperationItem.State.SKIPPED)
    first = operation.items.exclude(state__in=gone).order_by("place").values_list("state", flat=True)
    states = iter(first[: sum(operation.steps)])
    left = operation.waiting + operation.sent + operation.done + operation.failed
    all_known = Counter({"done": operation.done, "failed": operation.failed, "running": operation.sent})
    for number, size in enumerate(operation.steps, 1):
        of_step = Counter("running" if state == "sent" else state for state in islice(states, size))
        all_known -= of_step
        if size := min(size, left):
            yield _step(number, size, of_step)
        left -= size
    if left:
        yield _step(len(operation.steps) + 1, left, all_known)


def _step(number: int, size: int, known: Counter[str]) -> dict[str, int]:
    counts = {name: known[name] for name in ("running", "done", "failed")}
    return {"step": number, "size": size, "sent": sum(counts.values()), **counts}


def _eta_seconds(operation: Operation) -> float | None:
    if operation.state != State.RUNNING:
        return None
    if operation.rate_per_second:
        return operation.waiting / operation.rate_per_second
    decided = operation.done + operation.failed
    took = (timezone.now() - operation.created_at).total_seconds()
    return (operation.waiting + operation.sent) * took / decided if decided else None
