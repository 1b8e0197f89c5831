import pytest

from tasks.api import enqueue_many
from tasks.models import Job
from tasks.states import JobState
from tests.unit.tasks.factories import make_job

pytestmark = pytest.mark.django_db

LIST = "/admin/tasks/batch/"


@pytest.fixture
def batch(outbox):
    made = enqueue_many("case.plain", [{}, {}, {}], name="Nightly", requested_by="ada")
    first, second, _ = made.jobs.order_by("id")
    Job.objects.filter(pk=first.pk).update(state=JobState.SUCCEEDED, finished_at=first.created_at)
    Job.objects.filter(pk=second.pk).update(state=JobState.DEAD, finished_at=second.created_at)
    return made


def test_the_list_says_how_far_each_batch_is(admin_client, batch):
    page = admin_client.get(LIST).content.decode()
    for piece in ("Nightly", "2 of 3 ended", "1 dead", "ada"):
        assert piece in page


def test_the_list_costs_the_same_queries_for_many_rows(admin_client, batch, django_assert_max_num_queries):
    for _ in range(15):
        enqueue_many("case.plain", [{}])
    with django_assert_max_num_queries(6):
        admin_client.get(LIST)


def test_the_page_leads_to_its_jobs_and_each_of_them_back(admin_client, batch):
    stranger = make_job(task="case.plain")
    page = admin_client.get(f"{LIST}{batch.pk}/change/").content.decode()
    assert "Succeeded" in page
    assert f"/admin/tasks/job/?batch={batch.pk}" in page
    listed = admin_client.get(f"/admin/tasks/job/?batch={batch.pk}").context["cl"].result_list
    assert {job.pk for job in listed} == {job.pk for job in batch.jobs.all()}
    assert stranger.pk not in {job.pk for job in listed}
    page_of_a_job = admin_client.get(f"/admin/tasks/job/{listed[0].pk}/change/").content.decode()
    assert f"{LIST}{batch.pk}/change/" in page_of_a_job
