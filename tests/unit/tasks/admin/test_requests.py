import pytest
from django.utils import timezone

from tasks.models import Request
from tasks.states import JobState
from tests.unit.tasks.factories import make_job
from tests.unit.tasks.test_requests import asked

pytestmark = pytest.mark.django_db


def test_the_desks_page_shows_it(admin_client):
    asked(ago=300, correlation_id="c-wait")
    asked(ago=20, trouble="gone", state=JobState.SUCCEEDED, correlation_id="c-late")
    Request.objects.create(job=make_job(JobState.SUCCEEDED), answered_at=timezone.now(), correlation_id="c-done")
    page = admin_client.get("/admin/tasks/request/").content.decode()
    for piece in ("c-wait", "Waiting", "Undeliverable, reply kept", "Time to the reply", "oldest"):
        assert piece in page
    kept = admin_client.get("/admin/tasks/request/?condition=kept").content.decode()
    assert "c-late" in kept
    assert "c-wait" not in kept
