"""Celery. Settings its documentation gives for many short tasks that may not be lost: prefetch 4, late acks.

Variants: ``confirmed`` waits for the broker's confirm, ``results`` keeps states with django-celery-results, ``kept``
keeps that one's database connection from task to task, ``row`` inserts a row of its own before each message, ``bulk``
inserts those of a batch together.
"""

import os
import uuid

from celery import Celery

from tests.bench import work
from tests.bench.contestants import VARIANT

app = Celery("bench", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_default_queue="bench",
    worker_prefetch_multiplier=4,
    task_acks_late=True,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
)
if "confirmed" in VARIANT:
    app.conf.broker_transport_options = {"confirm_publish": True}
if "results" in VARIANT:
    app.conf.update(result_backend="django-db", task_ignore_result=False, task_track_started=True, result_extended=True)
if "kept" in VARIANT:
    app.conf["CELERY_DB_REUSE_MAX"] = 1_000_000
if "row" in VARIANT:
    import django

    django.setup()
    from tests.bench.contestants.rows.models import Job


@app.task(name="bench.nothing")
def nothing(payload: dict) -> None:
    work.run(payload)


def submit(payload: dict) -> "Job":
    """A row, then its message: what a project does that wants to know its jobs."""
    job = Job.objects.create(kind=payload["kind"], tenant=payload["tenant"], payload=payload)
    _publish(job)
    return job


def send(sent: float = 0.0) -> None:
    if "row" in VARIANT:
        submit(work.payload(sent))
    else:
        nothing.apply_async(kwargs={"payload": work.payload(sent)})


def send_many(count: int) -> None:
    if "bulk" in VARIANT:
        made = [Job(kind="thumbnails", tenant="acme-eu-1", payload=work.PAYLOAD) for _ in range(count)]
        for job in Job.objects.bulk_create(made):
            _publish(job)
    else:
        for _ in range(count):
            send()


def _publish(job: "Job") -> None:
    nothing.apply_async(kwargs={"payload": {"job": str(job.id)}}, task_id=str(job.id))


def fill(count: int) -> None:
    """Celery's own messages, without the cost of ``apply_async`` around each."""
    with app.producer_pool.acquire(block=True) as producer:
        declare = [app.amqp.queues["bench"]]
        for _ in range(count):
            task_id, kwargs = str(uuid.uuid4()), {"payload": work.PAYLOAD}
            message = app.amqp.as_task_v2(task_id, nothing.name, kwargs=kwargs, ignore_result=nothing.ignore_result)
            producer.publish(
                message.body,
                routing_key="bench",
                headers=message.headers,
                serializer="json",
                delivery_mode=2,
                declare=declare,
                **message.properties,
            )
            declare = []
