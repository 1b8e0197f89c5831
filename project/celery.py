"""The Celery application: `celery -A project worker|beat|flower` starts here."""

import os
import sys

from celery import Celery

from tasks import brokers

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

brokers.name_transports()

# Named as text: they import models, and Django is not set up yet.
app = Celery(
    "project",
    task_cls="tasks.worker.execution:JobTask",
    control="tasks.worker.mailbox:Control",
    events="tasks.worker.events:Events",
)
app.steps["worker"].add("tasks.worker.steps:SideThreads")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf["CELERY_DB_REUSE_MAX"] = sys.maxsize  # stock closes the database connection before and after each task

NEEDS_FAN_OUT = {"flower", "inspect", "control", "events", "status"}

if asked := NEEDS_FAN_OUT.intersection(sys.argv[1:]):
    from project import env, flower

    given = env.load()
    if given.broker_url.startswith("sqs:"):
        raise SystemExit(f"celery {min(asked)} needs events and remote control, and SQS has no fan-out: use the admin")
    if "flower" in asked:
        flower.guard_flower(sys.argv, os.environ, given.flower_basic_auth.get_secret_value())
