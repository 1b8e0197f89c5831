"""What the demonstration does, one piece at a time. Each checks its own outcome; AssertionError says what is wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django_celery_results.models import TaskResult
from PIL import Image

from media.models import Variant
from project.demo.catcher import Catcher
from project.demo.photograph import photograph
from project.demo.waiting import wait_for
from reports.models import Report
from tasks.api import JobState, enqueue
from tasks.dead_letters.replaying import replay
from tasks.models import DeadLetter, Job


@dataclass(frozen=True)
class Shown:
    """One row of the table."""

    what: str
    job: Job
    details: list[str]


def ended(job: Job, state: JobState = JobState.SUCCEEDED) -> Job:
    """``job`` once it has come to rest, which must be in ``state``."""

    def rested() -> bool:
        job.refresh_from_db()
        return job.is_final

    wait_for(rested, f"{job.task} to end")
    assert job.state == state, f"{job.task} is {job.state}, expected {state}: {job.error}"
    return job


def attempts(job: Job) -> list[str]:
    return list(
        TaskResult.objects.filter(task_id__startswith=f"{job.pk}.").order_by("id").values_list("status", flat=True)
    )


def an_email(catcher: Catcher) -> Shown:
    job = enqueue(
        "email.send",
        {
            "to": ["ada@example.com"],
            "cc": ["grace@example.com"],
            "subject": "Your report is ready",
            "text": "Good morning Ada,\n\nyour report is ready.\n",
            "html": "<p>Good morning Ada,</p><p>your report is <b>ready</b>.</p>",
        },
    )
    ended(job)
    wait_for(lambda: len(catcher.received) == 1, "the mail to arrive")
    message, recipients = catcher.received[0]
    assert message["Subject"] == "Your report is ready", message["Subject"]
    assert sorted(recipients) == ["ada@example.com", "grace@example.com"], recipients
    assert message.is_multipart(), "the HTML part is missing"
    return Shown("E-mail", job, [f"received: {message['Subject']!r} for {', '.join(recipients)}"])


def a_report() -> Shown:
    job = ended(enqueue("report.render", {"dataset": "job-activity", "formats": ["pdf", "csv"]}))
    details = []
    for report in Report.objects.filter(job_id=job.pk).order_by("-format"):
        content = Path(report.file.path).read_bytes()
        assert len(content) == report.size_bytes > 0, f"{report.file.path} has {len(content)} bytes"
        pages = ""
        if report.format == "pdf":
            assert content.startswith(b"%PDF-"), f"{report.file.path} is not a PDF"
            assert report.pages, "the PDF has no page"
            pages = f", {report.pages} page{'s' * (report.pages > 1)}"
        details.append(f"{report.format.upper()}: {_shown(report.file.path)}, {report.size_bytes:,} bytes{pages}")
    assert len(details) == 2, f"expected a PDF and a CSV, found {details}"
    return Shown("Report", job, details)


def a_picture() -> Shown:
    name, size_bytes = photograph()
    job = ended(enqueue("image.process", {"source": name}))
    details = [f"original: 4000 x 3000, {size_bytes:,} bytes, lying on its side"]
    for variant in Variant.objects.filter(image__job_id=job.pk).order_by("pk"):
        size = Path(variant.file.path).stat().st_size
        assert size == variant.size_bytes > 0, f"{variant.file.path} has {size} bytes"
        with Image.open(variant.file.path) as picture:
            assert picture.size == (variant.width_px, variant.height_px), f"{variant.file.path} is {picture.size}"
            assert picture.height > picture.width, "the picture was not turned upright"
            assert not picture.getexif(), f"{variant.file.path} still tells where it was taken"
        details.append(
            f"{variant.name} {variant.format}: {variant.width_px} x {variant.height_px}, {variant.size_bytes:,} bytes"
        )
    assert len(details) > 1, "there are no variants"
    details.append(f"all in {_shown(Path(variant.file.path).parent)}, without metadata")
    return Shown("Picture", job, details)


def a_job_that_retries() -> Shown:
    job = ended(enqueue("demo.flaky", {"failures": 2}))
    assert attempts(job) == ["RETRY", "RETRY", "SUCCESS"], attempts(job)
    return Shown("Fails twice", job, ["attempts: " + ", ".join(attempts(job)).lower()])


def a_job_that_dies(folder: Path) -> Shown:
    part = folder / "spare-part.txt"
    part.unlink(missing_ok=True)
    job = ended(enqueue("demo.fragile", {"needs": str(part)}), JobState.DEAD)
    wait_for(lambda: DeadLetter.objects.filter(job=job, collected_at__isnull=False).exists(), "the dead letter")
    letter = DeadLetter.objects.get(job=job)
    (death,) = letter.properties["deaths"]
    assert death["queue"] == job.queue, death
    assert death["reason"] == "rejected", death
    found = f"dead: {letter.error_type}, found in {death['queue']}.dead ({death['reason']} by {death['queue']})"
    part.write_text("here\n")
    replay(letter.pk, requested_by="demo")
    ended(job)
    assert attempts(job) == ["FAILURE", "SUCCESS"], attempts(job)
    return Shown("Dies, replayed", job, [found, "replayed: attempts " + ", ".join(attempts(job)).lower()])


def all_of(catcher: Catcher, folder: Path) -> list[Callable[[], Shown]]:
    return [
        lambda: an_email(catcher),
        a_picture,
        a_job_that_retries,
        lambda: a_job_that_dies(folder),
        a_report,  # last, so that there is activity to report
    ]


def _shown(path: Any) -> str:
    """A path as short as it can be told from here."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return str(path)
