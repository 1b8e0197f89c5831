"""The door for reports."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from reports import services
from reports.datasets import DATASETS
from reports.renderers import Format
from tasks.api import JobContext, RetryPolicy, task

MAX_DAYS = 366
DEFAULT_DAYS = 7


def _today() -> date:
    return datetime.now(UTC).date()


def _known_dataset(name: str) -> str:
    if name not in DATASETS:
        raise ValueError(f"no data set {name!r}; there are: {', '.join(sorted(DATASETS))}")
    return name


def _each_once(formats: list[Format]) -> list[Format]:
    if len(set(formats)) < len(formats):
        raise ValueError("names a format twice")
    return formats


def _list_datasets(schema: dict[str, Any]) -> None:
    """Asked for when the schema is, not at import: apps loaded later register data sets too."""
    schema["enum"] = sorted(DATASETS)


# Far enough for everybody, and near enough that the next day is always a date.
Day = Annotated[date, Field(ge=date(2000, 1, 1), le=date(2999, 12, 31))]


class ReportPayload(BaseModel):
    dataset: Annotated[str, AfterValidator(_known_dataset)] = Field(
        title="Data set", description="What to report on.", json_schema_extra=_list_datasets
    )
    formats: Annotated[list[Format], AfterValidator(_each_once)] = Field(
        ["pdf"],
        title="Formats",
        description="One file is made for each.",
        min_length=1,
        json_schema_extra={"uniqueItems": True},
    )
    since: Day = Field(
        default_factory=lambda: _today() - timedelta(days=DEFAULT_DAYS - 1),
        title="First day",
        description="In UTC. Left out: the seven days that end with the last day.",
    )
    until: Day = Field(default_factory=_today, title="Last day", description="In UTC, included. Left out: today.")

    @model_validator(mode="after")
    def _is_a_period(self) -> Self:
        if "since" not in self.model_fields_set:
            self.since = self.until - timedelta(days=DEFAULT_DAYS - 1)
        days = (self.until - self.since).days + 1
        if days < 1:
            raise self._fault("since", f"is after the last day, {self.until}")
        if days > MAX_DAYS:
            raise self._fault("since", f"makes a period of {days:,} days; at most {MAX_DAYS} are reported at once")
        return self

    def _fault(self, field: str, message: str) -> ValidationError:
        """An error that names its field, which a plain ValueError from a model validator would not."""
        details = InitErrorDetails(
            type=PydanticCustomError("period", "{message}", {"message": message}),
            loc=(field,),
            input=getattr(self, field),
        )
        return ValidationError.from_exception_data(type(self).__name__, [details])


@task(
    "report.render",
    payload=ReportPayload,
    queue="report-queue",
    retry=RetryPolicy(max_attempts=3),
    time_limit_seconds=600,
    title="Report",
    envelope_type="report",
)
def render(payload: ReportPayload, context: JobContext) -> dict[str, Any]:
    """Report on a data set for a period, as PDF, XLSX or CSV, or several of them."""

    def step(done: int, total: int | None, note: str) -> None:
        context.checkpoint()
        context.progress(done, total, note)

    reports = services.render_reports(
        job_id=context.job_id,
        requested_by=context.requested_by,
        dataset=payload.dataset,
        formats=payload.formats,
        since=payload.since,
        until=payload.until,
        step=step,
    )
    return {
        "reports": [
            {
                "id": str(report.pk),
                "format": report.format,
                "size_bytes": report.size_bytes,
                "pages": report.pages,
                "rows": report.rows,
                "url": report.address,
            }
            for report in reports
        ]
    }
