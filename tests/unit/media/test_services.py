"""media.services with a real storage and a real database."""

from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.core.files.base import ContentFile
from django.db import IntegrityError, OperationalError

from media import services
from media.models import Image, Variant
from tasks.api import JobCancelled, PermanentError
from tests.unit.media.pictures import encoded, four_corners, png_header

pytestmark = pytest.mark.django_db

UPLOAD = "incoming/cat.jpg"


@pytest.fixture
def upload(storage):
    storage.save(UPLOAD, ContentFile(encoded(four_corners(600, 400), "JPEG")))
    return UPLOAD


def process(source: str = UPLOAD, *, job_id: UUID, attempt: int = 1, before_variant=lambda done, total, note: None):
    return services.process(source, job_id=job_id, attempt=attempt, before_variant=before_variant)


def stored_files(storage) -> set[str]:
    root = Path(storage.location)
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} - {UPLOAD}


def files_with_a_row() -> set[str]:
    return set(Variant.objects.values_list("file", flat=True))


def test_every_variant_has_a_row_and_a_file_of_that_size(storage, upload):
    image = process(job_id=uuid4())

    assert (image.format, image.width_px, image.height_px) == ("jpeg", 600, 400)
    assert image.size_bytes == storage.size(upload)
    assert [(v.name, v.format) for v in image.variants.all()] == [
        (name, format_) for name in ("thumb", "small", "large") for format_ in ("jpeg", "webp")
    ]
    for variant in image.variants.all():
        assert storage.size(variant.file.name) == variant.size_bytes
    assert stored_files(storage) == files_with_a_row()


def test_progress_is_told_before_each_variant_and_at_the_end(upload):
    told = []
    process(job_id=uuid4(), before_variant=lambda done, total, note: told.append((done, total)))
    assert told == [(done, 6) for done in range(7)]


def test_a_second_attempt_replaces_rows_and_files(storage, upload):
    job_id = uuid4()
    process(job_id=job_id)
    first_files = stored_files(storage)

    second = process(job_id=job_id, attempt=2)

    assert Image.objects.get() == second
    assert Variant.objects.count() == 6
    assert stored_files(storage) == files_with_a_row()
    assert not stored_files(storage) & first_files


def test_a_second_attempt_in_another_month_deletes_the_files_of_the_first(storage, upload):
    job_id = uuid4()
    variant = process(job_id=job_id).variants.get(name="thumb", format="webp")
    variant.file.delete(save=False)
    variant.file = storage.save(f"images/2001/12/{job_id}/1-thumb.webp", ContentFile(b"old"))
    variant.save()

    process(job_id=job_id, attempt=2)

    assert stored_files(storage) == files_with_a_row()


def test_a_second_attempt_sweeps_what_a_killed_one_left(storage, upload):
    job_id = uuid4()
    process(job_id=job_id)
    Image.objects.all().delete()  # as if the first attempt was killed between the last file and the rows
    assert len(stored_files(storage)) == 6

    process(job_id=job_id, attempt=2)

    assert stored_files(storage) == files_with_a_row()


def test_a_superseded_attempt_changes_nothing(storage, upload):
    job_id = uuid4()
    newer = process(job_id=job_id, attempt=2)
    files = stored_files(storage)

    with pytest.raises(IntegrityError):
        process(job_id=job_id, attempt=1)

    assert Image.objects.get() == newer
    assert stored_files(storage) == files == files_with_a_row()


def test_stopping_half_way_leaves_neither_rows_nor_files(storage, upload):
    def cancelled_after_two(done: int, total: int, note: str) -> None:
        if done == 2:
            raise JobCancelled("cancelled")

    with pytest.raises(JobCancelled):
        process(job_id=uuid4(), before_variant=cancelled_after_two)

    assert not Image.objects.exists()
    assert stored_files(storage) == set()


def test_an_unclear_commit_keeps_the_files_for_the_next_attempt_to_sweep(storage, upload, monkeypatch):
    def connection_lost(image, variants):
        raise OperationalError("server closed the connection unexpectedly")

    job_id = uuid4()
    with monkeypatch.context() as patch:
        patch.setattr(services, "_record", connection_lost)
        with pytest.raises(OperationalError):
            process(job_id=job_id)
    assert len(stored_files(storage)) == 6

    process(job_id=job_id, attempt=2)
    assert len(stored_files(storage)) == 6
    assert stored_files(storage) == files_with_a_row()


def test_a_missing_upload_is_a_permanent_error_that_names_it(storage):
    with pytest.raises(PermanentError, match=r"no stored file 'incoming/dog\.jpg'"):
        process("incoming/dog.jpg", job_id=uuid4())


def test_a_folder_is_no_upload(storage, upload):
    with pytest.raises(PermanentError, match="no stored file 'incoming'"):
        process("incoming", job_id=uuid4())


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        pytest.param(b"just text", "not a picture", id="text"),
        pytest.param(png_header(60_000, 60_000), "too many pixels", id="bomb"),
    ],
)
def test_what_is_no_picture_is_a_permanent_error(storage, data, complaint):
    storage.save(UPLOAD, ContentFile(data))
    with pytest.raises(PermanentError, match=rf"incoming/cat\.jpg: .*{complaint}.*accepted are"):
        process(job_id=uuid4())
    assert not Image.objects.exists()


def test_an_upload_that_is_too_large_is_not_read(storage, upload, settings):
    settings.TASKS_MAX_UPLOAD_BYTES = 100
    with pytest.raises(PermanentError, match="at most 100 are accepted"):
        process(job_id=uuid4())
