"""The no-op, as a team would register it: with a typed payload."""

from pydantic import BaseModel

from tasks.api import JobContext, task
from tests.bench import work


class Source(BaseModel):
    bucket: str
    key: str
    etag: str


class Thumbnails(BaseModel):
    kind: str
    tenant: str
    requested_by: int
    source: Source
    sizes: list[tuple[int, int]]
    formats: list[str]
    quality: int
    strip_metadata: bool
    callback: str
    labels: dict[str, str]
    sent: float


@task("bench.nothing", payload=Thumbnails)
def nothing(payload: Thumbnails, context: JobContext) -> None:
    """Leave a mark and nothing else."""
    work.run({"sent": payload.sent})
