"""Rows and effects of one scenario, read into what the verdict judges."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

from media.models import Variant
from project.demo.catcher import Catcher
from reports.models import Report
from tasks.models import DeadLetter, Job, JobEvent
from tests.chaos import effects
from tests.chaos.orders import Order
from tests.chaos.verdict import FINAL, Event, Evidence, Letter, Row


def gather(wanted: Mapping[UUID, Order], directory: Path, catcher: Catcher) -> Evidence:
    """All of it, as it is now."""
    events: dict[UUID, list[Event]] = defaultdict(list)
    for job_id, kind, attempt, detail in JobEvent.objects.order_by("id").values_list(
        "job_id", "kind", "attempt", "detail"
    ):
        events[job_id].append(Event(kind, attempt, detail))
    return Evidence(
        wanted={job_id: order.ends for job_id, order in wanted.items()},
        rows={
            job_id: Row(*values)
            for job_id, *values in Job.objects.values_list("id", "state", "attempt", "attempt_base")
        },
        events=events,
        letters=[
            Letter(job_id, attempt, reason, collected_at is not None)
            for job_id, attempt, reason, collected_at in DeadLetter.objects.values_list(
                "job_id", "attempt", "reason", "collected_at"
            )
        ],
        effects=effects.seen(directory) + mails(catcher) + files(),
    )


def mails(catcher: Catcher) -> Counter[tuple[UUID, int | None]]:
    """A mail tells its job by its Message-ID."""
    received = [message for message, _ in list(catcher.received)]
    return Counter((UUID(str(message["Message-ID"]).strip("<>").partition("@")[0]), None) for message in received)


def files() -> Counter[tuple[UUID, int | None]]:
    """Reports and pictures count once for each job that has all its files, whole."""
    whole: dict[UUID, bool] = {}
    stored = [(report.job_id, report) for report in Report.objects.all()]
    stored += [(variant.image.job_id, variant) for variant in Variant.objects.select_related("image")]
    for job_id, row in stored:
        path, size_bytes = Path(row.file.path), row.size_bytes
        whole[job_id] = whole.get(job_id, True) and path.exists() and path.stat().st_size == size_bytes
    return Counter((job_id, None) for job_id, is_whole in whole.items() if is_whole)


def unfinished() -> int:
    """Jobs that have not ended, and dead letters that the collector has not met yet."""
    waiting = DeadLetter.objects.filter(job__isnull=False, collected_at=None, state=DeadLetter.State.OPEN)
    return Job.objects.exclude(state__in=FINAL).count() + waiting.count()


def delete_files() -> None:
    """What the scenario's jobs stored; its rows go with its database."""
    for row in (*Report.objects.all(), *Variant.objects.all()):
        row.file.delete(save=False)
