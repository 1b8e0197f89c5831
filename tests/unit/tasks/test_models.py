"""What the indexes are for."""

import pytest
from django.db import connection
from django.db.models import Q, QuerySet

from tasks.models import UNFINISHED, Job

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite plans in other words"),
]


@pytest.mark.parametrize(
    ("rows", "indexes"),
    [
        (Job.objects.filter(UNFINISHED), ["job_due", "job_queued", "job_running"]),
        (Job.objects.filter(state="dead"), ["job_ended_badly"]),
        (Job.objects.filter(task="probe.echo", idempotency_key="k", idempotency_owner=""), ["job_idempotency"]),
        (Job.objects.filter(idempotency_key="k", idempotency_owner="token:t"), ["job_idempotency_of_owner"]),
        (Job.objects.filter(Q(idempotency_key="k") & ~Q(idempotency_owner="")), ["job_idempotency_of_owner"]),
        (Job.objects.filter(requested_by="token:t"), ["job_owner"]),
        (Job.objects.filter(task="probe.echo"), ["job_task"]),
        (Job.objects.filter(batch="00000000-0000-0000-0000-000000000000"), ["job_batch"]),
    ],
)
def test_a_list_reads_no_more_than_its_index(rows: QuerySet, indexes: list[str]):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # a few rows are read faster without any index
    plan = rows.order_by().explain()
    assert [name for name in indexes if name not in plan] == [], plan
