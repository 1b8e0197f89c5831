"""/jobs/batch: accept many at once, refuse some of them. /batches: how far they are."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from ninja import Router
from pydantic import BaseModel, Field, SkipValidation, ValidationError
from typing_extensions import TypedDict

from tasks.batches import store_batch
from tasks.dispatch import JobRequest, first_jobs, prepare
from tasks.errors import InvalidJob
from tasks.http import body, idempotency, paging, query
from tasks.http.access import allowed, caller_of
from tasks.http.paging import PageOut, PageQuery, answer_page, cursor_of
from tasks.http.problems import description, of_invalid_job, respond
from tasks.http.query import PLAIN
from tasks.http.schemas import BatchOut, BatchSummary, JobIn, JobOptions, answer, shown_batch, summary_of_batch
from tasks.http.visibility import visible
from tasks.insertion import NewJob
from tasks.models import Batch
from tasks.seeking import page

MOST_JOBS = 1000
MAX_KEY = 190  # each job's own key is this one and its index

router = Router(tags=["batches"])


class BatchJobIn(JobIn):
    idempotency_key: str | None = Field(None, min_length=1, max_length=200, pattern=PLAIN)


class BatchIn(BaseModel, extra="forbid"):
    name: str = Field("", max_length=200, pattern=PLAIN, description="For people.")
    # Each is checked by itself, so that one that is wrong does not refuse the others.
    jobs: list[SkipValidation[BatchJobIn]] = Field(min_length=1, max_length=MOST_JOBS)


class Accepted(TypedDict):
    index: Annotated[int, Field(description="Its place among the jobs sent, from 0.")]
    id: UUID
    location: str


class Rejected(TypedDict):
    index: int
    problem: Annotated[dict[str, Any], Field(description="As it would have been the answer to this job alone.")]


class BatchAnswer(TypedDict):
    batch: BatchOut
    accepted: list[Accepted]
    rejected: list[Rejected]


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """For ``openapi_extra`` of an operation that reads ``model`` and accepts many jobs."""
    keys = idempotency.documented("The same key and body answer with the same batch and jobs.", max_length=MAX_KEY)
    return {**keys, **body.documented(model)}


@router.post(
    "/jobs/batch",
    response={202: BatchAnswer},
    auth=allowed("jobs.enqueue"),
    summary=f"Accept up to {MOST_JOBS:,} jobs",
    openapi_extra=documented(BatchIn),
)
def create_batch(request: HttpRequest) -> HttpResponse:
    """The accepted jobs are durable when this answers. Where every job is refused, the answer is a problem whose
    ``rejected`` says why, and there is no batch."""
    given = body.read(request, BatchIn)

    def work(item: Any) -> Work:
        job = BatchJobIn.model_validate(item)
        return Work(job.task, job.payload, job, idempotency.digest_of(job), job.idempotency_key)

    return accept_many(request, given.name, given.jobs, work, member="jobs")


@dataclass(frozen=True)
class Work:
    """One job of many that were sent together. ``key`` is its own Idempotency-Key, beside that of them all."""

    task: str
    payload: dict[str, Any]
    options: JobOptions
    digest: str
    key: str | None = None


def accept_many(
    request: HttpRequest,
    name: str,
    items: Sequence[Any],
    work: Callable[[Any], Work],
    *,
    member: str,
    whole: bool = False,
) -> HttpResponse:
    """Accept a batch of what ``work`` makes of each of ``items``, the body's ``member``, and refuse those of which it
    raises a ValidationError. The answer is a BatchAnswer; a problem where none is accepted.

    A ``whole`` batch is accepted with all its jobs or not at all: InvalidJob says what is wrong with the first of them
    that is.
    """
    key = idempotency.key_of(request, max_length=MAX_KEY)
    caller = caller_of(request)
    batch = Batch(
        name=name,
        requested_by=caller,
        idempotency_key=key,
        idempotency_owner=caller if key else "",
        digest=idempotency.digest(body.parsed(request)) if key else "",
    )
    prepared: dict[int, NewJob] = {}
    wrong: dict[int, tuple[JobRequest, InvalidJob]] = {}
    rejected: dict[int, dict[str, Any]] = {}

    def place(index: int) -> str:
        return f"{request.path}#/{member}/{index}"

    for index, item in enumerate(items):
        try:
            asked = _request(work(item), index, batch)
        except ValidationError as error:
            rejected[index] = description("invalid", place(index), errors=_errors(error))
            continue
        try:
            prepared[index] = prepare(asked)
        except InvalidJob as error:
            wrong[index] = (asked, error)
    answers: dict[int, UUID | InvalidJob] = dict(_first_or_wrong(wrong))
    if whole:
        for answer_to_it in answers.values():
            if isinstance(answer_to_it, InvalidJob):
                raise answer_to_it
    known = sum(isinstance(each, UUID) for each in answers.values())
    batch, stored = store_batch(batch, list(prepared.values()), whole=whole, known=known)
    answers |= dict(zip(prepared, stored, strict=True))
    accepted: list[Accepted] = []
    for index, each in sorted(answers.items()):
        if isinstance(each, UUID):
            accepted.append({"index": index, "id": each, "location": f"/api/v1/jobs/{each}"})
        else:
            rejected[index] = of_invalid_job(each, place(index))
    refusals = [{"index": index, "problem": rejected[index]} for index in sorted(rejected)]
    if not accepted:
        none = "none of the jobs was accepted; `rejected` says why"
        return respond(description("invalid", request.path, none, rejected=refusals))
    told = {"batch": shown_batch(batch), "accepted": accepted, "rejected": refusals}
    return answer(told, status=202, location=f"/api/v1/batches/{batch.pk}")


@router.get(
    "/batches",
    response=PageOut[BatchSummary],
    auth=allowed("jobs.view"),
    summary="List batches",
    openapi_extra=paging.documented(PageQuery),
)
def list_batches(request: HttpRequest) -> HttpResponse:
    """The newest first. How far one is, it tells itself."""
    given = query.read(request, PageQuery)
    found = page(visible(request, Batch.objects.all()), limit=given.limit, cursor=cursor_of(given, UUID))
    return answer_page(request, found, summary_of_batch)


@router.get("/batches/{uuid:batch_id}", response=BatchOut, auth=allowed("jobs.view"), summary="How far a batch is")
def read_batch(request: HttpRequest, batch_id: UUID) -> HttpResponse:
    return answer(shown_batch(readable_batch(request, batch_id)))


def readable_batch(request: HttpRequest, batch_id: UUID) -> Batch:
    """The batch, for a caller who may see it. Raises Http404 where there is none, or it is somebody else's."""
    batch = visible(request, Batch.objects.all()).filter(pk=batch_id).first()
    if batch is None:
        raise Http404(f"there is no batch {batch_id}")
    return batch


def _first_or_wrong(wrong: Mapping[int, tuple[JobRequest, InvalidJob]]) -> Iterator[tuple[int, UUID | InvalidJob]]:
    """What is wrong with each; or the first job of its key, where that came of the same request when it was right."""
    keyed = {str(asked.idempotency_key): asked for asked, _ in wrong.values() if asked.idempotency_key}
    digests = {key: asked.idempotency_digest for key, asked in keyed.items()}
    first = first_jobs(next((asked.idempotency_owner for asked in keyed.values()), ""), digests)
    for index, (asked, error) in wrong.items():
        job = first.get(asked.idempotency_key or "")
        yield index, job.pk if job and job.idempotency_digest == asked.idempotency_digest else error


def _request(work: Work, index: int, batch: Batch) -> JobRequest:
    of_batch = f"{batch.idempotency_key}/{index}" if batch.idempotency_key else None
    options = work.options
    return JobRequest(
        task=work.task,
        payload=work.payload,
        priority=options.priority,
        delay_seconds=options.delay_seconds,
        run_at=options.run_at,
        expires_at=options.expires_at,
        idempotency_key=work.key or of_batch,
        idempotency_owner=batch.requested_by,
        idempotency_digest=work.digest,
        correlation_id=options.correlation_id,
        requested_by=batch.requested_by,
        metadata=options.metadata,
        batch=batch,
        from_outside=True,
    )


def _errors(error: ValidationError) -> list[dict[str, str]]:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return [{"field": ".".join(map(str, fault["loc"])) or "body", "detail": fault["msg"]} for fault in faults]
