"""Query -> Table -> file -> row."""

import tempfile
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from typing import BinaryIO, cast
from uuid import UUID

from django.core.files import File
from django.db import transaction

from reports.datasets import DATASETS
from reports.models import Report
from reports.renderers import Format, renderer

Step = Callable[[int, int | None, str], None]
"""Told (rows written, rows to write if known, what is going on); may raise to stop."""


def render_reports(
    *,
    job_id: UUID,
    requested_by: str = "",
    dataset: str,
    formats: Sequence[Format],
    since: date,
    until: date,
    step: Step,
) -> list[Report]:
    """The data set of these days, both included, as one stored Report a format. One Table feeds them all, so they
    agree. The same job asking again gets the same rows with new files.

    Raises KeyError for an unknown data set or format, and what the data set or the storage raises.
    """
    step(0, None, "Querying")
    table = DATASETS[dataset].build(since, until)
    total = None if table.row_count is None else table.row_count * len(formats)
    reports: list[Report] = []
    for format in formats:
        before = sum(report.rows for report in reports)

        def progress(rows: int, before: int = before, note: str = f"Writing {format.upper()}") -> None:
            step(before + rows, total, note)

        with tempfile.TemporaryFile() as stream:
            rendered = renderer(format)(table, cast(BinaryIO, stream), progress=progress)
            report = Report(
                job_id=job_id,
                requested_by=requested_by,
                dataset=dataset,
                format=format,
                since=since,
                until=until,
                title=table.title[:200],
                size_bytes=stream.tell(),
                pages=rendered.pages,
                rows=rendered.rows,
            )
            stream.seek(0)
            _store(report, File(stream))
        reports.append(report)
    return reports


def _store(report: Report, content: File) -> None:
    """File first, row second, the replaced file last. Whatever dies in between leaves at worst a file too many, never
    a row without its file."""
    report.file.save(report.download_name, content, save=False)
    with transaction.atomic():
        earlier = Report.objects.select_for_update().filter(job_id=report.job_id, format=report.format).first()
        if earlier:
            report.pk = earlier.pk  # links to the report stay good
            # robust: the report is made, and an old file that can not be deleted is no reason to make it again
            transaction.on_commit(partial(earlier.file.storage.delete, str(earlier.file)), robust=True)
        report.save(force_insert=not earlier, force_update=bool(earlier))
