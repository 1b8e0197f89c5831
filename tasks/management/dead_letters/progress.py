"""What an operation would do, and how far it is, in lines."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core.management.base import CommandError

from tasks import words
from tasks.dead_letters import documents
from tasks.dead_letters.documents import OperationOut
from tasks.dead_letters.pacing import Pacing
from tasks.dead_letters.preflight import Blocker, Preflight
from tasks.management.action import Answer, confirm
from tasks.management.facts import facts
from tasks.models import Operation


def looked(verb: str, found: Preflight, pacing: Pacing | None = None) -> Iterator[str]:
    """A preflight: how many match, how many are left out and why, at which pace they go, how long it takes."""
    not_all = f", of which {found.judged:,} were looked at" if found.judged < found.matched else ""
    yield f"{found.matched:,} match{not_all}; {verb} would act on {found.will:,}"
    for reason, number in sorted(found.skipped.items(), key=lambda each: -each[1]):
        yield f"  {number:,} left out: {Blocker(reason).label.lower()}"
        for each in found.samples.get(reason, ()):
            yield f"    {each.letter_id}  {each.why}"
    if verb == Operation.Verb.REPLAY and found.will:
        if pacing:
            yield _in_words(pacing)
        seconds = found.drain_seconds
        yield f"until all have run: {'nobody can say' if seconds is None else f'about {words.duration(seconds)}'}"


def confirm_some(question: str, found: Preflight, lines: Sequence[str], options: Mapping[str, Any]) -> None:
    """As ``confirm``, and nobody is asked about nothing."""
    if not found.will:
        raise CommandError("\n".join([*lines, "nothing was started: nothing would be done"]))
    confirm(question, lines, options)


def followed(operation: Operation) -> Answer:
    """Of one that was just started."""
    operation.refresh_from_db()
    told = documents.of_operation(operation)
    return Answer(
        told, [*progressed(told), f"`dead_letters operation show --watch {operation.pk}` shows how far it is"]
    )


def line(told: OperationOut) -> str:
    """One of a list."""
    counts = f"{told['done']:,} done, {told['failed']:,} failed of {told['total']:,}"
    return f"{told['id']}  {told['created_at']:%Y-%m-%d %H:%M:%S}  {told['state']:<9}  {told['verb']:<8} {counts}"


def progressed(told: OperationOut) -> Iterator[str]:
    yield from facts(
        {
            "id": told["id"],
            "what": f"{told['verb']} {told['query']}",
            "state": told["state"],
            "verdict": told["verdict"],
            "by": told["requested_by"],
            "reason": told["reason"],
            "started": told["created_at"],
            "ended": told["finished_at"],
            "of": f"{told['total']:,}: {told['done']:,} done, {told['failed']:,} failed, "
            f"{told['running']:,} running, {told['waiting']:,} waiting",
        }
    )
    for reason, number in told["skipped"].items():
        yield from facts({"left out": f"{number:,} {Blocker(reason).label.lower()}"})
    for step in told["steps"] if len(told["steps"]) > 1 else ():
        counts = f"{step['sent']:,} of {step['size']:,} sent, {step['done']:,} done, {step['failed']:,} failed"
        yield from facts({f"step {step['step']}": counts})
    if told["eta_seconds"] is not None:
        yield from facts({"ends in": f"about {words.duration(told['eta_seconds'])}"})


def _in_words(pacing: Pacing) -> str:
    """Like "1, 5, 25, then the rest at 10 a second; stops once more than 20% have failed"."""
    rate = f"at {pacing.rate_per_second:g} a second" if pacing.rate_per_second else "as fast as it can"
    first = f"{', '.join(map(str, pacing.steps))}, then the rest" if pacing.steps else "all"
    stops = "" if pacing.stop_ratio is None else f"; stops once more than {pacing.stop_ratio:.0%} have failed"
    return f"{first} {rate}{stops}"
