"""The verdict: arithmetic on the rows of the database and on the effects seen outside. Pure; nothing here waits."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

FINAL = frozenset({"succeeded", "dead", "cancelled"})
STATES = FINAL | {"scheduled", "queued", "running", "retrying"}


@dataclass(frozen=True)
class Row:
    """A job as the database has it."""

    state: str
    attempt: int = 0
    attempt_base: int = 0


@dataclass(frozen=True)
class Event:
    """One line of a job's history."""

    kind: str
    attempt: int = 0
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Letter:
    """A dead letter. ``collected``: the broker's evidence is with it."""

    job_id: UUID | None
    attempt: int
    reason: str
    collected: bool


@dataclass
class Evidence:
    """All that is judged. ``wanted`` has the final state that each accepted job owes.

    ``effects`` counts what the outside saw by (job, attempt), where the attempt is None if the outside can not tell.
    Strangers are dead letters of no job; evidence is what the broker adds to a letter; copies are messages of which
    nobody knows whether the first one had arrived.
    """

    wanted: Mapping[UUID, str]
    rows: Mapping[UUID, Row]
    events: Mapping[UUID, Sequence[Event]]
    letters: Sequence[Letter]
    effects: Counter[tuple[UUID, int | None]]
    strangers_expected: bool = False
    evidence_expected: bool = True
    copies_expected: bool = False


@dataclass(frozen=True)
class Miss:
    """Something that does not add up, with the job it is about."""

    job_id: UUID | None
    what: str


@dataclass(frozen=True)
class Figures:
    """The line that is printed."""

    accepted: int
    ended: int
    redelivered: int
    suppressed: int
    repeated: int
    lost: int


def judge(evidence: Evidence) -> tuple[Figures, list[Miss]]:
    """The figures, and everything that does not add up; an empty list is a pass."""
    lost = [*_jobs_lost(evidence), *_effects_missing(evidence)]
    rules = (
        _wrong_ends,
        _unasked,
        _two_ends,
        _history,
        _duplicates_unexplained,
        _effects_unexplained,
        _letters_missing,
        _strangers,
    )
    told = [event for events in evidence.events.values() for event in events]
    figures = Figures(
        accepted=len(evidence.wanted),
        ended=sum(_ended(evidence, job_id) for job_id in evidence.wanted),
        redelivered=sum(bool(event.detail.get("redelivered")) for event in told),
        suppressed=sum(event.kind == "duplicate" for event in told),
        repeated=sum(seen - 1 for seen in effects_by_job(evidence.effects).values()),
        lost=len(lost),
    )
    return figures, [*lost, *(miss for rule in rules for miss in rule(evidence))]


def effects_by_job(effects: Counter[tuple[UUID, int | None]]) -> Counter[UUID]:
    total: Counter[UUID] = Counter()
    for (job_id, _), count in effects.items():
        total[job_id] += count
    return total


def rebuilt(events: Sequence[Event]) -> Row:
    """The row as the history alone tells it."""
    state, attempt, base = "", 0, 0
    for event in events:
        if event.kind in STATES:
            state, attempt = event.kind, event.attempt
        elif event.kind == "handed_back":
            state, base = "queued", base + 1
        elif event.kind == "replayed":
            state, base = "queued", event.attempt
    return Row(state, attempt, base)


def _ended(evidence: Evidence, job_id: UUID) -> bool:
    row = evidence.rows.get(job_id)
    return row is not None and row.state in FINAL


def _jobs_lost(evidence: Evidence) -> Iterator[Miss]:
    for job_id in evidence.wanted:
        if job_id not in evidence.rows:
            yield Miss(job_id, "was accepted, and is not in the database")
        elif not _ended(evidence, job_id):
            yield Miss(job_id, f"never ended: it is {evidence.rows[job_id].state}")


def _effects_missing(evidence: Evidence) -> Iterator[Miss]:
    """What succeeded must show outside: its own attempt's effect, where attempts can be told apart."""
    for job_id in evidence.wanted:
        row = evidence.rows.get(job_id)
        if row and row.state == "succeeded" and not {(job_id, row.attempt), (job_id, None)} & evidence.effects.keys():
            yield Miss(job_id, f"succeeded at attempt {row.attempt}, whose effect nobody saw")


def _wrong_ends(evidence: Evidence) -> Iterator[Miss]:
    for job_id, wanted in evidence.wanted.items():
        if _ended(evidence, job_id) and evidence.rows[job_id].state != wanted:
            yield Miss(job_id, f"is {evidence.rows[job_id].state} and should be {wanted}")


def _unasked(evidence: Evidence) -> Iterator[Miss]:
    for job_id in evidence.rows.keys() - evidence.wanted.keys():
        yield Miss(job_id, "is in the database, and nobody was told that it was accepted")


def _two_ends(evidence: Evidence) -> Iterator[Miss]:
    """A replay begins a new life; in one life there is one end."""
    for job_id, events in evidence.events.items():
        ends: list[str] = []
        for event in events:
            if event.kind == "replayed":
                ends.clear()
            elif event.kind in FINAL:
                ends.append(event.kind)
                if len(ends) == 2:
                    yield Miss(job_id, f"ended twice: {ends[0]}, then {ends[1]}")


def _history(evidence: Evidence) -> Iterator[Miss]:
    for job_id, row in evidence.rows.items():
        if (told := rebuilt(evidence.events.get(job_id, ()))) != row:
            yield Miss(job_id, f"has a history that tells of {told}, and a row that says {row}")


def _duplicates_unexplained(evidence: Evidence) -> Iterator[Miss]:
    """A message that was suppressed was delivered again, published again for a reason that the history tells, or was no
    message but an outcome that came late. Copies without a word are for a broker that broke while it was asked."""
    if evidence.copies_expected:
        return
    for job_id, events in evidence.events.items():
        sent_again = any(event.kind in ("republished", "handed_back", "replayed") for event in events)
        for event in events:
            told = sent_again or event.detail.keys() & {"redelivered", "outcome", "dead"}
            if event.kind == "duplicate" and not told:
                yield Miss(
                    job_id, f"attempt {event.attempt} was suppressed as a duplicate, and nobody had sent it again"
                )


def _effects_unexplained(evidence: Evidence) -> Iterator[Miss]:
    """An effect belongs to a claimed attempt, happens once in it, and is repeated only by an attempt that was given up
    for lost, failed or handed back before its successor began."""
    for (job_id, attempt), count in evidence.effects.items():
        events = evidence.events.get(job_id, ())
        given_up = sum(event.kind in ("retrying", "handed_back") for event in events)
        if attempt is None:
            if count > 1 + given_up:
                yield Miss(job_id, f"had its effect {count} times, with {given_up} attempts given up")
            continue
        if count > 1:
            yield Miss(job_id, f"attempt {attempt} had its effect {count} times")
        if not any(event.kind == "running" and event.attempt == attempt for event in events):
            yield Miss(job_id, f"attempt {attempt} had its effect and was never claimed")
        ends = {event.kind for event in events if event.attempt == attempt} - {"queued", "running", "republished"}
        if not ends:
            yield Miss(job_id, f"attempt {attempt} had its effect, and the history does not tell how it ended")


def _letters_missing(evidence: Evidence) -> Iterator[Miss]:
    letters = {(letter.job_id, letter.attempt): letter for letter in evidence.letters}
    for job_id, row in evidence.rows.items():
        if row.state != "dead":
            continue
        letter = letters.get((job_id, row.attempt))
        if letter is None:
            yield Miss(job_id, "is dead without a dead letter")
        elif evidence.evidence_expected and not letter.collected:
            yield Miss(job_id, "has a dead letter without the broker's evidence")


def _strangers(evidence: Evidence) -> Iterator[Miss]:
    strangers = Counter(letter.reason for letter in evidence.letters if letter.job_id is None)
    if strangers and not evidence.strangers_expected:
        told = ", ".join(f"{count} {reason}" for reason, count in strangers.items())
        yield Miss(None, f"there are dead letters of no job: {told}")
