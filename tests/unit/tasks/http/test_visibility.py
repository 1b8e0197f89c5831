"""A caller sees what they asked for; what is somebody else's is not found."""

from importlib import import_module

import pytest
from django.apps import apps

from tasks.batches import enqueue_many
from tasks.models import ApiToken
from tests.unit.tasks.factories import make_job
from tests.unit.tasks.http.test_jobs import problem

pytestmark = pytest.mark.django_db


def test_a_caller_reads_their_own_job_and_nobody_elses(caller):
    ann, bob = caller("ann"), caller("bob")
    job = make_job(requested_by=ann.owner)
    assert ann.get(f"/api/v1/jobs/{job.pk}").json()["id"] == str(job.pk)
    problem(bob.get(f"/api/v1/jobs/{job.pk}"), 404, "not-found")


def test_a_foreign_id_is_told_from_none_at_all_by_nothing(caller):
    bob, foreign = caller("bob"), make_job(requested_by="token:ann")
    address = f"/api/v1/jobs/{foreign.pk}"
    told = bob.get(address).json()
    foreign.delete()
    assert bob.get(address).json() == told


def test_a_batch_is_its_owners(caller, outbox):
    batch = enqueue_many("probe.echo", [{"text": "x"}], requested_by="token:ann")
    assert caller("ann").get(f"/api/v1/batches/{batch.pk}").status_code == 200
    problem(caller("bob").get(f"/api/v1/batches/{batch.pk}"), 404, "not-found")


def test_a_token_may_be_let_see_everybodys(caller):
    everyone = caller("monitor", "jobs:read", "jobs:read_all")
    for owner in ("token:ann", "", "ada"):
        job = make_job(requested_by=owner)
        assert everyone.get(f"/api/v1/jobs/{job.pk}").json()["requested_by"] == owner


def test_staff_see_all_jobs_as_they_do_in_the_admin(staff):
    job = make_job(requested_by="token:ann")
    assert staff("view_job").get(f"/api/v1/jobs/{job.pk}").status_code == 200


def test_tokens_from_before_keep_what_they_could_see():
    migration = import_module("tasks.migrations.0007_owners")
    ApiToken.issue("old", ["jobs:write", "jobs:read"])
    ApiToken.issue("producer", ["jobs:write"])
    migration.grant(apps, None)
    migration.grant(apps, None)
    scopes = dict(ApiToken.objects.values_list("name", "scopes"))
    assert scopes == {"old": ["jobs:read", "jobs:read_all", "jobs:write"], "producer": ["jobs:write"]}
    migration.revoke(apps, None)
    assert ApiToken.objects.get(name="old").scopes == ["jobs:read", "jobs:write"]
