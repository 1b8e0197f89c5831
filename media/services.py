"""Fetch an upload, convert it, store what came out."""

from collections.abc import Callable
from uuid import UUID

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DatabaseError, IntegrityError, transaction

from media import imaging
from media.models import Image, Variant
from media.variants import VARIANTS
from tasks.api import PermanentError, download, without_query

BeforeVariant = Callable[[int, int, str], None]
"""Told (variants made, variants wanted, what comes next); may raise to stop."""


def process(
    source: str, *, job_id: UUID, attempt: int, before_variant: BeforeVariant, url: str = "", requested_by: str = ""
) -> Image:
    """The stored file ``source``, or what ``url`` answers with, as an Image with its variants.
    A later attempt of a job replaces an earlier one's.

    Files are written first and rows last, so there is never a row without its file. Raises PermanentError when the
    file is missing, too large or no picture, and what ``download`` raises.
    """
    before_variant(0, len(VARIANTS), "reading")
    data = download(url, most_bytes=settings.TASKS_MAX_UPLOAD_BYTES) if url else _fetch(source)
    source = source or without_query(url)
    made: list[Variant] = []
    try:
        picture = imaging.read(data, VARIANTS)
        for rendition in imaging.render(picture, VARIANTS):
            made.append(_store(rendition, job_id, attempt))
            before_variant(len(made), len(VARIANTS), str(made[-1]))
        image = Image(
            job_id=job_id,
            requested_by=requested_by,
            attempt=attempt,
            source=source,
            format=picture.format,
            width_px=picture.width_px,
            height_px=picture.height_px,
            size_bytes=len(data),
        )
        replaced = _record(image, made)
    except imaging.UnusablePicture as error:
        raise PermanentError(f"{source}: {error}") from error
    except BaseException as error:
        # An unclear commit keeps its files: they are swept by the next attempt, while a row without one is not mended.
        if not isinstance(error, DatabaseError) or isinstance(error, IntegrityError):
            _delete([str(variant.file) for variant in made])
        raise
    _delete(replaced)
    if attempt > 1:
        _sweep(made, attempt)
    return image


def _fetch(source: str) -> bytes:
    try:
        with default_storage.open(source) as file:
            if file.size > (most := settings.TASKS_MAX_UPLOAD_BYTES):
                raise PermanentError(f"{source} is {file.size:,} bytes; at most {most:,} are accepted")
            return file.read()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise PermanentError(f"there is no stored file {source!r}; upload it (again), then replay this job") from error


def _store(rendition: imaging.Rendition, job_id: UUID, attempt: int) -> Variant:
    wanted = rendition.variant
    row = Variant(
        name=wanted.name,
        format=wanted.format,
        width_px=rendition.width_px,
        height_px=rendition.height_px,
        size_bytes=len(rendition.data),
    )
    row.file.save(f"{job_id}/{attempt}-{wanted.file_name}", ContentFile(rendition.data), save=False)
    return row


@transaction.atomic
def _record(image: Image, variants: list[Variant]) -> list[str]:
    """Insert the rows and take those of earlier attempts away. Returns the names of the files that lost their row.

    IntegrityError when a later attempt was here first: this one is superseded, and its outcome counts no more.
    """
    earlier = Image.objects.filter(job_id=image.job_id, attempt__lt=image.attempt)
    replaced = list(Variant.objects.filter(image__in=earlier).values_list("file", flat=True))
    earlier.delete()
    image.save(force_insert=True)
    for variant in variants:
        variant.image = image
    Variant.objects.bulk_create(reversed(variants))  # smallest first reads better
    return replaced


def _sweep(made: list[Variant], attempt: int) -> None:
    """Delete what earlier attempts of the job left behind when they were killed between file and row."""
    folder = str(made[0].file).rpartition("/")[0]
    _, names = default_storage.listdir(folder)
    _delete([f"{folder}/{name}" for name in names if int(name.partition("-")[0]) < attempt])


def _delete(names: list[str]) -> None:
    for name in names:
        default_storage.delete(name)
