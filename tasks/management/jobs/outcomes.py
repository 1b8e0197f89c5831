"""Jobs as a terminal tells them, and the exit code that their states are."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tasks import words
from tasks.dead_letters.masking import Mask, mask_of
from tasks.management.action import Answer
from tasks.management.facts import facts, one_line
from tasks.models import Job
from tasks.states import JobState

DEAD, WRONG, CANCELLED, UNFINISHED = 1, 2, 3, 4
EXPLAINED = (
    "Exit 0 when all succeeded, 1 when one is dead or was refused, 2 when it was typed wrong or the database can not "
    "be asked, 3 when one was cancelled, 4 when the time to wait was over first."
)


def outcome(jobs: Sequence[Job]) -> tuple[str, int]:
    """The complaint that ``jobs`` end with, and its exit code; the worst decides."""
    for code, states, words_ in (
        (DEAD, {JobState.DEAD}, "dead"),
        (CANCELLED, {JobState.CANCELLED}, "cancelled"),
        (UNFINISHED, {state for state in JobState if not state.is_final}, "not finished yet"),
    ):
        if found := sum(job.state in states for job in jobs):
            return (words_ if len(jobs) == 1 else f"{found:,} of {len(jobs):,} {words_}"), code
    return "", 0


def waited(jobs: Sequence[Job]) -> Answer:
    """Of jobs that somebody has waited for."""
    complaint, code = outcome(jobs)
    return Answer(
        _data(jobs), _told(jobs), complaint and f"the job is {complaint}" if len(jobs) == 1 else complaint, code
    )


def accepted(jobs: Sequence[Job]) -> Answer:
    """Of jobs that go on by themselves."""
    return Answer(_data(jobs), _told(jobs))


def summary(job: Job) -> dict[str, Any]:
    """For scripts, of a list: without payload, result and metadata."""
    mask = _mask_of_texts(job)
    note = mask.text(job.progress_note) if mask else job.progress_note
    return {
        "id": str(job.pk),
        "task": job.task,
        "state": job.state,
        "queue": job.queue,
        "priority": job.priority,
        "attempt": job.attempt,
        "error": mask.text(job.error) if mask else job.error,
        "progress": {"done": job.progress_done, "total": job.progress_total, "note": note},
        "batch": str(job.batch_id) if job.batch_id else None,
        "correlation_id": job.correlation_id,
        "requested_by": job.requested_by,
        "created_at": job.created_at,
        "due_at": job.due_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }


def document(job: Job) -> dict[str, Any]:
    """For scripts; what is sensitive is masked."""
    mask = mask_of(job)
    payload = mask.payload(job.task, job.payload)  # first: it tells the mask which values to hide elsewhere
    whole = {"payload": payload, "result": mask.anywhere(job.result), "metadata": mask.anywhere(job.metadata)}
    return {**summary(job), **whole}


def line(job: Job) -> str:
    """One of a list."""
    when = f"{job.created_at:%Y-%m-%d %H:%M:%S}"
    told = words.error_line("", summary(job)["error"]) if job.error else ""
    return one_line(f"{job.pk}  {when}  {job.state:<9}  {job.task}  {job.queue}  {told}")


def _mask_of_texts(job: Job) -> Mask | None:
    """Most jobs of a list say nothing that could quote their payload, which then need not be read."""
    return mask_of(job) if job.error or job.progress_note else None


def _data(jobs: Sequence[Job]) -> Any:
    return document(jobs[0]) if len(jobs) == 1 else [document(job) for job in jobs]


def _told(jobs: Sequence[Job]) -> Iterable[str]:
    return _facts(jobs[0]) if len(jobs) == 1 else map(line, jobs)


def _facts(job: Job) -> Iterator[str]:
    told = document(job)
    progress = f"{job.progress_done:,}" + (f" of {job.progress_total:,}" if job.progress_total else "")
    yield from facts(
        {
            "id": told["id"],
            "task": f"{job.task} on {job.queue}",
            "state": f"{job.state}, attempt {job.attempt}" if job.attempt else job.state,
            "due": None if job.is_final else job.due_at,
            "progress": progress if job.progress_done and not job.is_final else "",
            "error": told["error"] if job.state != JobState.SUCCEEDED else "",
            "result": told["result"],
            "finished": job.finished_at,
        }
    )
