"""Files that somebody sent: how long they are kept."""

import logging
from datetime import UTC, datetime

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from tasks.api import JobContext
from tasks.states import JobState
from tasks.tasks import PrunePayload, prune
from tasks.uploads import forget_upload, old_uploads, storage_name
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.usefixtures("storage")

OLD = "uploads/2020/01/{}-cat.jpg"


@pytest.fixture
def storage(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


def keep(name: str) -> str:
    return default_storage.save(name, ContentFile(b"x"))


def test_only_months_that_have_ended_are_old():
    for name in ("uploads/2026/01/a", "uploads/2026/02/b", "uploads/2025/12/c", "uploads/notes/d"):
        keep(name)
    found = dict(old_uploads(datetime(2026, 2, 1, tzinfo=UTC)))
    assert found == {"uploads/2025/12": ["uploads/2025/12/c"], "uploads/2026/01": ["uploads/2026/01/a"]}


def test_a_storage_without_uploads_has_no_old_ones():
    assert list(old_uploads(timezone.now())) == []


@pytest.mark.django_db
def test_old_uploads_go_unless_a_job_names_them():
    used, unused = keep(OLD.format("0" * 16)), keep(OLD.format("1" * 16))
    new = keep(storage_name("new.jpg"))
    make_job(JobState.DEAD, task="image.process", payload={"source": used})
    running = make_job(JobState.RUNNING, task="platform.prune")
    context = JobContext(running.pk, 1, task="platform.prune", metadata={}, requested_by="")
    assert prune(PrunePayload(), context)["uploads_deleted"] == 1
    assert [default_storage.exists(name) for name in (used, unused, new)] == [True, False, True]


def test_a_file_that_can_not_be_deleted_is_no_failure_of_the_request(monkeypatch, caplog):
    def refuse(name):
        raise OSError("read-only")

    monkeypatch.setattr(default_storage, "delete", refuse)
    with caplog.at_level(logging.WARNING):
        forget_upload("uploads/2026/01/x")
    assert "uploads/2026/01/x" in caplog.text
